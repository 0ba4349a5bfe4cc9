"""What is searched, and what samplers propose of it."""

from __future__ import annotations

import optuna
import pytest
from search.searching import LR, fields, planned, states

from genmodels.search.study import seed_of


def test_a_key_of_one_model_is_searched_for_that_model_alone(search):
    launcher, trials = search("model=vae,realnvp", "model.latent_dim=choice(2,4)", LR, n_trials=8, sampler="random")
    having = {trial.params["model"]: "model.latent_dim" in trial.params for trial in trials}
    assert having == {"vae": True, "realnvp": False}
    assert all(("model.latent_dim" in job) == (job["model"] == "vae") for job in launcher.jobs)


def test_a_fixed_key_of_one_model_is_left_out_for_others(search):
    launcher, _ = search("model=vae,realnvp", "model.latent_dim=2", LR, n_trials=6, sampler="random")
    assert {job["model"]: job.get("model.latent_dim") for job in launcher.jobs} == {"vae": 2, "realnvp": None}


def test_a_part_of_one_model_is_searched_for_that_model_alone(loader, tmp_path):
    words = ("model=vae,ddpm", "model/sampler=ancestral,ddim", "model.sampler.eta=interval(0.0,1.0)")
    _, space = planned(loader, tmp_path, *words)
    study = optuna.create_study(sampler=optuna.samplers.RandomSampler(seed=0))
    found = [fields(space.propose(study.ask())) for _ in range(12)]
    assert {job["model"]: "model/sampler" in job for job in found} == {"vae": False, "ddpm": True}
    eta = {job.get("model/sampler"): "model.sampler.eta" in job for job in found}
    assert eta == {None: False, "ancestral": False, "ddim": True}


def test_a_grid_has_every_combination_once(search):
    launcher, trials = search("model=vae,realnvp", "model.latent_dim=choice(2,4)", "model.optimizer.lr=1e-3,1e-4",
                              n_trials=50, sampler="grid")  # fmt: skip
    *jobs, _ = launcher.jobs
    found = {(job["model"], job.get("model.latent_dim"), job["model.optimizer.lr"]) for job in jobs}
    assert len(jobs) == len(found) == 2 * 2 + 2
    assert set(states(trials)) == {"COMPLETE", "FAIL"}  # the latter repeat others, for realnvp
    assert search("model=vae,realnvp", "model.latent_dim=choice(2,4)", "model.optimizer.lr=1e-3,1e-4",
                  n_trials=50, sampler="grid")[0].jobs[0]["test"] is True  # fmt: skip


@pytest.mark.slow
def test_a_space_that_is_used_up_ends_the_search(search, capsys):
    launcher, trials = search("model.latent_dim=range(1,4)", n_trials=10)
    assert sorted(trial.params["model.latent_dim"] for trial in trials if trial.values) == [1, 2, 3]
    assert "has tried what there is to try" in capsys.readouterr().out and len(launcher.jobs) == 4


def test_ranges_and_intervals_have_the_ends_that_hydra_gives_them(loader, tmp_path):
    words = ["model.latent_dim=range(2,10,3)", "model.beta=range(0.5,1.0,0.1)", "data.batch_size=int(interval(8,16))"]
    _, space = planned(loader, tmp_path, *words)
    study = optuna.create_study(sampler=optuna.samplers.RandomSampler(seed=0))
    found = [fields(space.propose(study.ask())) for _ in range(60)]
    assert {job["model.latent_dim"] for job in found} == {2, 5, 8}
    assert {job["model.beta"] for job in found} == {0.5, 0.6, 0.7, 0.8, 0.9}
    assert {job["data.batch_size"] for job in found} == set(range(8, 17))


def test_proposals_are_those_of_plain_optuna(search):
    _, trials = search(n_trials=6, sampler="random")
    for trial in trials:
        own = optuna.create_study(sampler=optuna.samplers.RandomSampler(seed=seed_of(0, trial.number)))
        assert {"model.optimizer.lr": own.ask().suggest_float("x", 1e-4, 1e-2, log=True)} == trial.params


def test_bayesian_proposals_are_those_of_plain_optuna_after_the_same_trials(search):
    _, trials = search(n_trials=14)
    own = optuna.samplers.TPESampler(seed=seed_of(0, 13), constant_liar=True)
    study = optuna.create_study(sampler=own)
    study.add_trials(trials[:13])
    (name,) = trials[13].params
    assert {name: study.ask().suggest_float(name, 1e-4, 1e-2, log=True)} == trials[13].params
