"""Search: the study on disk, its trials in their folders, and what becomes of both when processes end."""

from __future__ import annotations

import importlib
import json
from contextlib import suppress
from functools import cache, partial
from pathlib import Path

import optuna
import pytest
from conformance.kinds import ROOT
from hydra import compose, initialize_config_dir
from hydra.core.config_loader import ConfigLoader
from hydra.core.global_hydra import GlobalHydra
from hydra.core.override_parser.overrides_parser import OverridesParser

from genmodels import naming
from genmodels.errors import UserError
from genmodels.runs.lock import claimed
from genmodels.search.plan import plan
from genmodels.search.record import FILE
from genmodels.search.results import Searched
from genmodels.search.space import Space
from genmodels.search.study import existing, make_sampler, seed_of, storage_at
from genmodels.search.sweeper import Search
from genmodels.search.trial import reports_to
from genmodels.search.trials import Trials

LR = "model.optimizer.lr=tag(log,interval(1e-4,1e-2))"
WORDS = ("data=gaussian", "callbacks=[]", "data.limit=40", "metrics=[likelihood]")


@cache
def _composed(words: tuple[str, ...]):
    return compose("train", overrides=["hparams_search=optuna", *words], return_hydra_config=True)


@pytest.fixture(scope="module")
def loader() -> ConfigLoader:
    """Hydra's loader of conf/, with which the configs of trials are composed."""
    naming.register()
    with initialize_config_dir(str(ROOT / "conf"), version_base="1.3"):
        yield GlobalHydra.instance().config_loader()
    _composed.cache_clear()


def fields(words):
    """Keys and values of a job's words."""
    return {each.get_key_element(): each.value() for each in OverridesParser.create().parse_overrides(list(words))}


class Launcher:
    """Writes the records that jobs would leave, of a training that takes no time.

    The validation value is smallest at a learning rate of 1e-3.
    """

    def __init__(self, folder, endings=(), prune=False):
        self.folder, self.endings, self.prune = Path(folder), dict(endings), prune
        self.jobs = []

    def launch(self, jobs, initial_job_idx):
        for words in jobs:
            self.run(words)

    def run(self, words):
        given = fields(words)
        self.jobs.append(given)
        ending = self.endings.pop(len(self.jobs) - 1, "finished")
        if ending == "vanish":
            return
        if ending == "kill":
            raise KeyboardInterrupt
        run = self.folder / given["hydra.sweep.subdir"]
        run.mkdir(parents=True, exist_ok=True)
        value = distance(given)
        if self.prune and not given["test"] and ending == "finished" and self.hopeless(given, value):
            ending = "pruned"
        record = {"status": "running" if ending == "die" else ending, "metrics": {}, "tested": given["test"]}
        record |= {"validation": {"val/nats": value}, "cost": {"parameters": round(1 / value)}}
        record |= {"error": "no disk."} if ending == "failed" else {}
        (run / "run.json").write_text(json.dumps(record))
        if ending == "die":
            raise KeyboardInterrupt

    def hopeless(self, given, value):
        place = {key.removeprefix("trial."): given[key] for key in given if key.startswith("trial.")}
        report, name = reports_to(place)
        assert name == "val/nats"
        return any(report(step, value + 1 / step) for step in (1, 2, 3))


def distance(given):
    return round(abs(float(given.get("model.optimizer.lr", 1e-3)) - 1e-3) * 1000 + 0.1, 9)


def planned(loader, folder, *words, **settings):
    """The search of a command line, and its space."""
    composed = partial(_compose, loader)
    sampler, pruner = settings.pop("sampler", "tpe"), settings.pop("pruner", "none")
    chosen = [f"hydra/sweeper/sampler={sampler}", f"hydra/sweeper/pruner={pruner}"]
    config = composed([*chosen, *(f"hydra.sweeper.{key}={value}" for key, value in settings.items())])
    sweeper = Search(**{key: value for key, value in config.hydra.sweeper.items() if not key.startswith("_")})
    sweeper.check()
    space = Space.of({}, [*WORDS, *words], loader, composed)
    space.check()
    return plan(sweeper.settings, space, Path(folder).absolute()), space


def _compose(loader, words):
    return _composed(tuple(words))


@pytest.fixture
def search(loader, tmp_path):
    """A function that calls the same search once more, and returns the launcher and the trials."""

    def call(*words, endings=(), prune=False, **settings):
        found, space = planned(loader, tmp_path, *(words or (LR,)), **settings)
        launcher = Launcher(tmp_path, endings, prune)
        trials = Trials(found, space, launcher)
        with suppress(KeyboardInterrupt):
            trials.run()
        return launcher, existing(storage_at(found.storage), found.name).trials

    return call


def states(trials):
    return [trial.state.name for trial in trials]


def read(tmp_path):
    return json.loads((tmp_path / FILE).read_text())


# Trials


def test_a_search_finds_what_is_best_and_scores_it_alone_on_test(search, tmp_path):
    launcher, trials = search(n_trials=6)
    assert states(trials) == ["COMPLETE"] * 6
    *proposed, last = launcher.jobs
    assert [job["test"] for job in proposed] == [False] * 6
    best = min(trials, key=lambda trial: trial.value)
    assert last["test"] is True and last["trial.of"] == 6 and last["trial.number"] == best.number
    assert best.value == pytest.approx(distance(last)) and read(tmp_path)["best"] == [best.number]


def test_a_second_call_continues_to_n_trials_in_all(search, tmp_path):
    _, first = search(n_trials=3)
    launcher, again = search(n_trials=3)
    assert len(again) == 3 and [job["test"] for job in launcher.jobs] == [True]
    launcher, more = search(n_trials=5)
    assert [trial.params for trial in more[:3]] == [trial.params for trial in first]
    assert len(more) == 5 and len(launcher.jobs) == 3 and launcher.jobs[-1]["trial.of"] == 5


@pytest.mark.slow
@pytest.mark.parametrize("sampler", ["tpe", "random", "cmaes"])
def test_an_interrupted_search_proposes_what_it_would_have_proposed(sampler, loader, tmp_path):
    whole, parts = [], []
    for endings, found in (((), whole), (((1, "kill"), (3, "die")), parts)):
        folder = tmp_path / str(len(endings))
        for ending in [*endings, None]:
            own, space = planned(loader, folder, LR, "model.beta=interval(0.5,2.0)", n_trials=6, sampler=sampler)
            number = [ending] if ending else []
            with suppress(KeyboardInterrupt):
                Trials(own, space, Launcher(folder, number)).run()
        found += existing(storage_at(own.storage), own.name).trials
    assert states(parts) == states(whole) == ["COMPLETE"] * 6
    assert [trial.params for trial in parts] == [trial.params for trial in whole]
    assert [trial.values for trial in parts] == [trial.values for trial in whole]


@pytest.mark.parametrize("ending", ["kill", "die"])
def test_a_killed_trial_goes_on_in_its_folder(ending, search):
    before, trials = search(n_trials=4, endings={2: ending})
    assert states(trials) == ["COMPLETE", "COMPLETE", "RUNNING"]
    after, trials = search(n_trials=4)
    assert states(trials) == ["COMPLETE"] * 4
    assert after.jobs[0] == before.jobs[2] and after.jobs[0]["trial.number"] == 2
    assert len(after.jobs) == 3  # the killed one, the last one, and the best on test


def test_a_trial_that_finished_before_its_search_was_killed_is_not_trained_again(search, tmp_path):
    launcher, trials = search(n_trials=2, endings={1: "die"})
    file = tmp_path / launcher.jobs[1]["hydra.sweep.subdir"] / "run.json"
    file.write_text(json.dumps(json.loads(file.read_text()) | {"status": "finished"}))
    launcher, trials = search(n_trials=2)
    assert states(trials) == ["COMPLETE"] * 2 and [job["test"] for job in launcher.jobs] == [True]


def test_a_trial_of_another_living_process_stays_running_and_is_not_started(search, tmp_path):
    before, _ = search(n_trials=3, endings={1: "die"})
    with claimed(tmp_path / before.jobs[1]["hydra.sweep.subdir"]):
        launcher, trials = search(n_trials=3)
    assert states(trials) == ["COMPLETE", "RUNNING", "COMPLETE"]
    assert [job["trial.number"] for job in launcher.jobs] == [2]  # and nothing is scored on test yet


def test_a_trial_proposed_by_another_living_process_is_not_started(search, tmp_path):
    _, trials = search(n_trials=2, endings={1: "kill"})
    study = existing(storage_at(str(tmp_path / "study.journal")), tmp_path.name)
    optuna.trial.Trial(study, 1).set_user_attr("owner", ".search-elsewhere-1")
    with claimed(tmp_path / ".search-elsewhere-1"):
        launcher, trials = search(n_trials=2)
    assert states(trials) == ["COMPLETE", "RUNNING"] and launcher.jobs == []


def test_failed_and_vanished_trials_fail_with_their_reasons(search, tmp_path):
    _, trials = search(n_trials=4, endings={0: "failed", 2: "vanish"})
    assert states(trials) == ["FAIL", "COMPLETE", "FAIL", "COMPLETE"]
    reasons = [trial["reason"] for trial in read(tmp_path)["trials"]]
    assert reasons == ["no disk.", None, "it left no run folder", None]


def test_failed_trials_are_tried_again_if_wanted(search):
    _, before = search(n_trials=3, endings={1: "failed"})
    launcher, trials = search(LR, "retry=failed", n_trials=3)
    assert states(trials) == ["COMPLETE", "FAIL", "COMPLETE", "COMPLETE"]
    assert trials[3].params == before[1].params and launcher.jobs[0]["trial.number"] == 3
    assert launcher.jobs[-1]["trial.of"] == 3


def test_hopeless_trials_are_pruned_and_told_apart(search, tmp_path):
    _, trials = search(n_trials=12, prune=True, pruner="median")
    assert {"COMPLETE", "PRUNED"} == set(states(trials))
    pruned = [trial for trial in trials if trial.state.name == "PRUNED"]
    assert all(trial.intermediate_values for trial in pruned)
    shown = Searched.read(tmp_path)
    assert sum("pruned at validation" in row[2].text for row in shown.table().rows) == len(pruned)


def test_hyperband_counts_the_validations_of_a_run(loader, tmp_path):
    found, _ = planned(loader, tmp_path, LR, "validations=9", pruner="hyperband")
    assert found.validations == 9


def test_trials_are_launched_together(search):
    launcher, trials = search(n_trials=5, n_jobs=2)
    assert states(trials) == ["COMPLETE"] * 5 and len(launcher.jobs) == 6


# The space


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


# Objectives


def test_two_objectives_have_a_front_whose_points_are_all_scored(search, tmp_path):
    launcher, trials = search(LR, "objective=[val/nats,cost.parameters]", n_trials=6)
    assert all(len(trial.values) == 2 for trial in trials)
    study = existing(storage_at(str(tmp_path / "study.journal")), tmp_path.name)
    front = {trial.number for trial in study.best_trials}
    assert {job["trial.number"] for job in launcher.jobs if job["test"]} == front == set(read(tmp_path)["best"])
    shown = Searched.read(tmp_path)
    assert len(shown.front()) == 1 and "cost.parameters" in shown.summary


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


# The study on disk


@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        (["model.beta=interval(0.5,2.0)"], "interval(1e-4,1e-2)), not model.beta=interval"),
        ([LR, "budget.max_batches=7"], "which was made with"),
        ([LR, "objective=cost.parameters"], "which has the objectives val/nats, not cost.parameters"),
    ],
)
def test_a_study_of_another_search_is_not_continued(words, sentence, search, tmp_path):
    search(n_trials=1)
    before = (tmp_path / "study.journal").read_bytes()
    with pytest.raises(UserError) as error:
        search(*words, n_trials=2)
    assert sentence in str(error.value) and "another sweep=NAME" in str(error.value)
    assert (tmp_path / "study.journal").read_bytes() == before


def test_a_study_of_another_program_is_not_continued(search, tmp_path):
    optuna.create_study(study_name=tmp_path.name, storage=storage_at(str(tmp_path / "study.journal")))
    with pytest.raises(UserError, match="which is not of genmodels"):
        search(n_trials=1)


def test_a_journal_whose_last_line_was_cut_by_a_kill_goes_on(search, tmp_path):
    search(n_trials=2)
    file = tmp_path / "study.journal"
    file.write_bytes(file.read_bytes() + b'{"op_code":4,"work')
    _, trials = search(n_trials=3)
    assert states(trials) == ["COMPLETE"] * 3


def test_a_damaged_journal_is_one_sentence(search, tmp_path):
    search(n_trials=1)
    (tmp_path / "study.journal").write_text("nonsense\nnonsense\n")
    with pytest.raises(UserError, match=r"the study .* cannot be"):
        search(n_trials=2)


def test_a_study_may_lie_in_a_database(search, tmp_path):
    url = f"sqlite:///{tmp_path / 'study.db'}"
    search(n_trials=2, storage=url, endings={1: "die"})
    launcher, trials = search(n_trials=2, storage=url)
    assert states(trials) == ["COMPLETE"] * 2 and launcher.jobs[0]["trial.storage"] == url


def test_without_the_library_a_sentence_names_the_extra(monkeypatch, loader, tmp_path):
    import_module = importlib.import_module

    def gone(name, *rest):  # Hydra imports by the same function
        if name.partition(".")[0] == "optuna":
            raise ModuleNotFoundError(f"No module named '{name}'", name=name)
        return import_module(name, *rest)

    monkeypatch.setattr("genmodels.search.study.importlib.import_module", gone)
    with pytest.raises(UserError, match=r"pip install 'genmodels\[sweeps\]'"):
        planned(loader, tmp_path, LR)


def test_an_old_library_is_named(monkeypatch, loader, tmp_path):
    monkeypatch.setattr(optuna, "__version__", "2.10.1")
    with pytest.raises(UserError, match=r"needs Optuna 4 or later, not 2\.10\.1: pip install"):
        planned(loader, tmp_path, LR)


# The end


def test_the_section_of_the_report_has_table_and_charts(search, tmp_path):
    words = ("model=vae,realnvp", "model.latent_dim=choice(2,4)", LR)
    search(*words, n_trials=12, sampler="random", endings={3: "failed"})
    shown = Searched.read(tmp_path)
    rows = shown.table().rows
    assert rows[0][0].text.endswith(" best") and rows[-1][2].text == "failed: no disk."
    values = [row[1].number for row in rows if row[1].number is not None]
    assert values == sorted(values) and len(values) == 11
    svgs = [chart.svg for chart in shown.section.charts]
    assert len(svgs) == 3 and all("<svg" in svg or ":svg" in svg for svg in svgs)
    assert "model.latent_dim" in shown.record["importance"]["val/nats"]
    assert shown.summary.startswith("Search of 12 trials (11 finished, 1 failed) by val/nats; best: trial ")


def test_a_folder_without_a_search_has_none(tmp_path):
    assert Searched.read(tmp_path) is None
    (tmp_path / FILE).write_text('{"trials": 3}')
    assert Searched.read(tmp_path) is None


def test_the_sampler_of_a_grid_is_the_same_for_all_trials():
    node = {"_target_": "optuna.samplers.GridSampler", "seed": 3}
    first, second = (make_sampler(node, number, {"a": [1, 2, 3]}) for number in (0, 5))
    assert first._all_grids == second._all_grids
