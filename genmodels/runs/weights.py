"""Models restored from checkpoints. Lightning is imported only where needed, so that records are read without it."""

from __future__ import annotations

import os
import zipfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from omegaconf import DictConfig
from torch import Tensor

from genmodels import hub
from genmodels.errors import UserError, require
from genmodels.files import path_named
from genmodels.runs.computing import choose
from genmodels.runs.folder import RunFolder
from genmodels.untrusted import parsed

EXPORTED = ".safetensors"
CONTENT = {"state_dict": dict, "callbacks": dict, "optimizer_states": list, "lr_schedulers": list, "loops": dict,
           "epoch": int, "global_step": int, "pytorch-lightning_version": str}  # fmt: skip
"""Entries of a checkpoint, with their types."""

if TYPE_CHECKING:
    from genmodels.models.base import BaseModel


def load_weights(model: BaseModel, checkpoint: str | Path, weights: str = "ema") -> None:
    """Load a checkpoint's weights into ``model``: the averaged ones if ``weights`` is ``ema`` and there are any.

    Raises:
        UserError: if the file is damaged, or belongs to another model or other data.
    """
    if Path(checkpoint).suffix == EXPORTED:
        return load_exported(model, Path(checkpoint), weights)
    load_state(model, read_checkpoint(checkpoint), checkpoint, weights)


def load_exported(model: BaseModel, file: Path, weights: str) -> None:
    """Load the weights of an export into ``model``.

    Raises:
        UserError: if the file is damaged, holds other weights, or belongs to another model or other data.
    """
    from safetensors import SafetensorError, safe_open

    try:
        with safe_open(file, framework="pt") as archive:
            about, tensors = archive.metadata() or {}, {name: archive.get_tensor(name) for name in archive.keys()}  # noqa: SIM118
    except (SafetensorError, OSError) as error:
        raise UserError(f"{file} cannot be read as safetensors ({error}).") from error
    held = about.get("weights", "other")
    require(weights == held, f"{file} holds {held} weights, not {weights}; write weights={held}.")
    with explained(file):
        identity = parsed(about.get("genmodels", "null"), f"the description in {file}")
        model.check_identity({"genmodels": identity})
        check_tensors(model.state_dict(), tensors, file)
        model.load_state_dict(tensors)


def load_state(model: BaseModel, state: dict[str, Any], checkpoint: str | Path, weights: str) -> None:
    """Like :func:`load_weights`, of a checkpoint whose content ``state`` was read before."""
    from genmodels.callbacks.average import averaged_weights, copy_into

    require(weights in ("ema", "raw"), f"weights must be ema or raw, got {weights}.")
    with explained(checkpoint):
        model.check_identity(state)
        check_tensors(model.state_dict(), state["state_dict"], checkpoint)
        model.load_state_dict(state["state_dict"])
        average = averaged_weights(state)
        if weights == "ema" and average:
            check_tensors(dict(model.named_parameters()), average, checkpoint)
            copy_into(model, average)


def check_tensors(own: Mapping[str, Tensor], found: Mapping[str, Any], checkpoint: str | Path) -> None:
    """Check that ``found`` has the tensors ``own`` of a model, by name, shape and kind of number, and that none is NaN.

    Raises:
        UserError: naming the first that differs.
    """
    where = f"{checkpoint} holds weights of other sizes than the config's model"
    differing = sorted(map(str, set(own) ^ set(found)))
    require(not differing, f"{where} (only one of them has {', '.join(differing[:3])}).")
    for name, mine in own.items():
        theirs = found[name]
        require(isinstance(theirs, Tensor), f"{checkpoint} is damaged: its {name} is no tensor.")
        shapes = f"{name} is {list(theirs.shape)}, and {list(mine.shape)} in the model"
        require(theirs.shape == mine.shape, f"{where} ({shapes}).")
        same = theirs.is_floating_point() == mine.is_floating_point() and not theirs.is_complex()
        require(same, f"{checkpoint} is damaged: its {name} has numbers of type {theirs.dtype}.")
        require(not bool(theirs.isnan().any()), f"{checkpoint} is damaged: its {name} contains NaN.")


def check_continues(model: BaseModel, checkpoint: Path) -> dict[str, Any]:
    """Check that training can continue from a checkpoint: it is of this model, and of optimizers like the model's.

    Returns:
        The content of the checkpoint.

    Raises:
        UserError: naming what does not fit.
    """
    from genmodels.models.base import make_optimizers

    state = read_checkpoint(checkpoint)
    load_state(model, state, checkpoint, "raw")
    optimizers = make_optimizers(model)
    with explained(checkpoint):
        model.on_load_checkpoint(state)
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
            check_state(optimizer, checkpoint)
    return state


def check_state(optimizer: torch.optim.Optimizer, checkpoint: Path) -> None:
    """Check that every tensor in an optimizer's state is a scalar or has the shape of its parameter, and is not NaN.

    Raises:
        UserError: if one does not.
    """
    for parameter, state in optimizer.state.items():
        for name, value in state.items():
            if isinstance(value, Tensor):
                fits = value.shape in (parameter.shape, ()) and not bool(value.isnan().any())
                require(fits, f"{checkpoint} is damaged: {name} of an optimizer does not fit its parameter.")


@contextmanager
def explained(checkpoint: str | Path) -> Iterator[None]:
    """Explain what is wrong with the content of a checkpoint.

    Raises:
        UserError: in place of the error that it causes.
    """
    try:
        yield
    except KeyError as error:
        raise UserError(f"{checkpoint} is no checkpoint of genmodels: it lacks {error}.") from error
    except (RuntimeError, TypeError, ValueError, AttributeError, IndexError) as error:
        reason = " ".join(str(error).split())[:160]
        raise UserError(f"{checkpoint} is no checkpoint of genmodels ({reason}).") from error


def read_checkpoint(checkpoint: str | Path) -> dict[str, Any]:
    """Content of a checkpoint, read without executing any code in it.

    Raises:
        UserError: if it is missing, damaged, or holds more than tensors and plain types.
    """
    try:
        check_parts(checkpoint)
        content = torch.load(checkpoint, map_location="cpu", weights_only=True)
    except UserError:
        raise
    except Exception as error:
        reason = " ".join(str(error).split())[:160]
        raise UserError(f"{checkpoint} is not a checkpoint that can be read ({reason}).") from error
    require(isinstance(content, dict), f"{checkpoint} is no checkpoint of genmodels: it is no mapping.")
    for name, kind in CONTENT.items():
        require(name in content, f"{checkpoint} is no checkpoint of genmodels: it lacks '{name}'.")
        require(isinstance(content[name], kind), f"{checkpoint} is damaged: its '{name}' is no {kind.__name__}.")
    return dict(content)


def check_parts(checkpoint: str | Path) -> None:
    """Check that no part of a checkpoint is compressed, by which a small file becomes a huge one, or damaged.

    Torch does not compare the check sums of the parts.

    Raises:
        UserError: naming the part.
    """
    size = Path(checkpoint).stat().st_size
    with zipfile.ZipFile(checkpoint) as archive:
        held = sum(part.file_size for part in archive.infolist())
        require(held <= size, f"{checkpoint} is damaged: its parts are larger than itself.")
        damaged = archive.testzip()
    require(damaged is None, f"{checkpoint} is damaged: its part {damaged} has another check sum.")


def load(run: str | os.PathLike[str], weights: str = "ema", checkpoint: str | None = None) -> BaseModel:
    """The trained model of a run folder, in eval mode on the CPU.

    Args:
        run: run folder, or an export, also ``hf://USER/NAME`` or ``hf://USER/NAME@REVISION`` on the Hugging Face Hub.
        weights: ``ema`` (averaged) or ``raw``.
        checkpoint: ``best.ckpt`` or ``last.ckpt``; by default the best if there is one.

    Raises:
        UserError: if the folder or its checkpoint is missing or damaged, or cannot be downloaded.
    """
    path, name = path_named(run, "run"), os.fspath(run)
    folder = RunFolder.open(hub.snapshot(name.removeprefix(hub.PREFIX)) if name.startswith(hub.PREFIX) else path)
    return restore(folder, folder.config, weights, checkpoint)


def restore(run: RunFolder, config: DictConfig, weights: str, checkpoint: str | None = None) -> BaseModel:
    """Like :func:`load`, with ``config`` in place of the run's config."""
    from genmodels.builder import build
    from genmodels.models.base import BaseModel

    model = build(config.model, "model", BaseModel)
    path = run.checkpoint(checkpoint)
    run.verified(path)
    load_weights(model, path, weights)
    computing = choose(config, model, torch.device("cpu"), run.read())
    set_memory_format(model, computing.channels_last)
    return model.eval()


def set_memory_format(model: BaseModel, channels_last: bool) -> None:
    """Lay the model's memory out as its run has it: another layout rounds differently on some processors."""
    if channels_last:
        model.to(memory_format=torch.channels_last)
