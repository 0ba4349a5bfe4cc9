"""Models restored from checkpoints. Lightning is imported only where needed, so that records are read without it."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from omegaconf import DictConfig

from genmodels.errors import UserError, require
from genmodels.runs.folder import RunFolder

if TYPE_CHECKING:
    from genmodels.models.base import BaseModel


def load_weights(model: BaseModel, checkpoint: str | Path, weights: str = "ema") -> None:
    """Load a checkpoint's weights into ``model``: the averaged ones if ``weights`` is ``ema`` and there are any.

    Raises:
        UserError: if the file is damaged, or belongs to another model or other data.
    """
    from genmodels.callbacks.average import averaged_weights, copy_into

    require(weights in ("ema", "raw"), f"weights must be ema or raw, got {weights}.")
    state = read_checkpoint(checkpoint)
    model.check_identity(state)
    try:
        model.load_state_dict(state["state_dict"])
    except RuntimeError as error:
        sizes = " ".join(str(error).split())[:200]
        raise UserError(f"{checkpoint} holds weights of other sizes than the config's model ({sizes}).") from error
    average = averaged_weights(state)
    if weights == "ema" and average:
        copy_into(model, average)


def read_checkpoint(checkpoint: str | Path) -> dict[str, Any]:
    """Content of a checkpoint, read without executing any code in it.

    Raises:
        UserError: if it is missing, damaged, or holds more than tensors and plain types.
    """
    try:
        return dict(torch.load(checkpoint, map_location="cpu", weights_only=True))
    except Exception as error:
        reason = " ".join(str(error).split())[:160]
        raise UserError(f"{checkpoint} is not a checkpoint that can be read ({reason}).") from error


def load(run: str | Path, weights: str = "ema", checkpoint: str | None = None) -> BaseModel:
    """The trained model of a run folder, in eval mode on the CPU.

    Args:
        run: run folder.
        weights: ``ema`` (averaged) or ``raw``.
        checkpoint: ``best.ckpt`` or ``last.ckpt``; by default the best if there is one.

    Raises:
        UserError: if the folder or its checkpoint is missing or damaged.
    """
    folder = RunFolder.open(run)
    return restore(folder, folder.config, weights, checkpoint)


def restore(run: RunFolder, config: DictConfig, weights: str, checkpoint: str | None = None) -> BaseModel:
    """Like :func:`load`, with ``config`` in place of the run's config."""
    from genmodels.builder import build

    model: BaseModel = build(config.model, "model")
    load_weights(model, run.checkpoint(checkpoint), weights)
    set_memory_format(model, config)
    return model.eval()


def set_memory_format(model: BaseModel, config: DictConfig) -> None:
    """Lay the model's memory out as its run has it: another layout rounds differently on some processors."""
    if config.channels_last:
        model.to(memory_format=torch.channels_last)
