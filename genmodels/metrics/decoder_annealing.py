"""Bidirectional annealing of a decoder for one batch of data, with step sizes tuned on a pilot run and then fixed."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from functools import partial

import torch
from torch import Tensor

from genmodels.core.randomness import stream
from genmodels.mcmc import (
    DifferentiablePath,
    Kernel,
    State,
    differentiated,
    forward,
    hmc,
    lower_bound,
    reverse,
    sigmoid_schedule,
    tune,
    upper_bound,
    with_step_sizes,
)
from genmodels.metrics.decoders import Decoder
from genmodels.metrics.processes import track

TUNING, FORWARD, REVERSE = 1, 2, 3  # streams of random numbers of one batch
FIRST_STEP_SIZE = 0.5


@dataclass(frozen=True)
class AnnealingSettings:
    """Settings of an annealing run.

    Attributes:
        temperatures: T, on a sigmoid schedule.
        chains: independent chains per example, whose weights are averaged.
        leapfrogs: leapfrog steps of the Hamiltonian trajectory at each temperature.
    """

    temperatures: int
    chains: int
    leapfrogs: int


class DecoderAnnealing:
    """HMC along the path from the prior p(z) to the posterior p(z|x) of every example of a batch.

    All chains run in parallel, as K B rows for K chains per example: chain k of example b is row ``k B + b``.

    Args:
        decoder: p(z) and p(x|z).
        x: raw data ``[B, *shape]``.
        settings: temperatures, chains and leapfrog steps.
        stream_name: integers that name the random streams of this batch (:mod:`genmodels.core.randomness`).
        device: device of the decoder.
        title: title of the progress bar.
    """

    def __init__(
        self,
        decoder: Decoder,
        x: Tensor,
        settings: AnnealingSettings,
        stream_name: tuple[int, ...],
        device: torch.device,
        title: str,
    ) -> None:
        self._draw = decoder.draw
        self._chains = settings.chains
        self._betas = sigmoid_schedule(settings.temperatures)
        self._device = device
        self._title = title
        self._stream_name = stream_name
        repeated = x.to(device).repeat(settings.chains, *[1] * (x.dim() - 1))
        self._rows = len(repeated)
        prior = differentiated(shared(decoder.log_prior))
        self._path = DifferentiablePath(lambda z: decoder.log_prob(repeated, z), prior)
        self._kernel = self._tuned(settings.leapfrogs)

    def forward(self) -> dict[str, list[float]]:
        """``lower``: B lower bounds on log p(x) in nats; ``acceptance``: the mean acceptance probability."""
        with stream(*self._stream_name, FORWARD, device=self._device):
            run = forward(self._path, self._kernel, self._prior(), self._betas, self._progress)
        return {"lower": lower_bound(self._by_chain(run.log_weight)).tolist(), "acceptance": [run.acceptance]}

    def reverse(self, z: Tensor) -> dict[str, list[float]]:
        """``upper``: B upper bounds on log p(x) in nats, for x simulated from the latents ``z [B, d]``."""
        with stream(*self._stream_name, REVERSE, device=self._device):
            posterior = self._path.state(z.repeat(self._chains, 1))
            run = reverse(self._path, self._kernel, posterior, self._betas, self._progress)
        return {"upper": upper_bound(self._by_chain(run.log_weight)).tolist()}

    def _tuned(self, leapfrogs: int) -> Kernel[State]:
        transition = partial(hmc, self._path, leapfrogs=leapfrogs)
        first = torch.full((self._rows,), FIRST_STEP_SIZE, device=self._device)
        with stream(*self._stream_name, TUNING, device=self._device):
            return with_step_sizes(transition, tune(transition, self._prior(), self._betas, first))

    def _prior(self) -> State:
        return self._path.state(self._draw(self._rows))

    def _by_chain(self, values: Tensor) -> Tensor:
        """``values [K B]`` as ``[K, B]`` on the CPU."""
        return values.view(self._chains, -1).cpu()

    def _progress(self, transitions: Sequence[int]) -> Iterable[int]:
        return track(transitions, len(transitions), self._title)


def shared(log_density: Callable[[Tensor], Tensor]) -> Callable[[Tensor], Tensor]:
    """Equal shares ``[N, d]`` of a log-density ``z [N, d] -> [N]``, whose dimensions may depend on each other."""
    return lambda z: (log_density(z) / z.shape[1])[:, None].expand_as(z)
