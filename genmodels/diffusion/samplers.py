"""Samplers, which lead from noise x_T to data x_0 over all the times a model was trained on, or a subset of them."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator
from typing import Any

import torch
from torch import Tensor
from typing_extensions import override

from genmodels.diffusion.process import DiffusionProcess, extract
from genmodels.diffusion.variances import ReverseVariance
from genmodels.errors import ensure, ensure_counts, ensure_numbers

Denoiser = Callable[[Tensor, Tensor], tuple[Tensor, Tensor | None]]
"""``(x_t [B, *shape], t [B]) -> (estimate of x_0 [B, *shape], v of the learned variance or None)``."""


class Sampler(ABC):
    """A Markov chain ``x_T -> ... -> x_0`` of Gaussian transitions.

    Args:
        steps: number of transitions, at most the T of the model; ``None`` takes all T.

    Raises:
        ValueError: if steps is less than 1.
    """

    def __init__(self, steps: int | None = None) -> None:
        ensure_counts(optional=True, steps=steps)
        self.steps = steps

    def times(self, trained_steps: int) -> list[int]:
        """The times visited, increasing and evenly spread over ``1 .. T``; both ends are included, a single one is T.

        Raises:
            ValueError: if the sampler has more steps than the model was trained on.

        >>> Ancestral(4).times(1000)
        [1, 334, 667, 1000]
        """
        steps = trained_steps if self.steps is None else self.steps
        ensure(steps <= trained_steps, f"steps={steps} exceeds the {trained_steps} steps of the model's schedule.")
        return [trained_steps - round((trained_steps - 1) * i / max(steps - 1, 1)) for i in range(steps)][::-1]

    def path(
        self, process: DiffusionProcess, denoiser: Denoiser, variance: ReverseVariance, x: Tensor
    ) -> Iterator[Tensor]:
        """Yield the states ``[B, *shape]`` that follow ``x = x_T [B, *shape]``, the last of them x_0."""
        respaced = process.respaced(self.times(process.steps))
        before = None
        for step in range(respaced.steps, 0, -1):
            t = torch.full(x.shape[:1], step, device=x.device)
            x0, v = denoiser(x, respaced.times[t])
            ahead = self.extrapolate(respaced, step, x0, before)
            mean, std = self.transition(respaced, x, t, ahead, variance.log(respaced, x, t, v))
            before = x0
            if step > 1 or self.draws_last:
                mean = mean + std * torch.randn_like(mean)
            x = mean
            yield x

    def extrapolate(self, process: DiffusionProcess, step: int, x0: Tensor, before: Tensor | None) -> Tensor:
        """The estimate of x_0 for the transition from ``step``, from that at its beginning, and at that of the last."""
        return x0

    draws_last = False
    """Whether x_0 is drawn from the last transition; otherwise it is that transition's mean."""

    @abstractmethod
    def transition(
        self, process: DiffusionProcess, x_t: Tensor, t: Tensor, x0: Tensor, log_variance: Tensor
    ) -> tuple[Tensor, Tensor]:
        """Mean and standard deviation of x_{t-1} given x_t, the estimate of x_0 and the model's log σ_t².

        The tensors are ``[B, *shape]``, or ``[B, 1, ...]`` where all dimensions share a value; t is ``[B]``.
        """

    def protocol(self, trained_steps: int) -> dict[str, Any]:
        """The settings that someone else needs in order to sample in the same way, as plain types."""
        return {"sampler": type(self).__name__.lower(), "steps": self.steps or trained_steps}


class Ancestral(Sampler):
    """Draws from ``p(x_{t-1} | x_t)`` (Ho et al. 2020, algorithm 2; with fewer steps Nichol & Dhariwal 2021, §4).

    Args:
        steps: see :class:`Sampler`. Only all T of them draw from the model whose likelihood is bounded.
        draw_last: draw x_0 from ``p(x_0 | x_1)``, as the model defines it; false takes the mean, as algorithm 2 does
            to remove the last, barely visible noise.
    """

    def __init__(self, steps: int | None = None, draw_last: bool = True) -> None:
        super().__init__(steps)
        self.draws_last = draw_last

    @override
    def transition(
        self, process: DiffusionProcess, x_t: Tensor, t: Tensor, x0: Tensor, log_variance: Tensor
    ) -> tuple[Tensor, Tensor]:
        return process.posterior_mean(x0, x_t, t), torch.exp(0.5 * log_variance)

    @override
    def protocol(self, trained_steps: int) -> dict[str, Any]:
        return super().protocol(trained_steps) | {"draw_last": self.draws_last}


class DDIM(Sampler):
    """The non-Markovian family with the same q(x_t | x_0) (Song et al. 2021, eq. 12 and 16, arXiv:2010.02502).

    Args:
        steps: see :class:`Sampler`.
        eta: 0 is deterministic given x_T, 1 has the variance β̃_t of ancestral sampling.

    Raises:
        ValueError: if eta is outside [0, 1].
    """

    def __init__(self, steps: int | None = None, eta: float = 0.0) -> None:
        super().__init__(steps)
        ensure_numbers(at_least=0, at_most=1, eta=eta)
        self.eta = eta

    def transition(
        self, process: DiffusionProcess, x_t: Tensor, t: Tensor, x0: Tensor, log_variance: Tensor
    ) -> tuple[Tensor, Tensor]:
        """Eq. 12, without the model's own variance; ε is the one that x_t and the (clipped) x_0 imply."""
        before, sigma = extract(process.sigma, t - 1, x_t), extract(process.sigma, t, x_t)
        std = self.eta * (before / sigma) * extract(process.beta, t, x_t).sqrt()
        direction = (before.square() - std.square()).clamp(min=0).sqrt()
        mean = extract(process.sqrt_alpha_bar, t - 1, x_t) * x0 + direction * process.implied_eps(x_t, x0, t)
        return mean, std

    @override
    def protocol(self, trained_steps: int) -> dict[str, Any]:
        return super().protocol(trained_steps) | {"eta": self.eta}


class DPMSolver(DDIM):
    """DPM-Solver++(2M), a multistep method of second order (Lu et al. 2022, algorithm 2, arXiv:2211.01095).

    DDIM solves the probability-flow ODE as if the estimate of x_0 did not change within a step. Here it goes on
    changing as it did in the step before, in the variable λ, half of the log signal-to-noise ratio, and the step takes
    its value in the middle. It costs one pass a step, as DDIM does. The first step is DDIM's, and so is the last, which
    ends in x_0 itself, at an infinite λ.

    Args:
        steps: see :class:`Sampler`.
        eta: as of :class:`DDIM`; with 1 it is SDE-DPM-Solver++(2M), for the diffusion's reverse SDE.

    Raises:
        ValueError: if eta is outside [0, 1].
    """

    @override
    def extrapolate(self, process: DiffusionProcess, step: int, x0: Tensor, before: Tensor | None) -> Tensor:
        if before is None or step == 1:
            return x0
        last, here, there = ((process.sqrt_alpha_bar[s] / process.sigma[s]).log() for s in (step + 1, step, step - 1))
        return x0 + 0.5 * (there - here) / (here - last) * (x0 - before)
