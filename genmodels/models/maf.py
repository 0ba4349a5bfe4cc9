"""MAF: masked autoregressive flow for density estimation.

Papamakarios, Pavlakou & Murray 2017, https://arxiv.org/abs/1705.07057. By the chain rule a density is a product of
conditionals, here Gaussian ones, ``p(x_i | x_1 .. x_{i-1}) = N(x_i; μ_i, exp(α_i)²)`` with functions μ_i and α_i of
``x_1 .. x_{i-1}`` (eq. 2). Data are thus made from noise u by ``x_i = u_i exp(α_i) + μ_i`` (eq. 3), and the noise is
found from data by ``u_i = (x_i - μ_i) exp(-α_i)`` (eq. 4), with ``log |det du/dx| = -sum_i α_i`` (eq. 5). A MADE
computes all μ_i and α_i in one pass. K such layers are stacked, each a density of the noise of the one before.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from functools import partial
from typing import Literal

import torch
from torch import Tensor, nn
from typing_extensions import override

from genmodels.core import DataSpec
from genmodels.core.abilities import Program
from genmodels.errors import ensure, ensure_counts
from genmodels.models.base import BaseDistribution, NormalizingFlow, OptimizerFactory, SchedulerFactory, to_reals
from genmodels.networks.made import MADEFactory
from genmodels.transforms import ActNorm, Autoregressive, Chain, Flatten, Reverse, Shuffle


class MixtureMADE(BaseDistribution, nn.Module):
    """Conditional mixtures of C Gaussians, ``p(u) = prod_i sum_c π_ic N(u_i; μ_ic, exp(α_ic)²)``: MADE MoG (§4.1).

    A MADE computes ``π_ic``, ``μ_ic`` and ``α_ic`` from ``u_1 .. u_{i-1}``. At first every mixture has mean 0 and
    variance 1, with its Gaussians side by side, since equal ones would stay equal. ``α = 8 tanh(raw / 8)`` is bounded
    as in the layers, see :class:`genmodels.transforms.Standardizing`.

    Args:
        dims: D.
        network: makes the MADE from its input and output shape.
        components: C.
    """

    means: Tensor

    def __init__(self, dims: int, network: MADEFactory, components: int) -> None:
        super().__init__(dims)
        self.network = network((dims,), (3 * components, dims))
        means = (2 * torch.arange(components) + 1 - components) / components
        self.register_buffer("means", means, persistent=False)
        self.log_std = 0.5 * math.log(1 - means.square().mean())

    def mixtures(self, params: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """``log π``, ``μ`` and ``α``, each ``[B, C, ...]``, from the network's output ``[B, 3C, ...]``."""
        logits, means, raw = params.unflatten(1, (3, -1)).unbind(1)
        means = means + self.means.view(-1, *[1] * (means.ndim - 2))
        return torch.log_softmax(logits, dim=1), means, self.log_std + 8 * torch.tanh(raw / 8)

    def log_prob(self, z: Tensor) -> Tensor:
        """``log p(z) [B]`` in nats of ``z [B, D]``."""
        log_weights, means, log_stds = self.mixtures(self.network(z).to(z.dtype))
        u = (z[:, None] - means) * torch.exp(-log_stds)
        log_normal = -0.5 * (u.square() + math.log(2 * math.pi)) - log_stds
        return torch.logsumexp(log_weights + log_normal, dim=1).sum(1)

    def sample(self, n: int, device: torch.device) -> Tensor:
        """``n`` draws ``z [n, D]``, one dimension after another, at the cost of one pass of the network."""

        def value(i: int, params: Tensor) -> Tensor:
            log_weights, means, log_stds = self.mixtures(params)
            c = torch.multinomial(log_weights.exp(), 1)
            noise = torch.randn(n, 1, device=device)
            return (means.gather(1, c) + log_stds.gather(1, c).exp() * noise)[:, 0]

        return self.network.unroll(n, value)


class MAF(NormalizingFlow):
    """K autoregressive layers, each in another order of the dimensions than the one before, over ``N(0, I)``.

    Images are flattened. The paper normalizes between layers by batch normalization, with whose running statistics test
    likelihoods can diverge; here activations are normalized, see :class:`genmodels.transforms.ActNorm`.

    Args:
        spec: the data that the model is built for.
        network: makes the MADE of a layer from its input and output shape.
        layers: K.
        components: number C of Gaussians of every dimension of the base density, a :class:`MixtureMADE`, in which case
            the model is MAF MoG (§4.1); 1 for N(0, I).
        order: ``sequential`` for the dimensions' own order, reversed from layer to layer as in the paper; ``random``
            for random ones, drawn once.
        alpha: on integer data, the logit map's distance from 0 and 1 (§4.2).
        optimizer: ``parameters -> Optimizer``.
        scheduler: ``optimizer -> LRScheduler``, stepped once per batch, or ``None``.
        clip_norm: largest global gradient norm, or ``None``.

    Raises:
        ValueError: if layers or components is less than 1, order is another, or alpha lies outside (0, 0.5).
    """

    def __init__(
        self,
        spec: DataSpec,
        network: MADEFactory,
        optimizer: OptimizerFactory,
        scheduler: SchedulerFactory | None = None,
        clip_norm: float | None = None,
        layers: int = 5,
        alpha: float = 1e-6,
        components: int = 1,
        order: Literal["sequential", "random"] = "sequential",
    ) -> None:
        ensure_counts(1, 1000, layers=layers, components=components)
        ensure(order in ("sequential", "random"), f"order must be sequential or random, got {order!r}.")
        d = spec.dims
        first, between = ([], Reverse) if order == "sequential" else ([Shuffle(d)], partial(Shuffle, d))
        stack = [layer for _ in range(layers) for layer in (ActNorm((d,)), Autoregressive(d, network), between())]
        flow = Chain([*to_reals(spec, alpha), Flatten(spec.shape), *first, *stack])
        base = MixtureMADE(d, network, components) if components > 1 else None
        super().__init__(spec, flow, optimizer, scheduler, clip_norm, base)

    @override
    def programs(self) -> Mapping[str, Program]:
        """The density alone: as a program, the D passes of the inverse would be D copies of the networks."""
        return {name: program for name, program in super().programs().items() if name == "log_density"}
