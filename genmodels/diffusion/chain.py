"""The forward chain q and the reverse chain p of a diffusion model: trajectories, and their ratio of probabilities."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from typing import Any, NamedTuple

import torch
from torch import Tensor

from genmodels.diffusion.laws import Law, Normal, per_example
from genmodels.diffusion.process import DiffusionProcess, extract


class DiffusionChain(NamedTuple):
    """The laws of q and p with T steps, at states ``[B, *shape]`` of which x_0 is data on the scale of the chain.

    Attributes:
        steps: T.
        equilibrium: ``x -> p(x_T)``, of which x has the shape.
        step: ``(x_{t-1}, t) -> q(x_t | x_{t-1})``.
        forward: ``x_0 -> q(x_T | x_0)``.
        posterior: ``(x_0, x_t, t) -> q(x_{t-1} | x_t, x_0)`` for t >= 2.
        reverse: ``(x_t, t) -> p(x_{t-1} | x_t)`` for t >= 1.
    """

    steps: int
    equilibrium: Callable[[Tensor], Law[Any]]
    step: Callable[[Tensor, int], Law[Any]]
    forward: Callable[[Tensor], Law[Any]]
    posterior: Callable[[Tensor, Tensor, int], Law[Any]]
    reverse: Callable[[Tensor, int], Law[Any]]

    def forward_path(self, x0: Tensor) -> Iterator[Tensor]:
        """A draw x_1, ..., x_T ``[B, *shape]`` of q, given x_0."""
        x = x0
        for t in range(1, self.steps + 1):
            x = self.step(x, t).sample()
            yield x

    def log_weight(self, x0: Tensor, trajectory: Iterable[Tensor]) -> Tensor:
        """``log p(x_{0:T}) - log q(x_{1:T} | x_0) [B]`` in nats, of x_0 and a ``trajectory`` x_1, ..., x_T."""
        x, log_w = x0, x0.new_zeros(len(x0))
        for t, x_t in enumerate(trajectory, start=1):
            log_w = log_w + per_example(self.reverse(x_t, t).log_prob(x) - self.step(x, t).log_prob(x_t))
            x = x_t
        return log_w + per_example(self.equilibrium(x).log_prob(x))


def gaussian_chain(process: DiffusionProcess, reverse: Callable[[Tensor, int], Normal]) -> DiffusionChain:
    """The chain whose q is the ``process``, and whose p the law ``reverse`` of x_{t-1} given x_t and t."""

    def at(x: Tensor, t: int) -> Tensor:
        return torch.full((len(x),), t, device=x.device)

    def step(x: Tensor, t: int) -> Normal:
        return Normal(process.forward_mean(x, at(x, t)), extract(process.log_beta, at(x, t), x))

    def forward(x0: Tensor) -> Normal:
        last = process.at(at(x0, process.steps), x0)
        return Normal(last.sqrt_alpha_bar * x0, 2 * last.sigma.log())

    def posterior(x0: Tensor, x_t: Tensor, t: int) -> Normal:
        return Normal(*process.posterior(x0, x_t, at(x_t, t)))

    def equilibrium(x: Tensor) -> Normal:
        return Normal(torch.zeros_like(x), x.new_zeros(()))

    return DiffusionChain(process.steps, equilibrium, step, forward, posterior, reverse)


def evenly_spaced(path: Iterable[Tensor], frames: int) -> list[Tensor]:
    """States of a path, ``frames`` of them, from the first to the last."""
    states = list(path)
    return [states[i] for i in torch.linspace(0, len(states) - 1, frames).round().long().tolist()]
