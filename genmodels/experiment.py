"""One experiment: build, fit, evaluate and record, for any model and data set."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import Any

import torch
from lightning import Callback, Trainer, seed_everything
from lightning.pytorch.callbacks import ModelCheckpoint
from omegaconf import DictConfig, OmegaConf

from genmodels import callbacks as cb
from genmodels.builder import build
from genmodels.compare import scores_by_name
from genmodels.console import quiet_lightning, tell
from genmodels.core.processes import is_rank_zero
from genmodels.core.score import Score
from genmodels.data import DataModule
from genmodels.errors import UserError, require
from genmodels.hardware import forget_peak_memory
from genmodels.models.base import BaseModel
from genmodels.plan import print_plan
from genmodels.runs import RunFolder, config_hash, load_weights, now, read_checkpoint, set_memory_format
from genmodels.runs.provenance import provenance, training_cost
from genmodels.settings import check_settings, plain


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

    @property
    def checkpoint(self) -> cb.Checkpoint:
        """The callback that keeps checkpoints."""
        return next(each for each in self.trainer.callbacks if isinstance(each, cb.Checkpoint))  # type: ignore[attr-defined]

    @classmethod
    def assemble(cls, config: DictConfig) -> Experiment:
        """Build all parts from the config.

        Raises:
            UserError: for anything in the config that cannot be built.
        """
        quiet_lightning()
        forget_peak_memory()
        check_settings(config)
        seed_everything(config.seed, verbose=False)
        budget = cb.Budget.parse(plain(config.budget), plain(config.default_budget))
        data: DataModule = build(config.data, "data")
        model: BaseModel = build(config.model, "model")
        if config.get("scheduler"):
            model.scheduler_factory = None  # the schedule over the budget takes its place
        model.configure_optimizers()  # so that bad arguments are reported before training
        metrics, loggers = (config.get(group) or {} for group in ("metrics", "logger"))
        folder = RunFolder(config.run_dir)
        evaluations = {name: build(node, f"metrics.{name}") for name, node in metrics.items() if chosen(node)}
        evaluate = cb.Evaluate(evaluations, folder.path, config.seed)
        mirrors = [build(grouped(plain(node), config), f"logger.{name}") for name, node in loggers.items()]
        title = f"{type(model).__name__} on {data.name}"
        instruments = [*all_callbacks(config, folder, budget, title), evaluate]
        trainer = make_trainer(config, model, mirrors, instruments)
        return cls(config, folder, data, model, trainer, budget, evaluate)

    def fit(self, resume: bool = False) -> None:
        """Train until the budget is spent; ``resume`` continues from the run's last checkpoint."""
        checkpoint = self.folder.checkpoint("last.ckpt") if resume else None
        if checkpoint is not None:
            read_checkpoint(checkpoint)  # refuses anything but tensors and plain types, whatever Lightning's version
        self.data.setup("fit")
        if checkpoint is None:
            self.model.initialize(self.data.first_train(512))
        set_memory_format(self.model, self.config)
        if self.config.compile:
            for network in self.model.compiled_networks():
                network.compile()
        self.trainer.val_check_interval, self.trainer.check_val_every_n_epoch = cb.UNTIL_DUE, None  # see cb.Validate
        self.trainer.fit(self.model, datamodule=self.data, ckpt_path=checkpoint)

    def test(self, checkpoint: str | None = None, overrides: Sequence[str] = (), suffix: str = "") -> list[Score]:
        """Evaluate the best checkpoint, or the one named, and record the scores with the weights they belong to.

        Args:
            checkpoint: file name of another checkpoint than the best.
            overrides: overrides of the config for this evaluation.
            suffix: appended to the scores' names, to distinguish them from those of other weights of the same run.
        """
        path = self.folder.checkpoint(checkpoint)
        load_weights(self.model, path, self.config.weights)
        set_memory_format(self.model, self.config)
        subject = {"weights": self.config.weights, "checkpoint": path.name, "overrides": list(overrides)}

        def keep(found: list[Score]) -> list[Score]:
            named = [
                replace(
                    s,
                    name=s.name + suffix,
                    protocol={**s.protocol, **subject},
                    incidental=(*s.incidental, "checkpoint", "overrides"),
                )
                for s in found
            ]
            if is_rank_zero():
                self.folder.add_scores(named, self.evaluate.refusals)
            return named

        self.evaluate.keep = keep
        self.trainer.test(self.model, datamodule=self.data, verbose=False)
        keep([])  # where no metric applies, the reasons are recorded too
        return self.evaluate.scores


def run(config: DictConfig, overrides: list[str] | None = None) -> float | None:
    """Train and evaluate the experiment of ``config``; returns the value that a sweep minimizes.

    Raises:
        UserError: for bad input, before anything is written, or if training diverges.
    """
    config.run_dir = os.path.abspath(config.run_dir)
    folder = RunFolder(config.run_dir)
    if finished(folder, config):
        tell(f"{folder.path} is finished already; skipped.")
        return objective(list(scores_by_name(folder.read()).values()), config)
    experiment = Experiment.assemble(config)
    if config.dry_run:
        print_plan(experiment)
        return None
    experiment.data.setup()
    refusals = experiment.evaluate.ask(experiment.model, experiment.data)  # reported before training
    if is_rank_zero():
        tell(*(f"{name} will be missing: {reason}" for name, reason in refusals.items()))
        details = {
            "model": type(experiment.model).__name__,
            "data": experiment.data.name,
            "seed": config.seed,
            "overrides": overrides or [],
            "config_hash": config_hash(config),
            "expected": plain(config.get("expected")),
            **provenance(),
        }
        experiment.folder.create(config, details)
    with recorded(experiment):
        for logger in experiment.trainer.loggers:
            logger.log_hyperparams(plain(config))
        experiment.fit()
        scores = experiment.test()
    if is_rank_zero():
        tell(*(score.line for score in scores), str(folder.path))
    return objective(scores, config)


@contextmanager
def recorded(experiment: Experiment) -> Iterator[None]:
    """Record status and cost in run.json, however the run ends, and close the loggers."""
    status, error = "failed", None
    try:
        yield
        status = "finished"
    except (KeyboardInterrupt, SystemExit):  # Lightning turns an interrupt into an exit once the callbacks have saved
        status = "interrupted"
        if is_rank_zero():
            print(f"interrupted; continue with: genmodels resume run={experiment.folder.path}", file=sys.stderr)
        raise
    except BaseException as problem:
        error = f"{problem}" if isinstance(problem, UserError) else f"{type(problem).__name__}: {str(problem)[:300]}"
        raise
    finally:
        for logger in experiment.trainer.loggers:
            logger.finalize("success" if status == "finished" else "failed")
        if "wandb" in sys.modules:
            import wandb

            wandb.finish(exit_code=int(status != "finished"))
        if experiment.folder.record_file.exists() and is_rank_zero():
            device = experiment.trainer.strategy.root_device
            cost = training_cost(experiment.model, experiment.budget.spent, device)
            best = experiment.checkpoint.chosen_by
            experiment.folder.update(status=status, error=error, ended=now(), cost=cost, best=best)


def all_callbacks(config: DictConfig, folder: RunFolder, budget: cb.Budget, title: str) -> list[Callback]:
    """The callbacks that every run has and those of the config, in the order in which they must act."""
    guard, log = cb.StopOnNaN(config.trainer.log_every_n_steps), cb.TrainingLog(budget)
    validate = cb.Validate(budget, config.validations)
    extra = {name: node for name, node in (config.get("callbacks") or {}).items() if node}
    schedule = [build(config.scheduler, "scheduler", budget=budget)] if config.get("scheduler") else []
    return [
        cb.Randomness(config.seed),
        budget,
        guard,
        log,
        validate,
        *schedule,
        *(build(node, f"callbacks.{name}") for name, node in extra.items()),
        build(config.checkpoint, "checkpoint", folder=folder.checkpoints, validate=validate, guard=guard),
        cb.ProgressBar(title, budget, validate, log),
        cb.Interrupt(),
    ]


def make_trainer(config: DictConfig, model: BaseModel, loggers: list[Any], instruments: list[Callback]) -> Trainer:
    """Lightning's Trainer; accumulation of gradients is left to the model."""
    options = plain(config.trainer)
    options["enable_checkpointing"] = any(isinstance(each, ModelCheckpoint) for each in instruments)
    require(
        not (torch.cuda.device_count() == 0 and options["accelerator"] in ("gpu", "cuda")),
        "trainer.accelerator=gpu, but no GPU is available; use trainer.accelerator=cpu.",
    )
    model.accumulate, options["accumulate_grad_batches"] = options["accumulate_grad_batches"], 1  # see train_batch
    return build(options, "trainer", logger=loggers, callbacks=instruments)


def chosen(node: Any) -> bool:
    """Whether a metric is enabled: neither ``null`` nor only settings of a recipe, without a ``_target_``."""
    return node is not None and not (OmegaConf.is_dict(node) and "_target_" not in node)


def grouped(logger: dict[str, Any], config: DictConfig) -> dict[str, Any]:
    """A logger's node whose ``group``, if unset, becomes the config's hash, which runs of several seeds share."""
    return logger | {"group": config_hash(config)} if "group" in logger and logger["group"] is None else logger


def objective(scores: list[Score], config: DictConfig) -> float | None:
    """The value a sweep minimizes: the score named ``objective``, or the first; negated if higher is better."""
    chosen = [s for s in scores if config.objective in (None, s.name)]
    names = ", ".join(s.name for s in scores) or "none"
    unmeasured = f"objective={config.objective} was not measured; measured: {names}."
    require(bool(chosen) or config.objective is None, unmeasured)
    if not chosen:
        return None
    return -chosen[0].value if chosen[0].better == "higher" else chosen[0].value


def finished(folder: RunFolder, config: DictConfig) -> bool:
    """Whether the folder holds this experiment, finished, which a sweep that is started again then skips."""
    if not folder.record_file.exists():
        return False
    record = folder.read()
    same = (record["config_hash"], record["seed"]) == (config_hash(config), config.seed)
    return bool(same and record["status"] == "finished")
