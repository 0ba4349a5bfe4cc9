"""What a score was measured on: in its name, unless it is the run itself."""

from __future__ import annotations

from dataclasses import replace

import pytest
from conformance.test_laboratory import settings
from omegaconf import OmegaConf

from genmodels.composition import compose
from genmodels.core import Kind, Score
from genmodels.runs.identity import beside, config_hash, differences, labeled


def bits(value=1.0, **protocol):
    return Score("bits_per_dim", value, "bits/dim", 10, 0.1, Kind.EXACT, protocol=protocol, incidental=("seconds",))


@pytest.mark.parametrize(
    ("key", "value", "counts"),
    [
        ("data.limit", 20, True),
        ("data.source.path", "other.npz", True),
        ("data.spec.levels", 3, True),
        ("seed", 5, True),
        ("weights", "raw", True),
        ("model.sample_mean", True, True),
        ("channels_last", False, True),
        ("trainer.precision", "bf16-mixed", True),
        ("data.eval_batch_size", 3, False),
        ("data.root", "/elsewhere", False),
        ("trainer.devices", 2, False),
        ("metrics.likelihood.samples", 5, False),  # part of the score's own name or protocol
        ("budget.max_batches", 3, False),
    ],
)
def test_settings_that_can_change_a_score_distinguish_it(key, value, counts, tmp_path):
    own, other = (
        OmegaConf.create(OmegaConf.to_container(settings("vae", "gray images", tmp_path), resolve=True))
        for _ in range(2)
    )
    OmegaConf.update(other, key, value)
    assert differences(own, other) == ({key: str(value)} if counts else {})


def test_a_score_that_was_measured_in_another_way_stands_beside_the_first():
    first = bits(tolerance=0.1, split="test")
    again = bits(2.0, tolerance=0.1, split="test", seconds=3)
    assert beside(again, {"bits_per_dim": first}).name == "bits_per_dim"
    other = bits(tolerance=0.01, split="test")
    assert beside(other, {"bits_per_dim": first}).name == "bits_per_dim[tolerance=0.01]"
    fewer = replace(first, n=5)
    assert beside(fewer, {"bits_per_dim": first}).name == "bits_per_dim[n=5]"
    assert beside(bits(split="test"), {"bits_per_dim": first}).name == "bits_per_dim[tolerance=none]"
    assert beside(other, {}).name == "bits_per_dim"


def test_the_quantity_of_a_labeled_score_is_that_of_the_plain_one():
    score = replace(bits(), name=labeled("bits_per_dim", {"seed": "5"}))
    assert score.name == "bits_per_dim[seed=5]" and score.quantity == "bits_per_dim"


@pytest.mark.parametrize(
    ("words", "shared"),
    [
        (("run_dir=elsewhere",), True),
        (("data.root=elsewhere",), True),
        (("seed=5",), True),
        (("data.seed=5",), True),
        (("data.limit=20",), False),
        (("model.beta=2",), False),
        (("trainer.precision=32",), False),
    ],
)
def test_where_files_lie_and_the_seed_do_not_define_an_experiment(words, shared):
    run = ("model=vae", "data=mnist", "run_dir=here")
    hashes = {config_hash(compose([*run])), config_hash(compose([*run, *words]))}
    assert (len(hashes) == 1) == shared
