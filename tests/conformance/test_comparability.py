"""Scores of one metric share a column for all models, unless a setting differs that is not incidental."""

from __future__ import annotations

import json
from dataclasses import replace
from types import SimpleNamespace

import pytest
import torch
from conformance.kinds import KINDS, MODELS, examples, model_on

from genmodels.compare import compared, find_runs
from genmodels.core import Score
from genmodels.errors import UserError
from genmodels.metrics import (
    AISEvaluation,
    ChainsEvaluation,
    FrechetEvaluation,
    GapEvaluation,
    GeneralizationEvaluation,
    KernelEvaluation,
    KLToDataEvaluation,
    LikelihoodEvaluation,
    MemorizationEvaluation,
    PartitionEvaluation,
    PRDCEvaluation,
    ReconstructionEvaluation,
    SampleSets,
    Subject,
    noise_width,
)
from genmodels.metrics.base import Evaluation
from genmodels.metrics.extractors import Extractor


class Pixels(Extractor):
    """The first two values of each example as features."""

    space, dims = "toy", 2
    incidental = ("trained_seconds",)

    def __init__(self, data):
        protocol = {"resize": "none", "trained_seconds": torch.rand(1).item()}
        super().__init__(torch.nn.Flatten(), "pixels@0", protocol)

    def features(self, x):
        return self.network(x.float())[:, : self.dims]


OUTSIDE = "trajectories, only 0 end in the bins of the data's levels"
EVALUATIONS = [
    LikelihoodEvaluation(max_examples=4, max_passes=None),
    LikelihoodEvaluation(samples=2, max_examples=4, max_passes=None),
    GeneralizationEvaluation(max_examples=4, max_passes=None),
    KLToDataEvaluation(max_examples=4, max_passes=None),
    GapEvaluation(samples=3, simulated=4),
    PartitionEvaluation(temperatures=20, chains=5, max_examples=4, max_passes=None),
    ChainsEvaluation(chains=5, steps=10),
    FrechetEvaluation(Pixels, n=12, repeats=2, allow_small_n=True),
    KernelEvaluation(Pixels, n=12, repeats=2),
    PRDCEvaluation(Pixels, n=12, repeats=2),
    MemorizationEvaluation(n=12),
    ReconstructionEvaluation(),
    AISEvaluation(images=4, temperatures=20, simulated=2, gaussian=True, sigma=0.5),
]


def data_of(kind, root):
    splits = {name: examples(KINDS[kind], 24, seed) for seed, name in enumerate(("train", "val", "test"))}
    source = SimpleNamespace(log_prob=lambda x: torch.zeros(len(x)))
    data = SimpleNamespace(split=splits.__getitem__, name="toy", root=root, spec=KINDS[kind], source=source)
    data.eval_batch_size, data.train_and_val = 12, lambda: torch.cat([splits["train"], splits["val"]])
    return data


def measured(evaluations, model, kind, root):
    data = data_of(kind, root)
    subject = Subject(model.eval(), data, SampleSets(model, 0), 0, root / "evaluation")
    applicable = [each for each in evaluations if each.unsupported_reason(model, data) is None]
    found = []
    with torch.no_grad():
        for each in applicable:
            try:
                found += each.measure(subject)
            except UserError as error:  # of a model that is not trained, whose samples may all lie outside of the data
                assert isinstance(each, GapEvaluation) and OUTSIDE in str(error)
    return found


def keep(folder, model, scores, **record):
    folder.mkdir(parents=True)
    metrics = {score.name: score.to_dict() for score in scores}
    (folder / "run.json").write_text(json.dumps({"model": model, "data": "toy", "metrics": metrics, **record}))


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["gray images", "points"], ids=lambda kind: kind.replace(" ", "-"))
def test_every_metric_compares_all_models_to_which_it_applies(kind, tmp_path):
    names = set()
    for name in MODELS:
        scores = measured(EVALUATIONS, model_on(name, KINDS[kind]), kind, tmp_path / "data" / name)
        keep(tmp_path / "runs" / name, name, scores)
        names |= {score.name for score in scores}
    columns = compared(find_runs(tmp_path / "runs")).columns
    assert sorted(column.name for column in columns) == sorted(names)
    assert min(len(cells) for cells in columns.values()) > 1 and len(names) >= 11
    quantities = {column.quantity for column in columns}
    assert not any(character.isdigit() for quantity in quantities for character in quantity)


def test_means_of_an_observation_are_not_compared_with_draws(tmp_path):
    sampled = [each for each in EVALUATIONS if isinstance(each, (FrechetEvaluation, MemorizationEvaluation))]
    for mean in ("true", "false"):
        model = model_on("vae", KINDS["gray images"], f"model.sample_mean={mean}")
        keep(tmp_path / "runs" / mean, mean, measured(sampled, model, "gray images", tmp_path / mean))
    columns = compared(find_runs(tmp_path / "runs")).columns
    assert len(columns) == 6 and all(len(cells) == 1 for cells in columns.values())


class Smoothness(Evaluation):
    """A user-defined metric, whose value depends on a bandwidth."""

    incidental: tuple[str, ...] = ("seconds",)

    def __init__(self, bandwidth):
        self.bandwidth = bandwidth

    def measure(self, subject):
        protocol = {"split": "test", "bandwidth": self.bandwidth, "seconds": torch.rand(1).item()}
        return [Score("smoothness_9", 1.0 + self.bandwidth, "", 9, 0.1, protocol=protocol, incidental=self.incidental)]


class BandwidthIsIncidental(Smoothness):
    incidental = ("seconds", "bandwidth")


@pytest.mark.parametrize(("metric", "columns"), [(Smoothness, 2), (BandwidthIsIncidental, 1)])
def test_a_new_setting_separates_columns_until_its_metric_declares_it_incidental(metric, columns, tmp_path):
    for bandwidth, name in ((0.1, "a"), (0.2, "b")):
        keep(tmp_path / name, name, metric(bandwidth).measure(None))
    results = compared(find_runs(tmp_path))
    assert len(results.columns) == columns
    ranks = [str(cell.place) for cells in results.columns.values() for cell in cells.values() if cell.place]
    assert len(ranks) == (2 if columns == 1 else 0)


@pytest.mark.parametrize(("sigmas", "count"), [((0.4, 0.6), 2), ((None, None), 1)], ids=str)
def test_a_chosen_width_is_of_the_model_and_a_given_one_of_the_measurement(sigmas, count, tmp_path, monkeypatch):
    monkeypatch.setattr(noise_width, "SETTINGS", replace(noise_width.SETTINGS, temperatures=50))
    kind = "integer pairs"
    for seed, sigma in enumerate(sigmas):
        metric = AISEvaluation(images=4, temperatures=10, simulated=2, sigma=sigma)
        scores = measured([metric], model_on("gan", KINDS[kind], seed=seed), kind, tmp_path / "data" / f"{seed}")
        keep(tmp_path / "runs" / f"{seed}", f"{seed}", scores)
    assert len(compared(find_runs(tmp_path / "runs")).columns) == count
