"""The base class of normalizing flows, whose density follows from the change of variables."""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor, nn
from typing_extensions import override

from genmodels.core import DataSpec, Kind, Likelihood, Loss, bits_per_dim
from genmodels.core.abilities import Encodes, Exports, HasImportanceWeights, Program, Samples
from genmodels.core.quantization import ensure_alpha, log_mass, mass_weights, quantize
from genmodels.errors import UserError, ensure
from genmodels.models.base.model import GenerativeModel
from genmodels.models.base.training import OptimizerFactory, SchedulerFactory
from genmodels.networks.labelled import Labels
from genmodels.transforms import DequantizationFactory, Logit, Transform, UniformDequantization
from genmodels.transforms.distributions import BaseDistribution, StandardNormal


def to_reals(spec: DataSpec, alpha: float | None) -> list[Transform]:
    """The first transforms of a flow on data of ``spec``: the logit for integers, which are dequantized to [0, 1].

    Args:
        spec: the data that the flow is built for.
        alpha: the logit's distance from 0 and 1, see :class:`genmodels.transforms.Logit`; ``None`` for no logit.

    Raises:
        ValueError: if alpha lies outside [1e-7, 0.5).
    """
    if alpha is None:
        return []
    ensure_alpha(alpha)
    return [Logit(alpha)] if spec.is_discrete else []


class NormalizingFlow(GenerativeModel, Samples, HasImportanceWeights, Encodes, Exports):
    """An invertible map f from data to a code ``z ~ p_Z``: ``log p(x) = log p_Z(f(x)) + log |det df/dx|``.

    The equation is the change of variables (Dinh et al. 2017, eq. 2, arXiv:1605.08803). Integers are dequantized,
    by which the log-density becomes a lower bound on their log-mass.

    A flow whose density is not of this form overrides :meth:`log_density`, and :meth:`encode`, :meth:`decode` or
    :meth:`sample` where they differ.

    Args:
        spec: the data that the model is built for.
        flow: f, from ``[B, *shape]`` on the unit cube, or on the data's own scale if continuous, to ``[B, D]``.
        optimizer: ``parameters -> Optimizer``.
        scheduler: ``optimizer -> LRScheduler``, stepped once per batch, or ``None``.
        clip_norm: largest global gradient norm, or ``None``.
        base: p_Z; ``None`` for N(0, I).
        dequantization: ``spec -> q(u | x)``, by which integers become reals.
        labels: those that the networks of f read, see :class:`BaseModel`.
    """

    family = "flows"
    draws = "dequantization_samples"

    def __init__(
        self,
        spec: DataSpec,
        flow: Transform,
        optimizer: OptimizerFactory,
        scheduler: SchedulerFactory | None = None,
        clip_norm: float | None = None,
        base: BaseDistribution | None = None,
        dequantization: DequantizationFactory = UniformDequantization,
        labels: Labels | None = None,
    ) -> None:
        super().__init__(spec, optimizer, scheduler, clip_norm, labels)
        self.flow = flow
        self.dequantization = dequantization(spec)
        self.base = StandardNormal(spec.dims) if base is None else base

    def log_density(self, u: Tensor) -> Tensor:
        """``log p(u) [B]`` in nats of ``u [B, *shape]`` on the unit cube, or on the data's own scale if continuous."""
        z, log_det = self.flow(u)
        return self.base.log_prob(z) + log_det

    def loss(self, x: Tensor) -> Loss:
        """Mean ``-log p(x) / D`` of raw data ``x [B, *shape]``, in nats per dimension, plus :meth:`penalty`."""
        nats = log_mass(x, self.spec, self.log_density, 1, self.dequantization).mean()
        unit = {"bits_per_dim": bits_per_dim(nats, self.spec)} if self.spec.is_discrete else {"nats": -nats}
        return Loss(-nats / self.spec.dims + self.penalty(), unit)

    def penalty(self) -> Tensor | float:
        """Regularization term of the loss, a scalar in nats per dimension; 0 by default."""
        return 0.0

    @property
    def kind(self) -> Kind:
        """``EXACT`` on real data, ``LOWER_BOUND`` on integers; ``ESTIMATE`` if the log-determinant is estimated."""
        if self.flow.kind is not Kind.EXACT:
            return self.flow.kind
        return Kind.LOWER_BOUND if self.spec.is_discrete else Kind.EXACT

    def log_likelihood(self, x: Tensor, samples: int = 1) -> Likelihood:
        """``log p(x) [B]`` in nats of raw data ``x [B, *shape]``.

        On integers it is a bound, which more ``samples`` of the noise tighten, see
        :func:`genmodels.core.quantization.log_mass`.

        Raises:
            ValueError: if samples is less than 1.
        """
        return Likelihood(log_mass(x, self.spec, self.log_density, samples, self.dequantization), self.kind)

    @property
    def no_gap_reason(self) -> str | None:
        """Real data have an exact likelihood, or an estimate, and no bound."""
        if self.flow.kind is not Kind.EXACT:
            return "its log-determinant is an estimate"
        return None if self.spec.is_discrete else "its log-likelihood is exact"

    def simulate(self, n: int) -> tuple[Tensor, Tensor]:
        """Integers ``x [n, *shape]`` and ``u [n, *shape]`` in their bins, drawn from the density on the unit cube.

        Draws outside of the cube are rejected: no x has their mass in its log-likelihood.

        Raises:
            UserError: if fewer than one draw in 1000 is inside.
            ValueError: for a model that takes labels, whose draws would no longer be those of the labels given.
        """
        ensure(self.spec.classes is None, "draws that are rejected leave labels without examples.")
        u = torch.empty(0, *self.spec.shape, device=self.device)
        for _ in range(1000):
            drawn = self.flow.decode(self.base.sample(n, self.device))
            u = torch.cat([u, drawn[((drawn >= 0) & (drawn < 1)).flatten(1).all(1)]])
            if len(u) >= n:
                return quantize(u[:n], self.spec), u[:n]
        raise UserError(f"of {1000 * n} draws of the flow, only {len(u)} lie in the unit cube of its data.")

    def log_weights(self, x: Tensor, samples: int) -> Tensor:
        """``log p(u) - log q(u|x) [K, B]`` in nats at K ``samples`` u of the dequantized ``x [B, *shape]``."""
        return mass_weights(x, self.log_density, samples, self.dequantization)

    def log_weight_at(self, x: Tensor, z: Tensor) -> Tensor:
        """``log p(u) - log q(u|x) [B]`` in nats of ``x [B, *shape]`` at ``u = z [B, *shape]`` in its bins."""
        return self.log_density(z) + self.dequantization.log_volume(x, z)

    def sample(self, n: int) -> Tensor:
        """Raw data ``[n, *shape]``, decoded from ``z ~ p_Z``."""
        return self.decode(self.base.sample(n, self.device))

    def encode(self, x: Tensor) -> Tensor:
        """Code ``z [B, D]`` of raw data ``x [B, *shape]``; an integer is represented by the center of its bin."""
        u = x.float() if self.spec.levels is None else (x.float() + 0.5) / self.spec.levels
        z: Tensor = self.flow(u)[0]
        return z

    def decode(self, z: Tensor) -> Tensor:
        """Raw data ``x = f⁻¹(z) [B, *shape]`` of codes ``z [B, D]``; an integer is the level whose bin contains x."""
        return quantize(self.flow.decode(z), self.spec)

    @override
    def programs(self) -> Mapping[str, Program]:
        z, u = torch.zeros(2, self.spec.dims), torch.full((2, *self.spec.shape), 0.5)
        parts = (self.flow, *([self.base] if isinstance(self.base, nn.Module) else []))
        scale = "on the unit cube, in which level k of L has [k/L, (k+1)/L)" if self.spec.is_discrete else "as they are"
        return {
            "inverse": Program(self.flow.decode, (z,), parts, f"codes z ~ p(z) [B, D] to data [B, *shape] {scale}"),
            "log_density": Program(
                self.log_density, (u,), parts, f"data [B, *shape] {scale} to the logarithm of their density [B] in nats"
            ),
        }

    @torch.no_grad()
    def initialize(self, x: Tensor) -> None:
        """Set the data-dependent initial values of all transforms from raw data ``x [B, *shape]``."""
        self.flow.initialize(self.dequantization(x)[0])
