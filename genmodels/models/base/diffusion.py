"""The base class of diffusion models, whose latent variables are what lies between data and noise."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Iterable, Iterator

import torch
from torch import Tensor, nn

from genmodels.core import Kind, Likelihood, log_mean_exp
from genmodels.core.abilities import Completes, Denoises, HasImportanceWeights, HasStepwiseBound, Samples
from genmodels.core.candidates import chosen
from genmodels.core.stepwise import repeated
from genmodels.diffusion.chain import DiffusionChain, evenly_spaced
from genmodels.diffusion.guidance import guided
from genmodels.errors import ensure_counts
from genmodels.models.base.model import GenerativeModel


class DiffusionModel(GenerativeModel, Samples, HasStepwiseBound, HasImportanceWeights, Denoises, Completes):
    """A chain q of T steps that turns data x_0 into noise x_T, and a learned chain p that leads back.

    The log-likelihood is an average over trajectories of q (Sohl-Dickstein et al. 2015, eq. 9, arXiv:1503.03585),

        p(x_0) = E_q(x_{1:T} | x_0)[ p(x_{0:T}) / q(x_{1:T} | x_0) ],

    whose bound by Jensen's inequality is a sum over steps: :meth:`stepwise_likelihood`.
    """

    network: nn.Module
    family = "diffusion"
    draws = "trajectories"

    def compiled_networks(self) -> Iterable[nn.Module]:
        """The network; the rest are tables and laws in closed form."""
        return (self.network,)

    @abstractmethod
    def embed(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """x_0 ``[B, *shape]`` of raw data ``x [B, *shape]``, and ``log p(x) - log p(x_0) [B]`` in nats."""

    @abstractmethod
    def unembed(self, x0: Tensor) -> Tensor:
        """Raw data ``[B, *shape]`` of ``x0 [B, *shape]``."""

    @abstractmethod
    def chain(self) -> DiffusionChain:
        """The laws of q and p, step by step."""

    @abstractmethod
    def path(self, n: int) -> Iterator[Tensor]:
        """States ``[n, *shape]`` on the way from noise x_T to data x_0, as samples are drawn."""

    @torch.no_grad()
    def log_likelihood(self, x: Tensor, samples: int = 1) -> Likelihood:
        """A lower bound on ``log p(x) [B]`` in nats: that of :meth:`stepwise_likelihood`, or of K > 1 ``samples``.

        The latter is ``log (1/K) sum_k w_k`` over K whole trajectories (Burda et al. 2016, eq. 8, arXiv:1509.00519). It
        tightens with K but starts from a noisier estimate, since the other has most of its expectations in closed form.

        Raises:
            ValueError: if samples is less than 1.
        """
        ensure_counts(samples=samples)
        if samples == 1:
            return self.stepwise_likelihood(x)
        return Likelihood(log_mean_exp(self.log_weights(x, samples)), Kind.LOWER_BOUND)

    @torch.no_grad()
    def log_weights(self, x: Tensor, samples: int) -> Tensor:
        """``log p(x_{0:T}) - log q(x_{1:T} | x_0) [K, B]`` in nats, on K trajectories of q, of raw data ``x``."""
        chain, embedded = self.chain(), (self.embed(rows) for rows in repeated(x, samples))
        parts = [chain.log_weight(x0, chain.forward_path(x0)) + log_volume for x0, log_volume in embedded]
        return torch.cat(parts).view(samples, -1)

    @torch.no_grad()
    def sample(self, n: int) -> Tensor:
        """``n`` examples ``[n, *shape]`` in data space."""
        *_, x0 = self.path(n)
        return self.unembed(x0)

    @torch.no_grad()
    def denoising_strip(self, n: int, frames: int) -> Tensor:
        """``[frames, n, *shape]`` in data space: states from pure noise to data, evenly spaced on the way."""
        return torch.stack([self.unembed(x) for x in evenly_spaced(self.path(n), frames)])

    @torch.no_grad()
    def complete(self, x: Tensor, known: Tensor, candidates: int = 8) -> Tensor:
        """Raw data ``[N, *shape]``: known values as they are, the others drawn by all T steps, see :func:`guided`."""
        ensure_counts(candidates=candidates)
        rows, mask = (part.repeat_interleave(candidates, 0) for part in (x, known))
        with self.labels.in_a_row(candidates):
            x0, log_w = guided(self.chain(), self.embed(rows)[0], mask)
        return torch.where(known, x, self.unembed(x0[chosen(log_w, candidates)]))
