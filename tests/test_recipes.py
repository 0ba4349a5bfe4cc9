"""The recipes of conf/experiment: complete, within their budgets, and able to train."""

from __future__ import annotations

import json
from statistics import fmean

import pytest
import torch
from conformance.kinds import ROOT

from genmodels.callbacks import Budget
from genmodels.composition import compose, option, options
from genmodels.experiment import Experiment, plain
from genmodels.runs import expectations

ON_CPU = ("digits", "mnist", "fashion_mnist")
RECIPES = options("experiment")
OF_PAPERS = [name for name in RECIPES if name.endswith("cifar10")]


def test_the_four_models_have_recipes_for_the_four_data_sets():
    wanted = {f"{model}_{data}" for model in ("gan", "vae", "realnvp", "ddpm") for data in (*ON_CPU, "cifar10")}
    assert wanted | {"vae_binarized_mnist"} == set(RECIPES)


@pytest.mark.parametrize("name", RECIPES)
def test_a_recipe_is_of_what_it_is_named_after(name):
    config = compose([f"experiment={name}"])
    model = config.model._target_.rsplit(".", 1)[1].lower()
    assert f"{model}_{config.data.name}" == name


@pytest.mark.parametrize("name", RECIPES)
def test_a_recipe_leaves_seeds_and_sweeps_to_the_command_line(name):
    assert not {"hydra", "seed"} & set(option("experiment", name))


@pytest.mark.parametrize("name", [name for name in RECIPES if name not in OF_PAPERS])
def test_a_cpu_recipe_takes_twenty_minutes_at_most(name):
    config = compose([f"experiment={name}"])
    limits = Budget.parse(plain(config.budget), plain(config.default_budget)).limits
    assert limits.get("time") == 20 * 60 or (limits == {"batches": 1500} and name.endswith("digits"))


@pytest.mark.parametrize("name", RECIPES)
def test_what_is_expected_is_what_the_recipe_measures(name):
    config = compose([f"experiment={name}"])
    samples = config.metrics.get("likelihood", {}).get("samples", 1)
    known = (
        {"bits_per_dim" if samples == 1 else f"bits_per_dim_k{samples}"} if "likelihood" in config.metrics else set()
    )
    if "fid" in config.metrics:
        known |= {f"fid_{config.metrics.fid.n}"}
    if "_target_" in config.metrics.get("fd", {}):
        known |= {f"fd_{config.data.name}_{360 if config.data.name == 'digits' else 10_000}"}
    entries = expectations(plain(config.expected))
    assert entries or name == "vae_cifar10"  # no published result
    for entry in entries:
        assert entry["metric"] in known
        assert entry["value"] > entry["tolerance"] > 0


@pytest.mark.parametrize("name", [name for name in RECIPES if name.endswith(ON_CPU) and "binarized" not in name])
def test_a_figure_of_this_projects_own_is_that_of_the_kept_runs(name):
    for entry in expectations(plain(compose([f"experiment={name}"]).expected)):
        before, _, place = entry["source"].partition(" kept in ")
        records = [json.loads(file.read_text()) for file in ROOT.glob(place)]
        assert before == "the mean of the runs" and records
        mean = fmean(record["metrics"][entry["metric"]]["value"] for record in records)
        assert entry["value"] == pytest.approx(mean, abs=0.05 * entry["tolerance"])


@pytest.mark.realdata
@pytest.mark.parametrize("name", RECIPES)
def test_the_first_batches_train(name, real_data, tmp_path):
    small = ("data.limit=24", "data.batch_size=4", "validations=1", "metrics=[]", "~callbacks.samples")
    words = (f"data.root={real_data}", f"run_dir={tmp_path}", "trainer.accelerator=cpu", "budget=batches:2")
    experiment = Experiment.assemble(compose([f"experiment={name}", *small, *words]))
    experiment.fit()
    assert experiment.budget.spent["batches"] == 2
    assert all(torch.isfinite(p).all() for p in experiment.model.parameters())
