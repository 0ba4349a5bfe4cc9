"""The recipes of conf/experiment: complete, within their budgets, and able to train."""

from __future__ import annotations

import json
import runpy
from statistics import fmean

import pytest
import torch
import yaml
from conformance.kinds import ROOT, once
from omegaconf import OmegaConf

from genmodels.callbacks import Budget
from genmodels.cli import main
from genmodels.compare import find_runs
from genmodels.composition import option, options
from genmodels.experiment import Experiment, plain
from genmodels.nested import leaves
from genmodels.runs import expectations
from genmodels.runs.identity import defining

ON_CPU = ("digits", "mnist", "fashion_mnist")
RECIPES = options("experiment")
KEPT = find_runs(ROOT / "tests" / "results")
KEEP = runpy.run_path(str(ROOT / "tests" / "results" / "keep.py"))
OF_PAPERS = [name for name in RECIPES if name.endswith("cifar10")]


def test_every_model_has_a_recipe_for_digits_and_four_for_all_images():
    wanted = {f"{model}_{data}" for model in ("gan", "vae", "realnvp", "ddpm") for data in (*ON_CPU, "cifar10")}
    assert wanted | {f"{model}_digits" for model in options("model")} <= set(RECIPES)


@pytest.mark.parametrize("name", RECIPES)
def test_a_recipe_is_of_what_it_is_named_after(name):
    config = once(f"experiment={name}")
    model = config.model._target_.rsplit(".", 1)[1].lower()
    assert f"{model}_{config.data.name}" == name


@pytest.mark.parametrize("name", RECIPES)
def test_a_recipe_leaves_seeds_and_sweeps_to_the_command_line(name):
    assert not {"hydra", "seed"} & set(option("experiment", name))


def limits(*words):
    config = once(*words)
    return Budget.parse(plain(config.budget), plain(config.default_budget)).limits


@pytest.mark.parametrize("name", [name for name in RECIPES if name not in OF_PAPERS])
def test_a_cpu_recipe_counts_examples_and_sees_as_many_as_its_kept_runs(name):
    """Half an hour on one core was enough for most; Fashion-MNIST, energies, CNF and DDPM shared two with others."""
    model, data = name.split("_", 1)
    kept = [run for run in KEPT if (run.model.lower(), run.data) == (model, data)]
    for run in kept:
        config = once(f"experiment={name}")
        in_batches = data in ("digits", "mixture") and not config.budget.max_examples
        examples = run.cost["examples"]
        found = {"batches": examples / config.data.batch_size} if in_batches else {"examples": examples}
        assert limits(f"experiment={name}") == pytest.approx(found, rel=0.03)
        assert run.cost["train_seconds"] <= 30 * 60 or data == "fashion_mnist" or model in ("rbm", "ebm", "cnf", "ddpm")
    assert kept or (data == "binarized_mnist" and limits(f"experiment={name}") == {"examples": 1_200_000})


SINCE = {  # keys that options have gained since runs were kept, with the values that mean what was before them
    "callbacks.samples.pixels": (96,),
    "model.draws": (1,),
    "model.acceptance": (None,),
    "model.copula": (None, False),
    "model.components": (1,),
    "model.order": ("sequential",),
    "model.prior._target_": ("genmodels.transforms.StandardNormalPrior",),
    "model.prior._partial_": (True,),
    "model.coupling._target_": ("genmodels.transforms.Additive",),  # of NICE
    "model.coupling._partial_": (True,),
}
OF_VECTORS = ("model.encoder.depth", "model.decoder.depth")  # of layers that networks on images do not have


def changed(before, now):
    """The keys that a recipe has now, and whose values are not those that a run was made with, nor mean the same."""
    for key, value in now.items():
        since = key not in before and value in SINCE.get(key, ())
        inert = key in OF_VECTORS and len(now["data.spec.shape"]) == 3
        if value != before.get(key, "none") and not since and not inert:
            yield key


@pytest.mark.parametrize("run", [*KEPT, *find_runs(ROOT / "tests" / "ablations")], ids=lambda run: run.path.name)
def test_a_recipe_still_is_what_its_kept_runs_were_made_with(run):
    before = dict(leaves(yaml.safe_load((run.path / KEEP["SETTINGS"]).read_text())))
    now = dict(leaves(defining(once(*run.record["overrides"], "run_dir=x"))))
    assert not list(changed(before, now))
    assert not {key for key in before.keys() - now.keys() if not key.startswith("metrics.")}  # one is measured no more


def test_one_override_makes_the_comparison_one_of_equal_time_with_the_schedule_over_it():
    assert limits("experiment=vae_mnist", "budget=time:20m") == {"time": 1200}
    assert limits("experiment=vae_mnist", "budget.max_time=20m") == {"time": 1200, "examples": 1_200_000}
    budget = Budget(max_time="20m", max_examples=1_200_000)
    for seconds, examples, fraction in ((600, 10_000, 0.5), (1, 900_000, 0.75)):  # the limit that will be first rules
        budget.spent |= {"time": seconds, "examples": examples}
        assert budget.fraction == fraction


@pytest.mark.parametrize("run", KEPT, ids=lambda run: f"{run.data}/{run.path.name}")
def test_check_accepts_the_kept_runs(run, capsys):
    main(["check", f"run={run.path}"])
    lines = capsys.readouterr().out.splitlines()
    reached = [line.split()[0] for line in lines if line.endswith(": reached.")]
    assert set(reached) >= {name for name, score in run.scores.items() if score.better} and len(lines) >= len(reached)
    assert not any("missed" in line for line in lines)


@pytest.mark.parametrize("name", RECIPES)
def test_what_is_expected_is_what_the_recipe_measures(name):
    config = once(f"experiment={name}")
    samples = config.metrics.get("likelihood", {}).get("samples", 1)
    known = (
        {"bits_per_dim" if samples == 1 else f"bits_per_dim_k{samples}"} if "likelihood" in config.metrics else set()
    )
    if "fid" in config.metrics:
        known |= {f"fid_{config.metrics.fid.n}"}
    if "_target_" in config.metrics.get("fd", {}):
        known |= {f"fd_{config.data.name}_{360 if config.data.name == 'digits' else 10_000}"}
    if "recognized" in config.metrics:
        known |= {f"recognized_{config.data.name}_10000"}
    known |= {"reconstruction"} if "reconstruction" in config.metrics else set()
    known |= {"kl_to_truth", "nats", "rhat_energy"} if "truth" in config.metrics else set()
    known |= {"partition_bits_per_dim", "partition_nats"} if "partition" in config.metrics else set()
    known |= {"nats"} if config.data.spec.levels is None else set()
    entries = expectations(plain(config.expected))
    assert entries or name == "vae_cifar10"  # no published result
    for entry in entries:
        assert entry["metric"] in known
        assert abs(entry["value"]) > entry["tolerance"] > 0


OWN = [name for name in RECIPES if name.endswith((*ON_CPU, "mixture", "swiss_roll")) and name != "vae_binarized_mnist"]


@pytest.mark.parametrize("name", OWN)
def test_a_figure_of_this_projects_own_is_that_of_the_kept_runs(name):
    for entry in expectations(plain(once(f"experiment={name}").expected)):
        before, _, place = entry["source"].partition(" kept in ")
        records = [json.loads(file.read_text()) for file in ROOT.glob(place)]
        assert before == "the mean of the runs" and records
        mean = fmean(record["metrics"][entry["metric"]]["value"] for record in records)
        assert entry["value"] == pytest.approx(mean, abs=0.05 * entry["tolerance"])
        if len(records) > 1:
            values = [record["metrics"][entry["metric"]]["value"] for record in records]
            assert entry["tolerance"] == pytest.approx(KEEP["tolerance"](values), rel=0.1)


def narrow(node):
    """Make the networks of a model as narrow as is quick, and leave everything else."""
    for key, value in node.items():
        if OmegaConf.is_dict(value):
            narrow(value)
        elif key in ("width", "hidden") and value is not None:
            node[key] = min(value, 16)


@pytest.mark.slow
@pytest.mark.realdata
@pytest.mark.parametrize("name", RECIPES)
def test_the_first_batch_trains(name, real_data, tmp_path):
    config = OmegaConf.merge(once(f"experiment={name}"), {
        "data": {"limit": 24, "batch_size": 2, "root": str(real_data)}, "validations": 1, "budget": None,
        "trainer": {"accelerator": "cpu"}, "run_dir": str(tmp_path),
    })  # fmt: skip
    OmegaConf.set_readonly(config, None)
    config.budget, config.metrics, config.callbacks.samples = "batches:1", {}, None
    narrow(config.model)
    experiment = Experiment.assemble(config)
    experiment.fit()
    assert experiment.budget.spent["batches"] == 1
    assert all(torch.isfinite(p).all() for p in experiment.model.parameters())
