r"""Bipartite Boltzmann machines: block Gibbs sampling, annealing by it, and their partition function by enumeration.

Visible units v and hidden units h interact only across the two layers. With codes :math:`\tilde v, \tilde h` of the
units, which are affine in them,

.. math:: \log f(v, h) = \log b(v) + a^T \tilde v + c^T \tilde h + \tilde v^T W \tilde h,

so that all units of a layer are independent given the other layer, and one sweep v -> h -> v draws each in one product.
It is reversible in the marginal f(v). Both codes are of one form, :math:`\tilde h = \kappa h - \lambda` for
h in {0, 1}: the units themselves (κ = 1, λ = 0), centered (λ = 1/2), or ±1 (κ = 2, λ = 1).
"""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor
from typing_extensions import override

from genmodels.mcmc.annealed_law import AnnealedLaw
from genmodels.mcmc.paths import Path


def bernoulli(p: Tensor) -> Tensor:
    """Zeros and ones with the probabilities ``p`` of ones; on a CPU four times as fast as ``torch.bernoulli``."""
    return torch.rand_like(p).lt_(p)


def scaled(x: Tensor, factor: float) -> Tensor:
    """``factor x``, or x itself for a factor of 1."""
    return x if factor == 1 else factor * x


class Visible(ABC):
    """The law of visible units given their field φ: ``p(v_i) = b(v_i) exp(φ_i code(v_i)) / Z_i``, for all i at once."""

    @abstractmethod
    def code(self, v: Tensor) -> Tensor:
        """Code ``[N, D]`` of units ``v [N, D]``."""

    @abstractmethod
    def log_base(self, v: Tensor) -> Tensor:
        """``log b(v) = sum_i log b(v_i) [N]`` in nats."""

    def log_base_ratio(self, other: Visible, v: Tensor) -> Tensor | float:
        """``log b(v) - log b_other(v) [N]`` in nats of units ``v [N, D]`` of the same kind."""
        return self.log_base(v) - other.log_base(v)

    @abstractmethod
    def log_partition(self, field: Tensor) -> Tensor:
        """``sum_i log Z_i [N]`` in nats at ``field [N, D]``."""

    @abstractmethod
    def mean(self, field: Tensor) -> Tensor:
        """Means ``[N, D]`` of the units at ``field [N, D]``."""

    @abstractmethod
    def sample(self, field: Tensor) -> Tensor:
        """A draw ``v [N, D]`` at ``field [N, D]``."""

    @abstractmethod
    def between(self, other: Visible, beta: float) -> Visible:
        """Units of the same kind with ``log b = (1 - beta) log b_other + beta log b``."""


@dataclass(frozen=True)
class BinomialUnits(Visible):
    """Integers 0 .. n with ``b(v) = C(n, v)``, which are sums of n equal Bernoulli units; for n = 1 these themselves.

    Attributes:
        n: largest value.
        scale: κ of the code ``κ v - shift``.
        shift: ``[D]``.
    """

    n: int
    scale: float
    shift: Tensor

    @override
    def code(self, v: Tensor) -> Tensor:
        return scaled(v, self.scale) - self.shift

    @override
    def log_base(self, v: Tensor) -> Tensor:
        if self.n == 1:
            return v.new_zeros(len(v))
        n = torch.full_like(v[:1, :1], self.n)
        return (torch.lgamma(n + 1) - torch.lgamma(v + 1) - torch.lgamma(n - v + 1)).sum(1)

    @override
    def log_base_ratio(self, other: Visible, v: Tensor) -> Tensor | float:
        return 0.0  # binomial coefficients have no parameter

    def log_partition(self, field: Tensor) -> Tensor:
        """``sum_i n log(1 + exp(κ φ_i)) - φ_i shift_i [N]``."""
        return (self.n * F.softplus(scaled(field, self.scale)) - field * self.shift).sum(1)

    @override
    def mean(self, field: Tensor) -> Tensor:
        return self.n * torch.sigmoid(scaled(field, self.scale))

    @override
    def sample(self, field: Tensor) -> Tensor:
        p = torch.sigmoid(scaled(field, self.scale))
        return bernoulli(p) if self.n == 1 else torch.binomial(torch.full_like(p, self.n), p)

    @override
    def between(self, other: Visible, beta: float) -> BinomialUnits:
        return self


@dataclass(frozen=True)
class GaussianUnits(Visible):
    """Reals with ``b(v) = exp(-τ v²/2)``, which are coded by themselves: ``v_i ~ N(φ_i / τ_i, 1 / τ_i)``.

    Attributes:
        precision: τ ``[D]``.
    """

    precision: Tensor

    @override
    def code(self, v: Tensor) -> Tensor:
        return v

    @override
    def log_base(self, v: Tensor) -> Tensor:
        return -0.5 * (v.square() @ self.precision)

    def log_partition(self, field: Tensor) -> Tensor:
        """``sum_i φ_i² / 2τ_i + log(2π / τ_i) / 2 [N]``."""
        return 0.5 * (field.square() / self.precision + (2 * math.pi / self.precision).log()).sum(1)

    @override
    def mean(self, field: Tensor) -> Tensor:
        return field / self.precision

    @override
    def sample(self, field: Tensor) -> Tensor:
        return self.mean(field) + torch.randn_like(field) * self.precision.rsqrt()

    @override
    def between(self, other: Visible, beta: float) -> GaussianUnits:
        assert isinstance(other, GaussianUnits)
        return GaussianUnits((1 - beta) * other.precision + beta * self.precision)


@dataclass(frozen=True)
class Bipartite:
    """A Boltzmann machine of D visible and m hidden units, without connections inside a layer.

    Attributes:
        visible: the kind of its visible units.
        weight: W ``[D, m]``.
        visible_bias: a ``[D]``.
        hidden_bias: c ``[m]``.
        scale: κ of the hidden units' code ``κ h - λ``.
        shift: λ.
    """

    visible: Visible
    weight: Tensor
    visible_bias: Tensor
    hidden_bias: Tensor
    scale: float = 1.0
    shift: float = 0.0

    def hidden_field(self, v: Tensor) -> Tensor:
        """``c + W^T code(v) [N, m]`` of ``v [N, D]``; ``p(h_j = 1 | v)`` is the sigmoid of κ times it."""
        return torch.addmm(self.hidden_bias, self.visible.code(v), self.weight)

    def visible_field(self, h: Tensor) -> Tensor:
        """``a + W code(h) [N, D]`` of ``h [N, m]``, zeros and ones, or their probabilities."""
        return torch.addmm(self.visible_bias, scaled(h, self.scale) - self.shift, self.weight.T)

    def log_hidden(self, field: Tensor) -> Tensor:
        """``log sum_h exp(field^T code(h)) [N]`` at hidden fields ``[N, m]``."""
        return (F.softplus(scaled(field, self.scale)) - self.shift * field).sum(1)

    def log_f(self, v: Tensor) -> Tensor:
        """``log f(v) = log sum_h f(v, h) [N]`` in nats, minus the free energy, of ``v [N, D]``."""
        return self.log_visible(v) + self.log_hidden(self.hidden_field(v))

    def log_visible(self, v: Tensor) -> Tensor:
        """``log b(v) + a^T code(v) [N]`` in nats."""
        return self.visible.log_base(v) + self.visible.code(v) @ self.visible_bias

    def log_f_hidden(self, h: Tensor) -> Tensor:
        """``log sum_v f(v, h) [N]`` in nats of ``h [N, m]``, zeros and ones; an integral over real visible units."""
        return (scaled(h, self.scale) - self.shift) @ self.hidden_bias + self.visible.log_partition(
            self.visible_field(h)
        )

    def draw_hidden(self, field: Tensor) -> Tensor:
        """A draw of ``h [N, m]``, zeros and ones, at hidden fields ``[N, m]``."""
        return bernoulli(torch.sigmoid(scaled(field, self.scale)))

    def draw_visible(self, h: Tensor) -> Tensor:
        """A draw of ``v [N, D]`` given ``h [N, m]``."""
        return self.visible.sample(self.visible_field(h))

    def sweep(self, h: Tensor) -> Tensor:
        """One sweep of block Gibbs sampling, h -> v -> h, ``[N, m]``."""
        return self.draw_hidden(self.hidden_field(self.draw_visible(h)))


class GibbsState(NamedTuple):
    """Visible units of N chains, with what does not depend on the inverse temperature.

    Attributes:
        v: ``[N, D]``.
        field: hidden fields ``c + W^T code(v) [N, m]`` of the machine at the end of the path.
    """

    v: Tensor
    field: Tensor


class BipartitePath(Path[GibbsState]):
    """From independent visible units to a machine, all hidden units included (Salakhutdinov & Murray 2008, eq. 15-18).

    ``f_b(v, h) = f_0(v)^(1-b) f(v, h)^b``, where f_0, the base-rate machine, has the visible units of ``base`` with the
    biases ``base_bias [D]`` and hidden units that are 0 or 1 with equal probability. https://doi.org/10.1145/1390156.1390266
    """

    def __init__(self, machine: Bipartite, base: Visible, base_bias: Tensor) -> None:
        self.machine, self.base, self.base_bias = machine, base, base_bias

    def at(self, beta: float) -> tuple[Visible, Tensor]:
        """The visible units at ``beta`` and their biases ``[D]``."""
        machine = self.machine
        bias = (1 - beta) * self.base_bias + beta * machine.visible_bias
        return machine.visible.between(self.base, beta), bias

    @override
    def log_f(self, state: GibbsState, beta: float) -> Tensor:
        visible, bias = self.at(beta)
        hidden = self.machine.log_hidden(beta * state.field)
        return visible.log_base(state.v) + visible.code(state.v) @ bias + hidden

    @override
    def log_ratio(self, state: GibbsState, before: float, after: float) -> Tensor:
        machine, (here, bias), (there, next_bias) = self.machine, self.at(before), self.at(after)
        units = there.code(state.v) @ (next_bias - bias) + there.log_base_ratio(here, state.v)
        fields = machine.scale * state.field
        hidden = F.softplus(after * fields) - F.softplus(before * fields)  # of close numbers, so before the sum
        return (units + (hidden - (after - before) * machine.shift * state.field).sum(1)).double()

    def log_z0(self) -> Tensor:
        """``log Z_0 = sum_i log Z_i + m log 2``, a scalar."""
        return self.base.log_partition(self.base_bias[None])[0] + len(self.machine.hidden_bias) * math.log(2)

    def sweep(self, state: GibbsState, beta: float) -> Tensor:
        """Units ``v [N, D]`` after a sweep v -> h -> v, which leaves ``f_b(v)`` invariant and is reversible in it."""
        machine, (visible, bias) = self.machine, self.at(beta)
        h = bernoulli(torch.sigmoid(beta * machine.scale * state.field))
        code = beta * (machine.scale * h - machine.shift)
        return visible.sample(torch.addmm(bias, code, machine.weight.T))

    def state(self, v: Tensor) -> GibbsState:
        """The state of chains at ``v [N, D]``."""
        return GibbsState(v, self.machine.hidden_field(v))


class GibbsAnnealed(AnnealedLaw[GibbsState]):
    """The law of visible units after one sweep of a :class:`BipartitePath` at each of T inverse temperatures.

    Args:
        path: the path from independent units to the machine.
        betas: inverse temperatures ``[T + 1]``.
    """

    path: BipartitePath

    def __init__(self, path: BipartitePath, betas: Tensor) -> None:
        super().__init__(path, betas, float(path.log_z0()))

    @override
    def draw(self, n: int) -> GibbsState:
        return self.state(self.path.base.sample(self.path.base_bias.expand(n, -1)))

    @override
    def state(self, y: Tensor) -> GibbsState:
        return self.path.state(y)

    @override
    def position(self, state: GibbsState) -> Tensor:
        return state.v

    @override
    def transition(self, state: GibbsState, beta: float, t: int) -> tuple[GibbsState, Tensor]:
        return self.state(self.path.sweep(state, beta)), torch.ones(len(state.v), device=state.v.device)


class ClampedGibbs(GibbsAnnealed):
    """The same with some visible units clamped to given values, so that the path leads to the law of the others.

    A sweep that is clamped again is reversible in ``f_b`` given these values.

    Args:
        path: the path from independent units to the machine.
        betas: inverse temperatures ``[T + 1]``.
        v: values ``[N, D]``.
        clamped: ``[N, D]``, true for units that are clamped.
    """

    def __init__(self, path: BipartitePath, betas: Tensor, v: Tensor, clamped: Tensor) -> None:
        super().__init__(path, betas)
        self.v, self.clamped = v, clamped

    @override
    def state(self, y: Tensor) -> GibbsState:
        """The state of chains at ``y [N, D]`` with the given values put back."""
        return super().state(torch.where(self.clamped, self.v, y))
