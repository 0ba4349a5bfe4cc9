"""The objects that a config describes, and what surrounds a model: callbacks, and Lightning's Trainer."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from lightning import Callback, Trainer
from lightning.pytorch.callbacks import ModelCheckpoint
from lightning.pytorch.loggers import Logger
from omegaconf import DictConfig, OmegaConf

from genmodels import callbacks as cb
from genmodels.builder import build
from genmodels.data import DataModule
from genmodels.errors import require
from genmodels.loop import use_epoch_loop
from genmodels.metrics import Evaluation
from genmodels.models.base import BaseModel
from genmodels.runs import RunFolder
from genmodels.search.trial import reports_to
from genmodels.settings import plain

PLACES: dict[str, Callable[..., Any]] = {
    "data": DataModule,
    "model": BaseModel,
    "metrics": Evaluation,
    "logger": Logger,
    "scheduler": cb.LearningRate,
    "callbacks": Callback,
    "checkpoint": cb.Checkpoint,
}
"""The places of a config that describe objects, and the class of these."""

SEVERAL = ("metrics", "logger", "callbacks")  # objects by name


def described(config: DictConfig, place: str) -> dict[str, Any]:
    """What the config describes in a place, as nodes by their dotted keys."""
    node = config.get(place) or {}
    if place not in SEVERAL:
        return {place: node} if node else {}
    return {f"{place}.{name}": each for name, each in node.items() if place == "logger" or chosen(each)}


def built(config: DictConfig, place: str, **extra: Any) -> dict[str, Any]:
    """The objects that the config describes in a place, by name; ``extra`` arguments are passed unchanged.

    Raises:
        UserError: naming the key of what cannot be built.
    """
    nodes = described(config, place)
    return {key.removeprefix(f"{place}."): build(node, key, PLACES[place], **extra) for key, node in nodes.items()}


def all_callbacks(config: DictConfig, folder: RunFolder, budget: cb.Budget, title: str) -> list[Callback]:
    """The callbacks that every run has and those of the config, in the order in which they must act."""
    guard, log = cb.StopOnNaN(config.trainer.log_every_n_steps), cb.TrainingLog(budget)
    validate = cb.Validate(budget, config.validations)
    parts = {"folder": folder.checkpoints, "validate": validate, "guard": guard, "announce": folder.announce}
    trial = plain(config.get("trial")) or {}
    prune = [cb.Prune(*reports_to(trial), validate, budget)] if trial.get("storage") else []
    return [
        cb.Randomness(config.seed),
        budget,
        guard,
        log,
        validate,
        *built(config, "scheduler", budget=budget).values(),
        *built(config, "callbacks").values(),
        *built(config, "checkpoint", **parts).values(),
        *prune,
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
    trainer = build(options, "trainer", Trainer, logger=loggers, callbacks=instruments)
    use_epoch_loop(trainer)
    return trainer


def chosen(node: Any) -> bool:
    """Whether a metric or callback is enabled: neither ``null`` nor settings of a recipe without a ``_target_``."""
    return node is not None and not (OmegaConf.is_dict(node) and "_target_" not in node)
