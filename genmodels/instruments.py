"""What surrounds a model while it is trained and scored: callbacks, and Lightning's Trainer."""

from __future__ import annotations

from typing import Any

import torch
from lightning import Callback, Trainer
from lightning.pytorch.callbacks import ModelCheckpoint
from omegaconf import DictConfig, OmegaConf

from genmodels import callbacks as cb
from genmodels.builder import build
from genmodels.errors import require
from genmodels.loop import use_epoch_loop
from genmodels.models.base import BaseModel
from genmodels.runs import RunFolder
from genmodels.search.trial import reports_to
from genmodels.settings import plain


def all_callbacks(config: DictConfig, folder: RunFolder, budget: cb.Budget, title: str) -> list[Callback]:
    """The callbacks that every run has and those of the config, in the order in which they must act."""
    guard, log = cb.StopOnNaN(config.trainer.log_every_n_steps), cb.TrainingLog(budget)
    validate = cb.Validate(budget, config.validations)
    extra = {name: node for name, node in (config.get("callbacks") or {}).items() if chosen(node)}
    parts = {"folder": folder.checkpoints, "validate": validate, "guard": guard, "announce": folder.announce}
    trial = plain(config.get("trial")) or {}
    prune = [cb.Prune(*reports_to(trial), validate, budget)] if trial.get("storage") else []
    schedule = [build(config.scheduler, "scheduler", cb.LearningRate, budget=budget)] if config.get("scheduler") else []
    return [
        cb.Randomness(config.seed),
        budget,
        guard,
        log,
        validate,
        *schedule,
        *(build(node, f"callbacks.{name}", Callback) for name, node in extra.items()),
        build(config.checkpoint, "checkpoint", cb.Checkpoint, **parts),
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
    """Whether a metric is enabled: neither ``null`` nor only settings of a recipe, without a ``_target_``."""
    return node is not None and not (OmegaConf.is_dict(node) and "_target_" not in node)
