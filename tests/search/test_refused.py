"""Searches that make no sense are refused before anything is written."""

from __future__ import annotations

import pytest
from search.searching import LR, planned

from genmodels.errors import UserError

BAD = {
    "another model's value": (["model=gan,vae", LR], "validation monitors different values (model=gan: val/energy_d"),
    "one model lacks it": (["model=gan,vae", LR, "objective=val/nats"], "val/nats is no validation value of model=gan"),
    "misspelled": ([LR, "objective=val/nat"], "val/nat is no validation value; did you mean 'val/nats'?"),
    "test score": ([LR, "objective=test/nats"], "is a test score, which a search must not see; choose by a validation"),
    "bare name": ([LR, "objective=nats"], "objective=nats is no validation value; did you mean 'val/nats'?"),
    "cost": ([LR, "objective=cost.train_second"], "is no cost; did you mean 'cost.train_seconds'?"),
    "nothing": ([], "nothing is searched; give a key several values"),
    "seeds": (["seed=0,1"], "would choose the luckiest one"),
    "unknown key": (["model.latnt_dim=1,2"], "unknown key 'model.latnt_dim'; did you mean 'model.latent_dim'?"),
    "empty interval": (["model.beta=interval(2,1)"], "the interval is empty"),
    "logarithm": (["model.beta=tag(log,interval(0,1))"], "an interval by logarithm must begin above 0"),
    "long range": (["model.beta=range(0,1,0.0001)"], "has more than 1000 values; write an interval"),
    "standing range": (["model.latent_dim=range(1,4,0)"], "model.latent_dim=range(1,4,0): "),
    "dry run": ([LR, "dry_run=true"], "dry_run=true trains nothing"),
}  # fmt: skip


@pytest.mark.parametrize("case", BAD)
def test_a_search_that_makes_no_sense_is_refused_before_anything_is_written(case, loader, tmp_path):
    words, sentence = BAD[case]
    with pytest.raises(UserError) as error:
        planned(loader, tmp_path / "sweep", *words)
    assert sentence in str(error.value)
    assert not (tmp_path / "sweep").exists()


SETTINGS = {
    "trials": ({"n_trials": 0}, "hydra.sweeper.n_trials must be an integer from 1"),
    "jobs": ({"n_jobs": "many"}, "hydra.sweeper.n_jobs must be an integer"),
    "direction": ({"direction": "minimise"}, "hydra.sweeper.direction=minimise: did you mean 'minimize'?"),
    "wrong side": ({"direction": "maximize"}, "val/nats is better if lower; write hydra.sweeper.direction=minimize"),
    "too many": ({"direction": "[minimize,minimize]"}, "has 2 entries, there are 1 objectives"),
    "grid of an interval": ({"sampler": "grid"}, "has no list of values for a grid; write choice(...) or range(...)"),
    "unknown argument": ({"sampler": "random", "sampler.seed": "x"}, "hydra.sweeper.sampler"),
    "another class": ({"sampler._target_": "os.system"}, "_target_=os.system is no class of optuna"),
    "startup": ({"pruner": "median", "pruner.n_startup_trials": -1}, "hydra.sweeper.pruner: "),
}  # fmt: skip


@pytest.mark.parametrize("case", SETTINGS)
def test_settings_that_make_no_sense_are_refused(case, loader, tmp_path):
    settings, sentence = SETTINGS[case]
    with pytest.raises(UserError) as error:
        planned(loader, tmp_path / "sweep", LR, **settings)
    assert sentence in str(error.value) and not (tmp_path / "sweep").exists()


def test_a_pruner_or_cmaes_needs_a_single_objective(loader, tmp_path):
    words = (LR, "objective=[val/nats,cost.parameters]")
    with pytest.raises(UserError, match=r"write hydra/sweeper/pruner=none"):
        planned(loader, tmp_path, *words, pruner="median")
    with pytest.raises(UserError, match="cmaes has one objective"):
        planned(loader, tmp_path, *words, sampler="cmaes")


def test_a_test_score_is_an_objective_if_it_is_allowed(loader, tmp_path):
    found, _ = planned(loader, tmp_path, LR, "objective=test/nats", allow_test="true")
    assert found.tests
