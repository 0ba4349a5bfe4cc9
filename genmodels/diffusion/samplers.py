"""Ways from noise to data: x_T -> x_0 in any number of steps, over a subset of the times a model was trained on."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator
from contextlib import nullcontext
from typing import Any

import torch
from torch import Tensor

from genmodels.diffusion.process import DiffusionProcess, along
from genmodels.diffusion.variances import ReverseVariance
from genmodels.errors import require

Denoiser = Callable[[Tensor, Tensor], tuple[Tensor, Tensor | None]]
"""``(x_t [B, *shape], t [B]) -> (estimate of x_0, the network's outputs for the variance or None)``."""


class Sampler(ABC):
    """A Markov chain ``x_T -> ... -> x_0`` of Gaussian transitions.

    Args:
        steps: number of transitions, at most the T of the model; ``None`` takes all T.
        bf16: run the network in bfloat16, about twice as fast; what is made of its output stays in float32.

    Raises:
        UserError: for fewer than one step.
    """

    def __init__(self, steps: int | None = None, bf16: bool = False) -> None:
        require(steps is None or steps >= 1, f"a diffusion sampler needs at least one step, got sampler.steps={steps}.")
        self.steps, self.bf16 = steps, bf16

    def times(self, trained_steps: int) -> list[int]:
        """The times visited, increasing and evenly spread over ``1 .. T``, both ends included (a single one: T).

        Raises:
            UserError: if there are more steps than the model was trained on.

        >>> Ancestral(4).times(1000)
        [1, 334, 667, 1000]
        """
        steps = trained_steps if self.steps is None else self.steps
        require(steps <= trained_steps, f"sampler.steps={steps} exceeds the schedule's {trained_steps}; set it lower.")
        return [trained_steps - round((trained_steps - 1) * i / max(steps - 1, 1)) for i in range(steps)][::-1]

    def path(
        self, process: DiffusionProcess, denoise: Denoiser, variance: ReverseVariance, x: Tensor
    ) -> Iterator[Tensor]:
        """Yield the states after ``x = x_T [B, *shape]``, the last of them x_0."""
        respaced = process.respaced(self.times(process.steps))
        for step in range(respaced.steps, 0, -1):
            t = torch.full(x.shape[:1], step, device=x.device)
            with torch.autocast(x.device.type, torch.bfloat16) if self.bf16 else nullcontext():
                x0, spread = denoise(x, respaced.times[t])
            mean, std = self.transition(respaced, x, t, x0, variance.log(respaced, x, t, spread))
            if step > 1 or self.draws_last:
                mean = mean + std * torch.randn_like(mean)
            x = mean
            yield x

    draws_last = False
    """Whether the last transition is drawn from, instead of taking its mean."""

    @abstractmethod
    def transition(
        self, process: DiffusionProcess, x_t: Tensor, t: Tensor, x0: Tensor, log_variance: Tensor
    ) -> tuple[Tensor, Tensor]:
        """Mean and standard deviation of x_{t-1}, given x_t, the estimate of x_0 and the model's own log σ_t²."""

    def protocol(self, trained_steps: int) -> dict[str, Any]:
        """What a second person needs to know to sample alike: plain types."""
        precision = {"precision": "bf16"} if self.bf16 else {}
        return {"sampler": type(self).__name__.lower(), "steps": self.steps or trained_steps, **precision}


class Ancestral(Sampler):
    """Draws from ``p(x_{t-1} | x_t)`` (Ho et al. 2020, algorithm 2; with fewer steps Nichol & Dhariwal 2021, §4).

    Args:
        steps: see :class:`Sampler`. Only all T of them draw from the model whose likelihood is bounded.
        draw_last: draw x_0 from ``p(x_0 | x_1)``, as the model has it; false takes the mean, as algorithm 2 does to
            keep the last, barely visible noise out of the picture.
        bf16: see :class:`Sampler`.
    """

    def __init__(self, steps: int | None = None, draw_last: bool = True, bf16: bool = False) -> None:
        super().__init__(steps, bf16)
        self.draws_last = draw_last

    def transition(
        self, process: DiffusionProcess, x_t: Tensor, t: Tensor, x0: Tensor, log_variance: Tensor
    ) -> tuple[Tensor, Tensor]:
        """μ̃_t(x_t, x_0) and σ_t."""
        return process.posterior_mean(x0, x_t, t), torch.exp(0.5 * log_variance)

    def protocol(self, trained_steps: int) -> dict[str, Any]:
        """Adds whether the last transition was drawn."""
        return super().protocol(trained_steps) | {"draw_last": self.draws_last}


class DDIM(Sampler):
    """The non-Markovian family with the same q(x_t | x_0) (Song et al. 2021, eq. 12 and 16, arXiv:2010.02502).

    Args:
        steps: see :class:`Sampler`.
        eta: 0 is deterministic given x_T, 1 has the variance β̃_t of ancestral sampling.
        bf16: see :class:`Sampler`.

    Raises:
        UserError: for eta outside [0, 1].
    """

    def __init__(self, steps: int | None = None, eta: float = 0.0, bf16: bool = False) -> None:
        super().__init__(steps, bf16)
        require(0 <= eta <= 1, f"DDIM's eta must lie in [0, 1], got sampler.eta={eta}.")
        self.eta = eta

    def transition(
        self, process: DiffusionProcess, x_t: Tensor, t: Tensor, x0: Tensor, log_variance: Tensor
    ) -> tuple[Tensor, Tensor]:
        """Eq. 12; the model's own variance plays no part. ε is the one that agrees with the (clipped) x_0."""
        before, noise = along(process.noise, t - 1, x_t), along(process.noise, t, x_t)
        std = self.eta * (before / noise) * along(process.beta, t, x_t).sqrt()
        direction = (before.square() - std.square()).clamp(min=0).sqrt()
        mean = along(process.signal, t - 1, x_t) * x0 + direction * process.noise_in(x_t, x0, t)
        return mean, std

    def protocol(self, trained_steps: int) -> dict[str, Any]:
        """Adds eta."""
        return super().protocol(trained_steps) | {"eta": self.eta}
