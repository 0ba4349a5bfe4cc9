"""One experiment: build, fit, evaluate and record, for any model and data set."""

from __future__ import annotations

import atexit
import os
from collections.abc import Callable, Mapping
from contextlib import nullcontext
from dataclasses import dataclass, replace
from typing import Any, TypeVar

from lightning import Callback, Trainer, seed_everything
from omegaconf import DictConfig, OmegaConf

from genmodels import callbacks as cb
from genmodels.builder import build
from genmodels.console import quiet_lightning, tell
from genmodels.core.processes import broadcast, is_rank_zero, leave_group
from genmodels.core.score import Score
from genmodels.data import DataModule
from genmodels.errors import require
from genmodels.hardware import device_for, forget_peak_memory, keep_freed_memory
from genmodels.instruments import all_callbacks, built, make_trainer
from genmodels.loggers import Copied, MetricsCsv
from genmodels.models.base import BaseModel, adopt_settings, make_optimizers
from genmodels.models.base.model import batches
from genmodels.plan import print_plan
from genmodels.recording import ENDS, mirrored, open_loggers, recorded, tests, timed
from genmodels.runs import (
    Computing,
    RunFolder,
    check_continues,
    choose,
    compile_networks,
    config_hash,
    explained,
    labeled,
    load_weights,
    scores_by_name,
    set_memory_format,
)
from genmodels.runs.packages import git_state
from genmodels.runs.provenance import provenance
from genmodels.runs.threads import set_threads
from genmodels.runs.values import TEST, value
from genmodels.settings import check_settings, plain

T = TypeVar("T")
INCIDENTAL = ("seed", "split_seed", "checkpoint", "checkpoint_sha256", "trials")  # of what scores are measured on


@dataclass(frozen=True)
class Experiment:
    """Everything that a run needs, built and checked before anything is written."""

    config: DictConfig
    folder: RunFolder
    data: DataModule
    model: BaseModel
    trainer: Trainer
    budget: cb.Budget
    evaluate: cb.Evaluate
    computing: Computing

    @property
    def callbacks(self) -> list[Callback]:
        """The trainer's callbacks, in the order in which they act."""
        return self.trainer.callbacks  # type: ignore[attr-defined]

    @property
    def begun(self) -> bool:
        """Whether training has begun, and with it the record of the run."""
        return any(isinstance(each, cb.Begin) and each.done for each in self.callbacks)

    @property
    def pruned(self) -> bool:
        """Whether a search has ended training before its budget was spent."""
        return any(isinstance(each, cb.Prune) and each.pruned for each in self.callbacks)

    @property
    def subject(self) -> dict[str, Any]:
        """What is evaluated besides the checkpoint, for the protocol of every score."""
        trials = {"trials": of} if (of := OmegaConf.select(self.config, "trial.of")) is not None else {}
        return {"weights": self.config.weights, **of_the_data(self.data, self.config.seed), **trials}

    @property
    def copied(self) -> Copied:
        """The run as it is now, for the mirrors."""
        tables = [logger for logger in self.trainer.loggers if isinstance(logger, MetricsCsv)]
        curves = [row for table in tables for row in table.rows.values()]
        record = self.folder.read() if self.folder.record_file.exists() else {}  # removed while training
        return Copied(self.folder.path, plain(self.config), record, lambda: self.budget.spent, curves)

    def callback(self, kind: type[T]) -> T:
        """The trainer's callback of a class."""
        return next(each for each in self.callbacks if isinstance(each, kind))

    @classmethod
    def assemble(cls, config: DictConfig, record: Mapping[str, Any] | None = None) -> Experiment:
        """Build all parts from the config.

        Args:
            config: the config.
            record: run.json of a run that is continued or evaluated; its precision and threads are repeated.

        Raises:
            UserError: for anything in the config that cannot be built.
        """
        quiet_lightning()
        keep_freed_memory()
        forget_peak_memory()
        check_settings(config)
        seed_everything(config.seed, verbose=False)
        budget = cb.Budget.parse(plain(config.budget), plain(config.default_budget))
        data = build(config.data, "data", DataModule)
        model = build(config.model, "model", BaseModel)
        if config.get("scheduler"):
            model.scheduler_factory = None  # the schedule over the budget takes its place
        model.configure_optimizers()  # so that bad arguments are reported before training
        record = record or {}
        warning = set_threads(record.get("hardware", {}).get("threads"))
        computing = choose(config, model, device_for(config.trainer.accelerator), record)
        bare = config.compile and not list(model.compiled_networks())
        idle = f"compile=true has no effect: {type(model).__name__} has no network." if bare else None
        computing = replace(computing, warnings=(*computing.warnings, *filter(None, [warning, idle])))
        folder = RunFolder(config.run_dir)
        evaluate = cb.Evaluate(built(config, "metrics"), folder.path, config.seed)
        mirrors = list(built(config, "logger").values())
        title = f"{type(model).__name__} on {data.name}"
        instruments = [*all_callbacks(config, folder, budget, title), evaluate]
        trainer = make_trainer(computing.settled(config), model, mirrors, instruments)
        if trainer.world_size > 1:
            atexit.register(leave_group)
        return cls(config, folder, data, model, trainer, budget, evaluate, computing)

    def fit(self, begin: Callable[[], None] = lambda: None, resume: bool = False) -> None:
        """Train until the budget is spent.

        Args:
            begin: called in the first process when nothing but the training itself can fail any more.
            resume: continue from the run's last checkpoint.

        Raises:
            UserError: if the checkpoint cannot be continued with this model, before ``begin`` is called.
        """
        checkpoint = self.folder.checkpoint("last.ckpt") if resume else None
        if checkpoint is not None:
            self.folder.verified(checkpoint)
            state = check_continues(self.model, checkpoint)
            with explained(checkpoint):
                for each in self.callbacks:
                    if each.state_key in state["callbacks"]:
                        each.load_state_dict(state["callbacks"][each.state_key])
            self.check_trains_on()
        self.data.setup("fit")
        self.model.check_batch(len(self.data.first_train(self.data.batch_size)))
        if checkpoint is None:
            self.initialize(self.model.first_examples)
        set_memory_format(self.model, self.computing.channels_last)
        if self.config.compile:
            compile_networks(self.model.compiled_networks())
        self.trainer.val_check_interval, self.trainer.check_val_every_n_epoch = cb.UNTIL_DUE, None  # see cb.Validate

        def start() -> None:
            self.rewind()
            if is_rank_zero():
                begin()

        self.callbacks.append(cb.Begin(start, self.callback(cb.Validate)))
        self.trainer.fit(self.model, datamodule=self.data, ckpt_path=checkpoint)

    def check_trains_on(self) -> None:
        """Check that a continued run has budget left for what is new in its config, which is else not what trained it.

        Raises:
            UserError: if it has none.
        """
        if self.budget.fraction < 1 or not self.folder.holds_run():
            return
        batches = self.budget.batches
        require(
            config_hash(self.config) == config_hash(self.folder.config),
            f"the run was trained for {batches} batches, which spends this budget: nothing would be trained under the "
            f"new settings; give it more, such as budget.max_batches={2 * batches}, or train a new run.",
        )

    def initialize(self, n: int) -> None:
        """Set the data-dependent initial values of the model from the first ``n`` training examples."""
        y = self.data.given_labels("train")
        if y is not None:
            self.model.count_labels(y)
        with self.model.given(None if y is None else y[:n]):
            self.model.initialize(self.data.first_train(n))

    def rewind(self) -> None:
        """Drop curves that were logged after the checkpoint, and use the config's settings of the optimizers."""
        for logger in self.trainer.loggers:
            if isinstance(logger, MetricsCsv):
                logger.rewind(batches(self.trainer))
        for optimizer, configured in zip(self.trainer.optimizers, make_optimizers(self.model), strict=True):
            adopt_settings(optimizer, configured)

    def train(self, begin: Callable[[], None], resume: bool = False) -> list[Score]:
        """Train, evaluate, and record how it ended; a run that never began leaves its folder as it was.

        With ``test=false``, and if a search prunes the run, it is not evaluated.

        Args:
            begin: writes the run folder's config and record.
            resume: see :meth:`fit`.
        """
        with recorded(self) as seconds:
            with timed(seconds, "fit_seconds"):
                self.fit(begin, resume)
            if self.pruned or not tests(self.config):
                return []
            with timed(seconds, "evaluation_seconds"):
                return self.test()

    def test(self, checkpoint: str | None = None, differing: Mapping[str, str] | None = None) -> list[Score]:
        """Evaluate the best checkpoint, or the one named, and record the scores with what they were measured on.

        Args:
            checkpoint: file name of another checkpoint than the best.
            differing: settings that are not the run's own, see :func:`genmodels.runs.differences`; they are part of the
                scores' names. ``None`` at the end of training, when everything is the run's own.
        """
        path = self.folder.checkpoint(checkpoint)
        found = self.folder.verified(path)[:12]
        load_weights(self.model, path, self.config.weights)
        set_memory_format(self.model, self.computing.channels_last)
        own = differing is None
        if own and is_rank_zero():
            self.folder.set_stale_scores_apart(found)
        measured_on = {"checkpoint": path.name, "checkpoint_sha256": found, **self.subject}

        def keep(scores: list[Score]) -> list[Score]:
            named = [replace(score, name=labeled(score.name, differing or {})) for score in scores]
            named = [with_entries(score, measured_on) for score in named]
            refusals = self.evaluate.refusals
            return broadcast(self.folder.add_scores(named, refusals, own) if is_rank_zero() else named)

        self.evaluate.keep, self.evaluate.own = keep, not differing
        if differing:  # the pictures in the folder are those of the run itself
            self.callbacks[:] = [each for each in self.callbacks if not isinstance(each, cb.SampleGrid)]
        self.trainer.test(self.model, datamodule=self.data, verbose=False)
        keep([])  # where no metric applies, the reasons are recorded too
        if self.evaluate.own and is_rank_zero():
            self.folder.note_samples()
        return self.evaluate.scores


def of_the_data(data: DataModule, seed: int) -> dict[str, Any]:
    """What a run with a ``seed`` says of its data in the protocol of every score."""
    limit = {} if data.limit is None else {"limit": data.limit}
    return {"data_sha256": data.sha256[:12], **limit, "seed": seed, "split_seed": data.seed}


def with_entries(score: Score, measured_on: Mapping[str, Any]) -> Score:
    """A score whose protocol says what it was measured on as well."""
    protocol = {**score.protocol, **measured_on}
    return replace(score, protocol=protocol, incidental=(*score.incidental, *INCIDENTAL))


def run(config: DictConfig, overrides: list[str] | None = None) -> float | None:
    """Train and evaluate the experiment of ``config``, or go on with it; returns the value that a sweep minimizes.

    A folder that holds this experiment already is left as it is if the run is finished; a run that was killed or
    interrupted goes on, and one that failed only with ``retry=failed``.

    Raises:
        InUse: if another process is at it.
        UserError: for bad input, before anything is written, or if training diverges.
    """
    config.run_dir = os.path.abspath(config.run_dir)
    folder = RunFolder(config.run_dir)
    if config.dry_run:
        print_plan(Experiment.assemble(config))
        return None
    with folder.claimed() if is_rank_zero() else nullcontext():
        status = folder.status_of(config)
        if status in ENDS and (status == "pruned" or not tests(config) or folder.read().get("tested", True)):
            tell(f"{folder.path} is {status} already{at_other_commit(folder.read())}; skipped.")
            if (of := OmegaConf.select(config, "trial.of")) is not None and is_rank_zero():
                folder.note_trials(of)
            return objective(folder.read(), config)
        again = status != "failed" or config.retry == "failed"
        require(again, f"{folder.path} failed before; retry=failed tries it again from its last checkpoint.")
        scores = train(folder, config, overrides or [], status)
    if is_rank_zero():
        tell(*(score.line for score in scores), str(folder.path))
    return objective(folder.read(), config)


def train(folder: RunFolder, config: DictConfig, overrides: list[str], status: str | None) -> list[Score]:
    """Do what is left of a run, given its status, in a folder that this process holds; returns the scores."""
    if status is None:
        return begin(config, overrides)
    return evaluate(folder, config) if status == "finished" else go_on(folder, config, []).evaluate.scores


def at_other_commit(record: Mapping[str, Any]) -> str:
    """In words, the commit that the run of ``record`` was made with, if it is not that of the code here."""
    made, here = ((git or {}).get("commit") for git in (record.get("git"), git_state()))
    return "" if made in (None, here) else f", at commit {str(made)[:7]} and not {str(here)[:7]}"


def begin(config: DictConfig, overrides: list[str]) -> list[Score]:
    """Train and evaluate the experiment of ``config`` in a new folder."""
    experiment = Experiment.assemble(config)
    experiment.data.setup()
    refusals = experiment.evaluate.ask(experiment.model, experiment.data)  # reported before training
    if is_rank_zero():
        tell(*(f"{name} will be missing: {reason}" for name, reason in refusals.items()))

    def write() -> None:
        details = {
            "model": type(experiment.model).__name__,
            **({} if experiment.model.spec.classes is None else {"given": "labels"}),
            "family": experiment.model.family,
            "data": experiment.data.name,
            "data_sha256": experiment.data.sha256,
            "seed": config.seed,
            "overrides": overrides,
            "config_hash": config_hash(config),
            "expected": plain(config.get("expected")),
            "trial": {} if (number := OmegaConf.select(config, "trial.number")) is None else {"number": number},
            "computing": experiment.computing.entry,
            **provenance(config),
        }
        experiment.folder.create(config, details)
        open_loggers(experiment)
        tell(*experiment.computing.lines)

    return experiment.train(write)


def evaluate(folder: RunFolder, config: DictConfig) -> list[Score]:
    """Evaluate a finished run that was trained with ``test=false``, in a folder that this process holds.

    Its metrics.csv, which is of training alone, stays as it is.
    """
    record = folder.read()
    experiment = Experiment.assemble(config, record)
    experiment.data.setup()
    seconds: dict[str, float] = {}
    with mirrored(experiment, every=True), timed(seconds, "evaluation_seconds"):
        scores = experiment.test()
    if is_rank_zero():
        cost = record.get("cost", {}) | {name: round(value, 3) for name, value in seconds.items()}
        folder.update(tested=True, cost=cost)
    return scores


def resume(folder: RunFolder, config: DictConfig, overrides: list[str]) -> Experiment:
    """Continue the run in ``folder`` with ``config``, from its last checkpoint or, if it has none, from the beginning.

    Raises:
        InUse: if another process is at it.
        UserError: for bad input, or if training diverges. Before training begins the folder is not changed.
    """
    with folder.claimed() if is_rank_zero() else nullcontext():
        return go_on(folder, config, overrides)


def go_on(folder: RunFolder, config: DictConfig, overrides: list[str]) -> Experiment:
    """Do what :func:`resume` says in a folder that this process holds."""
    record = folder.read()
    experiment = Experiment.assemble(config, record)
    experiment.data.setup()
    experiment.evaluate.ask(experiment.model, experiment.data)
    known = record.get("data_sha256")
    require(
        known in (None, experiment.data.sha256) or any(word.startswith("data.") for word in overrides),
        f"the data of {folder.path} have changed since it was trained (their SHA-256 was {str(known)[:12]}..., it is "
        f"{experiment.data.sha256[:12]}...); restore them, or train a new run.",
    )
    saved = record.get("checkpoints", {}).get("last.ckpt", [])
    continued = len(saved) > 1 or (folder.checkpoints / "last.ckpt").exists()  # one hash: killed in the first save

    def write() -> None:
        details = {"data_sha256": experiment.data.sha256, "computing": experiment.computing.entry}
        experiment.folder.proceed(config, overrides, details, experiment.budget.batches)
        open_loggers(experiment)

    if is_rank_zero():
        tell(*experiment.computing.lines)
    if not continued:
        tell(f"{folder.path} was stopped before its first checkpoint: training starts from the beginning.")
    experiment.train(write, resume=continued)
    return experiment


def objective(record: Mapping[str, Any], config: DictConfig) -> float | None:
    """The value a sweep minimizes: the one named ``objective``, or the first score; negated if higher is better.

    Raises:
        UserError: if it was not measured.
    """
    scores = scores_by_name(record)
    if not isinstance(config.objective, str):  # several objectives are read from the run folders
        first = next(iter(scores.values()), None)
        return None if first is None or config.objective else -first.value if first.better == "higher" else first.value
    found = value(record, config.objective)
    names = ", ".join([*scores, *record.get("validation", {})]) or "none"
    unmeasured = f"objective={config.objective} was not measured; measured: {names}."
    require(found is not None or not tests(config), unmeasured)
    score = scores.get(config.objective.removeprefix(TEST))
    return -found if found is not None and score is not None and score.better == "higher" else found
