"""Search: the study on disk, its trials in their folders, and what becomes of both when processes end."""

from __future__ import annotations

import importlib
import json
from contextlib import suppress

import optuna
import pytest
from search.searching import LR, Launcher, distance, planned, read, states

from genmodels.errors import UserError
from genmodels.runs.lock import claimed
from genmodels.search.record import FILE
from genmodels.search.results import Searched
from genmodels.search.study import existing, make_sampler, storage_at
from genmodels.search.trials import Trials

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


# Objectives


def test_two_objectives_have_a_front_whose_points_are_all_scored(search, tmp_path):
    launcher, trials = search(LR, "objective=[val/nats,cost.parameters]", n_trials=6)
    assert all(len(trial.values) == 2 for trial in trials)
    study = existing(storage_at(str(tmp_path / "study.journal")), tmp_path.name)
    front = {trial.number for trial in study.best_trials}
    assert {job["trial.number"] for job in launcher.jobs if job["test"]} == front == set(read(tmp_path)["best"])
    shown = Searched.read(tmp_path)
    assert len(shown.front()) == 1 and "cost.parameters" in shown.summary


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
