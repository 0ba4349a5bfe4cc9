"""The loop of a search: trials are proposed, launched, and told by what their run folders say."""

from __future__ import annotations

import os
import socket
from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, Any

from filelock import FileLock
from hydra.core.override_parser.types import Quote, QuotedString
from hydra.plugins.launcher import Launcher

from genmodels.compare.records import RECORD, Run
from genmodels.console import tell
from genmodels.errors import require
from genmodels.naming import job_name
from genmodels.runs import is_claimed
from genmodels.runs.lock import claimed
from genmodels.runs.values import value
from genmodels.search.plan import Plan
from genmodels.search.record import write
from genmodels.search.space import Space
from genmodels.search.study import make_sampler, opened, optuna, storage_at, trial_of

if TYPE_CHECKING:
    from optuna.trial import FrozenTrial

MOST_REPEATS = 100  # proposals in a row that repeat earlier trials, before the space counts as exhausted
FAILED = ("failed", "refused", "unreadable")
UNFINISHED = ("interrupted", "killed")


class Trials:
    """The trials of a search.

    Args:
        plan: the search.
        space: what it is over.
        launcher: starts jobs.
    """

    def __init__(self, plan: Plan, space: Space, launcher: Launcher) -> None:
        self.plan, self.space, self.launcher = plan, space, launcher
        self.owner = f".search-{socket.gethostname()}-{os.getpid()}"
        self.launched: set[int] = set()  # by this process, which starts no trial twice
        self.returned: set[int] = set()  # of these, those whose launcher has come back

    def run(self) -> None:
        """Go on until the study has all its trials, then score the best on test."""
        plan = self.plan
        with claimed(plan.folder / self.owner):
            self.storage = storage_at(plan.storage)
            self.study = opened(plan, self.storage)
            self.enqueue_failed()
            try:
                while batch := self.batch():
                    self.launch(batch, {"test": plan.tests})
            finally:
                self.settle()
                write(plan, self.study)
            self.score()

    # The study ----------------------------------------------------------------------------------------------------

    def all(self) -> list[FrozenTrial]:
        """The trials in the study."""
        return list(self.study.get_trials(deepcopy=False))

    def tell(self, number: int, state: str, values: list[float] | None = None) -> None:
        """Tell the study how a trial ended."""
        try:
            self.study.tell(number, values=values, state=optuna().trial.TrialState[state])
        except RuntimeError as error:  # a grid that is exhausted wants to stop a loop of Optuna's own
            require("Study.stop" in str(error), f"the study {self.plan.storage} cannot be written: {error}.")

    def enqueue_failed(self) -> None:
        """Have trials that failed tried again, if that is wanted."""
        trials = counted(self.all())
        for trial in trials if self.plan.retry else ():
            if trial.state.name == "FAIL":
                self.study.enqueue_trial(trial.params, user_attrs={"again": trial.number})

    def batch(self) -> list[int]:
        """The next trials to launch: those that were killed or interrupted, then new ones."""
        with FileLock(self.plan.folder / ".search.lock"):  # of two processes, one asks at a time
            self.settle()
            found = [trial.number for trial in self.all() if self.is_left(trial)][: self.plan.n_jobs]
            while len(found) < self.plan.n_jobs and (number := self.propose()) is not None:
                found.append(number)
            return found

    def propose(self) -> int | None:
        """A new trial, or ``None`` if the study has them all, or all that its space has."""
        for _ in range(MOST_REPEATS):
            trials = self.all()
            sampler: Any = make_sampler(self.plan.sampler, len(trials), self.space.grid if self.plan.is_grid else {})
            begun = [trial for trial in counted(trials) if trial.state.name != "WAITING"]  # to be tried again
            if len(begun) >= self.plan.n_trials or (self.plan.is_grid and sampler.is_exhausted(self.study)):
                return None
            self.study.sampler = sampler
            trial = self.study.ask()
            words = self.space.propose(trial)
            job = job_name(self.space.config(words))
            again = "again" in trial.user_attrs  # a failed one, which is to be tried again in its folder
            twin = next((other.number for other in counted(trials) if other.user_attrs.get("job") == job), None)
            if twin is None or again:
                for key, known in (("job", job), ("words", list(words)), ("owner", self.owner)):
                    trial.set_user_attr(key, known)
                return int(trial.number)
            trial.set_user_attr("repeats", twin)
            self.tell(trial.number, "FAIL")
        tell(f"The last {MOST_REPEATS} proposals repeat earlier trials: the search has tried what there is to try.")
        return None

    # The run folders ----------------------------------------------------------------------------------------------

    def read(self, trial: FrozenTrial) -> Run | None:
        """The run of a trial, if there is one."""
        file = self.plan.folder / str(trial.user_attrs.get("job")) / RECORD
        return Run.read(file) if file.is_file() else None

    def settle(self) -> None:
        """Tell the study of every trial that has ended."""
        for trial in self.all():
            if trial.state.name != "RUNNING":
                continue
            run = self.read(trial)
            if run is None and (trial.number in self.returned or "job" not in trial.user_attrs):
                self.fail(trial, "it left no run folder")
            elif run is not None and run.status == "finished":
                self.complete(trial, run)
            elif run is not None and run.status == "pruned":
                self.tell(trial.number, "PRUNED")
            elif run is not None and run.status in FAILED:
                self.fail(trial, run.reason)

    def complete(self, trial: FrozenTrial, run: Run) -> None:
        """Tell the values of a finished trial."""
        values = [value(run.record, name) for name in self.plan.objectives]
        lacking = [name for name, each in zip(self.plan.objectives, values, strict=True) if each is None]
        if lacking:
            self.fail(trial, f"{' and '.join(lacking)} was not measured")
            return
        self.tell(trial.number, "COMPLETE", [each for each in values if each is not None])

    def fail(self, trial: FrozenTrial, reason: str) -> None:
        """Tell that a trial failed."""
        trial_of(self.study, self.storage, trial.number).set_user_attr("reason", reason)
        self.tell(trial.number, "FAIL")

    def is_left(self, trial: FrozenTrial) -> bool:
        """Whether a trial was begun, and no process is at it."""
        if trial.state.name != "RUNNING" or trial.number in self.launched:
            return False
        run = self.read(trial)
        held = trial.user_attrs["owner"] != self.owner and is_claimed(self.plan.folder / trial.user_attrs["owner"])
        return not held and (run is None or run.status in UNFINISHED)

    def launch(self, numbers: list[int], keys: Mapping[str, Any]) -> None:
        """Start the jobs of some trials, and wait for them."""
        known = {trial.number: trial for trial in self.all()}
        jobs = [self.words(known[number], keys) for number in numbers]
        self.launched.update(numbers)
        self.launcher.launch(jobs, initial_job_idx=numbers[0])
        self.returned.update(numbers)

    def words(self, trial: FrozenTrial, keys: Mapping[str, Any]) -> list[str]:
        """The words of a trial's job."""
        place = {"trial.storage": self.plan.storage, "trial.study": self.plan.name, "trial.number": trial.number}
        own = {"hydra.sweep.subdir": trial.user_attrs["job"], **place, **keys}
        return [*trial.user_attrs["words"], *(f"{key}={quoted(each)}" for key, each in own.items())]

    def score(self) -> None:
        """Score the best trials on test, unless trials are still under way."""
        trials = counted(self.all())
        if waiting := [trial.number for trial in trials if trial.state.name in ("RUNNING", "WAITING")]:
            numbers = ", ".join(map(str, waiting))
            tell(f"trials {numbers} are under way; the best is scored on test when the search is started again.")
            return
        if best := [trial.number for trial in winners(self.plan, trials)]:
            self.launch(best, {"test": True, "trial.of": len(trials)})


def quoted(value: Any) -> str:
    """A value as a word of the command line."""
    return QuotedString(value, Quote.single).with_quotes() if isinstance(value, str) else str(value)


def counted(trials: Iterable[FrozenTrial]) -> list[FrozenTrial]:
    """The trials that count: neither repetitions of others, nor failures that were tried again."""
    trials = list(trials)
    again = {trial.user_attrs.get("again") for trial in trials}
    return [trial for trial in trials if "repeats" not in trial.user_attrs and trial.number not in again]


def winners(plan: Plan, trials: Iterable[FrozenTrial]) -> list[FrozenTrial]:
    """The best of the complete trials: one, or those on the Pareto front of several objectives."""
    signs = [1 if direction == "minimize" else -1 for direction in plan.directions]
    points = [
        (trial, [sign * each for sign, each in zip(signs, trial.values, strict=True)])
        for trial in trials
        if trial.state.name == "COMPLETE"
    ]

    def beaten(own: list[float]) -> bool:
        return any(all(a <= b for a, b in zip(other, own, strict=True)) and other != own for _, other in points)

    front = [trial for trial, own in points if not beaten(own)]
    return front if len(plan.directions) > 1 else front[:1]
