"""The training step of all models, which Lightning's hook, the conformance suite and the benchmarks call."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn
from torch.optim import Optimizer
from torch.optim.lr_scheduler import LRScheduler

from genmodels.core import Loss

if TYPE_CHECKING:
    from genmodels.models.base.model import BaseModel

FUSED_ON = ("cpu", "cuda")  # devices on which PyTorch's optimizers have a kernel for all parameters together
OptimizerFactory = Callable[[Iterable[nn.Parameter]], Optimizer]
SchedulerFactory = Callable[[Optimizer], LRScheduler]


@dataclass(frozen=True)
class Player:
    """Parameters that are trained together: all of a model's, or one side of a game.

    Attributes:
        network: the module whose parameters are trained.
        optimizer: ``parameters -> Optimizer``.
        loss: ``x [B, *shape] -> Loss`` of raw data.
        every: the player is trained on one batch out of this many.
    """

    network: nn.Module
    optimizer: OptimizerFactory
    loss: Callable[[Tensor], Loss]
    every: int = 1


def make_optimizers(model: BaseModel) -> list[Optimizer]:
    """One optimizer per player of ``model``; each clips the global norm of its gradients right before its step.

    An optimizer whose option ``fused`` is left open (``None``) updates all parameters in one kernel where there is one,
    see :func:`fuse`. The norm before clipping is left in ``model.gradient_norms``, one scalar per player, on the
    device.
    """
    return [_with_clipping(model, index, player) for index, player in enumerate(model.players())]


def adopt_settings(optimizer: Optimizer, configured: Optimizer) -> None:
    """Give an optimizer whose state was restored the settings of a newly ``configured`` one, such as its learning rate.

    Restoring the state restores the settings that the optimizer was saved with, whatever the config says now. The
    learning rate may since have been changed by a schedule; it is multiplied by the change of the initial one.
    """
    for group, wanted in zip(optimizer.param_groups, configured.param_groups, strict=True):
        initial = group.get("initial_lr", group["lr"])
        settings = {key: value for key, value in wanted.items() if key not in ("params", "lr", "initial_lr")}
        group.update(settings)
        if wanted["lr"] != initial:
            group["lr"] = group["lr"] * wanted["lr"] / initial
            group["initial_lr"] = wanted["lr"]
        if group.get("fused"):  # its kernel counts steps on the device, that of an older checkpoint on the CPU
            for parameter in group["params"]:
                state = optimizer.state.get(parameter, {})
                if "step" in state:
                    state["step"] = state["step"].to(parameter.device)


def _with_clipping(model: BaseModel, index: int, player: Player) -> Optimizer:
    parameters = [p for p in player.network.parameters() if p.requires_grad]
    optimizer = player.optimizer(parameters)
    fuse(optimizer)

    def clip(*_: Any) -> None:  # a hook, so that it sees gradients after a mixed-precision scaler has unscaled them
        unscale(optimizer, parameters)
        if model.clip_norm is not None:
            model.gradient_norms[index] = clip_norm(parameters, model.clip_norm)
        elif model.watches_gradients:
            gradients = [p.grad for p in parameters if p.grad is not None]
            model.gradient_norms[index] = nn.utils.get_total_norm(gradients)

    optimizer.register_step_pre_hook(clip)
    return optimizer


def fuse(optimizer: Optimizer) -> None:
    """Let ``optimizer`` update all parameters in one kernel if its option ``fused`` is ``None`` and the device has one.

    On a CPU PyTorch would otherwise update one tensor after the other. One kernel is 1.3 to 8 times faster for Adam,
    from a single scalar to tens of millions of parameters.
    """
    for group in optimizer.param_groups:
        is_open = "fused" in group and group["fused"] is None and not group["foreach"] and not group["differentiable"]
        if is_open and all(p.is_floating_point() and p.device.type in FUSED_ON for p in group["params"]):
            group["fused"] = True


def clip_norm(parameters: Sequence[nn.Parameter], largest: float) -> Tensor:
    """Clip the global norm of the gradients of ``parameters`` to ``largest``; returns the norm before, a scalar.

    ``torch.nn.utils.clip_grad_norm_`` multiplies also by a factor of one, in order not to wait for an accelerator.
    """
    gradients = [p.grad for p in parameters if p.grad is not None]
    norm = nn.utils.get_total_norm(gradients)
    if norm.device.type != "cpu" or not norm <= largest:
        nn.utils.clip_grads_with_norm_(parameters, largest, norm)
    return norm


def unscale(optimizer: Optimizer, parameters: Iterable[nn.Parameter]) -> None:
    """Divide gradients by the scale that a mixed-precision scaler leaves to a fused ``optimizer``, if it does.

    For an optimizer whose kernel can unscale, ``torch.amp.GradScaler.step`` only sets ``optimizer.grad_scale`` (and
    ``found_inf``, by which the kernel skips a step). Norms are those of unscaled gradients.
    """
    scale = getattr(optimizer, "grad_scale", None)
    if scale is not None:
        torch._foreach_mul_([p.grad for p in parameters if p.grad is not None], 1 / scale)
        optimizer.grad_scale = None  # type: ignore[attr-defined]


def train_batch(
    model: BaseModel,
    x: Tensor,
    optimizers: Sequence[Any],
    schedulers: Sequence[Any] = (),
    number: int = 1,
    accumulate: int = 1,
    backward: Callable[[Tensor], None] = torch.Tensor.backward,
) -> list[Loss]:
    """Train on one batch: each player in turn follows the gradient of its loss, the others' parameters held fixed.

    Args:
        model: the model whose players are trained.
        x: raw data ``[B, *shape]``.
        optimizers: one per player, see :func:`make_optimizers`.
        schedulers: learning-rate schedules, one per player or none; stepped after each step of the optimizer.
        number: number of the batch, from 1.
        accumulate: number of batches whose gradients are averaged for one step of an optimizer.
        backward: computes gradients; Lightning scales and synchronizes them.

    Returns:
        The loss of every player that was trained on this batch.
    """
    losses = []
    for index, (player, optimizer) in enumerate(zip(model.players(), optimizers, strict=True)):
        if number % player.every:
            continue
        with training_only(player.network, model):
            loss = player.loss(x)
            backward(loss.total / accumulate)
        if number % (accumulate * player.every) == 0:
            optimizer.step()
            optimizer.zero_grad()
            for scheduler in schedulers[index : index + 1]:
                scheduler.step()
        losses.append(loss)
    return losses


@contextmanager
def training_only(network: nn.Module, model: nn.Module) -> Iterator[None]:
    """Context in which, among the parameters of ``model``, only those of ``network`` require gradients."""
    others = [] if network is model else others_than(network, model)
    for parameter in others:
        parameter.requires_grad_(False)
    try:
        yield
    finally:
        for parameter in others:
            parameter.requires_grad_(True)


def others_than(network: nn.Module, model: nn.Module) -> list[nn.Parameter]:
    """Trainable parameters of ``model`` that are not of ``network``."""
    own = {id(p) for p in network.parameters()}
    return [p for p in model.parameters() if p.requires_grad and id(p) not in own]
