"""How a run is recorded, however it ends: in run.json, by its loggers, and in their mirrors."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext, suppress
from typing import TYPE_CHECKING

from omegaconf import DictConfig

from genmodels import callbacks as cb
from genmodels.builder import made_by, resolve
from genmodels.core.processes import is_rank_zero
from genmodels.errors import UserError
from genmodels.loggers import Mirror
from genmodels.runs import now
from genmodels.runs.provenance import training_cost
from genmodels.settings import plain
from genmodels.signals import Interrupted
from genmodels.trust import is_trusted

if TYPE_CHECKING:
    from genmodels.experiment import Experiment

ENDS = ("finished", "pruned")  # of runs that went as they should


def tests(config: DictConfig) -> bool:
    """Whether the trained model is scored on the test split."""
    return bool(config.get("test", True))


def open_loggers(experiment: Experiment) -> None:
    """Send the config to the loggers, and enter in run.json where the mirrors have the run."""
    for logger in experiment.trainer.loggers:
        if not isinstance(logger, Mirror):
            logger.log_hyperparams(plain(experiment.config))
        elif entries := logger.begin(experiment.copied):
            experiment.folder.update(**entries)


def keep_mirrors(config: DictConfig) -> None:
    """Leave only those loggers in the config that may show an evaluation: metrics.csv is of training alone."""
    nodes = config.get("logger") or {}
    for name, node in list(nodes.items()):
        target = str(node.get("_target_") if node else None)
        known = target.startswith("genmodels.loggers.") or is_trusted(target)
        kind = made_by(resolve(target, f"logger.{name}")) if known else None
        if not (isinstance(kind, type) and issubclass(kind, Mirror)):
            del nodes[name]


@contextmanager
def mirrored(experiment: Experiment, every: bool) -> Iterator[None]:
    """Context in which the mirrors that have the run already, or ``every`` one of the config, show its evaluation."""
    record, loggers = experiment.folder.read(), experiment.trainer.loggers
    experiment.trainer.loggers = [each for each in loggers if isinstance(each, Mirror) and (every or each.has(record))]
    if is_rank_zero():
        open_loggers(experiment)
    try:
        yield
    finally:
        close_loggers(experiment, str(record.get("status")))


@contextmanager
def timed(seconds: dict[str, float], name: str) -> Iterator[None]:
    """Enter the duration of the context, in seconds, under ``name``."""
    began = time.perf_counter()
    try:
        yield
    finally:
        seconds[name] = time.perf_counter() - began


@contextmanager
def recorded(experiment: Experiment) -> Iterator[dict[str, float]]:
    """Record status and cost in run.json, however a run that has begun ends, and close the loggers.

    The context's value is a mapping to which durations are added by name, for the cost.
    """
    status, error = "failed", None
    seconds: dict[str, float] = {}
    try:
        yield seconds
        status = "pruned" if experiment.pruned else "finished"
    except (KeyboardInterrupt, Interrupted) as signal:
        status = "interrupted"
        if isinstance(signal, Interrupted) and experiment.begun:
            signal.advice = f"; continue with: genmodels resume run={experiment.folder.path}"
        raise
    except BaseException as problem:
        error = f"{problem}" if isinstance(problem, UserError) else f"{type(problem).__name__}: {str(problem)[:300]}"
        raise
    finally:
        with suppress(OSError, UserError) if error else nullcontext():  # of two failures the first is told
            if experiment.begun and is_rank_zero():
                device = experiment.trainer.strategy.root_device
                cost = training_cost(experiment.model, experiment.budget.spent, seconds, device)
                chosen = experiment.callback(cb.Checkpoint)
                found = {"best": chosen.chosen_by, "validation": chosen.values, "tested": tests(experiment.config)}
                experiment.folder.update(status=status, error=error, ended=now(), cost=cost, **found)
            close_loggers(experiment, status)


def close_loggers(experiment: Experiment, status: str) -> None:
    """Let the loggers write what they still hold, and the mirrors how the run ended."""
    for logger in experiment.trainer.loggers:
        if not isinstance(logger, Mirror):
            logger.finalize("success" if status in ENDS else "failed")
        elif logger.is_open:
            logger.end(experiment.copied)
