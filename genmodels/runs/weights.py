"""Models restored from checkpoints. Lightning is imported only where needed, so that records are read without it."""

from __future__ import annotations

import zipfile
from collections.abc import Iterator
from contextlib import contextmanager
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
    with explained(checkpoint):
        model.check_identity(state)
        model.load_state_dict(state["state_dict"])
        average = averaged_weights(state)
        if weights == "ema" and average:
            copy_into(model, average)


def check_continues(model: BaseModel, checkpoint: Path) -> dict[str, Any]:
    """Check that training can continue from a checkpoint: it is of this model, and of optimizers like the model's.

    Returns:
        The content of the checkpoint.

    Raises:
        UserError: naming what does not fit.
    """
    from genmodels.models.base import make_optimizers

    load_weights(model, checkpoint, "raw")
    state = read_checkpoint(checkpoint)
    optimizers = make_optimizers(model)
    with explained(checkpoint):
        require(
            len(optimizers) == len(state["optimizer_states"]),
            f"{checkpoint} is of {len(state['optimizer_states'])} optimizers, the model has {len(optimizers)}.",
        )
        for optimizer, saved in zip(optimizers, state["optimizer_states"], strict=True):
            for own, theirs in zip(optimizer.param_groups, saved["param_groups"], strict=True):
                differing = ", ".join(sorted(set(own) ^ set(theirs) - {"initial_lr"}))
                require(
                    not differing,
                    f"{checkpoint} is of another optimizer than {type(optimizer).__name__}, which has not the same "
                    f"{differing}; continue with the run's own model.optimizer, or train a new run.",
                )
            optimizer.load_state_dict(saved)
    return state


@contextmanager
def explained(checkpoint: str | Path) -> Iterator[None]:
    """Explain what is wrong with the content of a checkpoint.

    Raises:
        UserError: in place of the error that it causes.
    """
    try:
        yield
    except RuntimeError as error:
        sizes = " ".join(str(error).split())[:200]
        raise UserError(f"{checkpoint} holds weights of other sizes than the config's model ({sizes}).") from error
    except (KeyError, TypeError, ValueError, AttributeError, IndexError) as error:
        reason = f"{type(error).__name__}: {' '.join(str(error).split())[:160]}"
        raise UserError(f"{checkpoint} does not have the content of a checkpoint of genmodels ({reason}).") from error


def read_checkpoint(checkpoint: str | Path) -> dict[str, Any]:
    """Content of a checkpoint, read without executing any code in it.

    Raises:
        UserError: if it is missing, damaged, or holds more than tensors and plain types.
    """
    try:
        with zipfile.ZipFile(checkpoint) as archive:  # torch does not compare the check sums of the parts
            damaged = archive.testzip()
        require(damaged is None, f"{checkpoint} is damaged: its part {damaged} has another check sum.")
        return dict(torch.load(checkpoint, map_location="cpu", weights_only=True))
    except UserError:
        raise
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
    from genmodels.models.base import BaseModel

    model = build(config.model, "model", BaseModel)
    path = run.checkpoint(checkpoint)
    run.verified(path)
    load_weights(model, path, weights)
    set_memory_format(model, config)
    return model.eval()


def set_memory_format(model: BaseModel, config: DictConfig) -> None:
    """Lay the model's memory out as its run has it: another layout rounds differently on some processors."""
    if config.channels_last:
        model.to(memory_format=torch.channels_last)
