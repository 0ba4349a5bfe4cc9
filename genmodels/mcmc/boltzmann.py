r"""The Boltzmann machine with couplings between any two units (Ackley, Hinton & Sejnowski 1985).

Units s, a vector ``[n]`` of two values each, have the law :math:`p(s) = f(s) / Z` with

.. math:: \log f(s) = \tfrac12 s^T J s + b^T s + c,

for symmetric J with zero diagonal. The Ising model (:func:`lattice`) and the restricted Boltzmann machine
(:func:`restricted`) are the cases in which neighbors on a grid, or units of two layers, are coupled. Given all others,
unit i has the log-odds :math:`(s_{high} - s_{low})(J_i \cdot s + b_i)`, which is all that Gibbs sampling needs (Geman &
Geman 1984).

Enumeration answers every question about a machine of some twenty units; the models that are trained on data have other
means. This one is for checking them, and for teaching.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import torch
from torch import Tensor

from genmodels.errors import ensure, ensure_counts
from genmodels.mcmc.partition import BINARY, SPIN, ensure_coupling, enumerate_states, log_partition


class Moments(NamedTuple):
    """Second and first moments of the units, or derivatives by the couplings and fields that multiply them.

    Attributes:
        coupling: ``E[s_i s_j] [n, n]``, with zeros on the diagonal.
        field: ``E[s_i] [n]``.
    """

    coupling: Tensor
    field: Tensor


@dataclass(frozen=True, eq=False)
class BoltzmannMachine:
    """A pairwise machine of n units.

    Attributes:
        coupling: J ``[n, n]``, symmetric with zero diagonal.
        field: b ``[n]``.
        values: the low and the high value of a unit.
        constant: c in nats, which changes Z and nothing else.

    Raises:
        ValueError: if J is not symmetric with zero diagonal, the shapes differ, or the values do not increase.
    """

    coupling: Tensor
    field: Tensor
    values: tuple[float, float] = SPIN
    constant: float | Tensor = 0.0

    def __post_init__(self) -> None:
        ensure_coupling(self.coupling, self.field)
        low, high = self.values
        ensure(low < high, f"values must be a lower and a higher one, got {self.values}.")

    @property
    def units(self) -> int:
        """Number n of units."""
        return len(self.field)

    def log_f(self, s: Tensor) -> Tensor:
        """``log f [N]`` in nats of states ``[N, n]``."""
        return 0.5 * (s @ self.coupling * s).sum(1) + s @ self.field + self.constant

    def log_odds(self, s: Tensor, unit: int) -> Tensor:
        """``log p(s_i = high | rest) - log p(s_i = low | rest) [N]``, given the other units of ``s [N, n]``."""
        low, high = self.values
        return (high - low) * (s @ self.coupling[unit] + self.field[unit])

    def states(self, units: int | None = None) -> Iterator[Tensor]:
        """All states of the machine, or of so many units, see :func:`genmodels.mcmc.enumerate_states`."""
        units = self.units if units is None else units
        return enumerate_states(units, self.values, dtype=self.field.dtype, device=self.field.device)

    def log_partition(self) -> Tensor:
        """``log Z`` in nats by enumeration, a scalar that can be differentiated by J and b."""
        return log_partition(self.log_f, self.states())

    def moments(self) -> Moments:
        """Moments of the law of the machine, by enumeration."""
        log_z = self.log_partition()
        parts = [weighted_moments(s, (self.log_f(s) - log_z).exp()) for s in self.states()]
        return Moments(sum_of(part.coupling for part in parts), sum_of(part.field for part in parts))

    def sweep(self, s: Tensor, order: Iterable[int] | None = None) -> Tensor:
        """States ``[N, n]`` after drawing units anew, one after the other, each given all others.

        Args:
            s: states of N chains.
            order: units, by default all from first to last. That order leaves the law invariant but is not reversible;
                its reversal is the opposite order. An order that reads the same backward is reversible, see
                :func:`palindrome`, and so is :meth:`random_scan`.
        """
        s, values = s.clone(), s.new_tensor(self.values)
        for unit in range(self.units) if order is None else order:
            up = torch.rand_like(s[:, unit]) < torch.sigmoid(self.log_odds(s, unit))
            s[:, unit] = values[up.long()]
        return s

    def random_scan(self, s: Tensor, updates: int) -> Tensor:
        """States ``[N, n]`` after so many updates of units that each chain picks at random, which is reversible.

        Raises:
            ValueError: if the number of updates is less than 1.
        """
        ensure_counts(updates=updates)
        s, values, chains = s.clone(), s.new_tensor(self.values), torch.arange(len(s), device=s.device)
        low, high = self.values
        for _ in range(updates):
            unit = torch.randint(self.units, (len(s),), device=s.device)
            log_odds = (high - low) * ((s * self.coupling[unit]).sum(1) + self.field[unit])
            up = torch.rand_like(log_odds) < torch.sigmoid(log_odds)
            s[chains, unit] = values[up.long()]
        return s

    def update_matrix(self, unit: int) -> Tensor:
        """Drawing one unit anew as a column-stochastic matrix ``[2^n, 2^n]`` over all states, see :func:`stationary`.

        The product of those of an order, the first on the right, is the matrix of its sweep.
        """
        s = torch.cat([*self.states()])
        rest = torch.arange(self.units, device=s.device) != unit
        same_rest = (s[:, None, rest] == s[None, :, rest]).all(2)
        up = torch.sigmoid(self.log_odds(s, unit))
        probability = torch.where(s[:, unit] > self.values[0], up, 1 - up)  # of the value in the state arrived at
        return same_rest * probability[:, None]

    def log_likelihood(self, visible: Tensor) -> Tensor:
        """``log sum_h f(v, h) - log Z [N]`` in nats of the first m units, ``visible [N, m]``; the others are hidden.

        By enumeration of the hidden units for every example, and of all units.
        """
        return self._log_marginal(visible) - self.log_partition()

    def gradient(self, visible: Tensor) -> Moments:
        r"""Gradient of the mean :meth:`log_likelihood` of ``visible [N, m]`` by J and b: clamped minus free moments.

        .. math:: \frac{\partial}{\partial J_{ij}} \log p(v) = E_{p(h|v)}[s_i s_j] - E_p[s_i s_j]

        for the strength :math:`J_{ij} = J_{ji}` of a pair, and likewise with :math:`s_i` for :math:`b_i`. It vanishes
        where the machine's moments are those of data completed by the machine.
        """
        free = self.moments()
        log_marginal = self._log_marginal(visible)
        hidden = self._hidden(visible)
        parts = [weighted_moments(s, (self.log_f(s) - log_marginal).exp() / len(visible)) for s in hidden]
        return Moments(
            sum_of(part.coupling for part in parts) - free.coupling, sum_of(part.field for part in parts) - free.field
        )

    def _log_marginal(self, visible: Tensor) -> Tensor:
        return torch.logsumexp(torch.stack([self.log_f(s) for s in self._hidden(visible)]), 0)

    def _hidden(self, visible: Tensor) -> Iterator[Tensor]:
        """States ``[N, n]`` that complete ``visible [N, m]``, one for each state of the hidden units."""
        hidden = self.units - visible.shape[1]
        ensure(hidden >= 0, f"visible must be [N, m] with m at most {self.units}, got {[*visible.shape]}.")
        if not hidden:
            yield visible
            return
        for chunk in self.states(hidden):
            for h in chunk:
                yield torch.cat([visible, h.expand(len(visible), -1)], 1)

    def with_values(self, values: tuple[float, float]) -> BoltzmannMachine:
        r"""The same function of states whose units are named by other values, such as 0 and 1 for -1 and 1.

        With :math:`s = \alpha t + \gamma`, t has the coupling :math:`\alpha^2 J`, the field :math:`\alpha (b + \gamma J
        1)` and the constant :math:`c + \gamma^2 1^T J 1 / 2 + \gamma 1^T b`; from ±1 to 0/1, ``4J`` and ``2b - 2J1``.
        """
        (low, high), (new_low, new_high) = self.values, values
        scale = (high - low) / (new_high - new_low)
        shift = low - scale * new_low
        total = self.coupling.sum(1)
        constant = self.constant + 0.5 * shift**2 * total.sum() + shift * self.field.sum()
        return BoltzmannMachine(scale**2 * self.coupling, scale * (self.field + shift * total), values, constant)

    def tempered(self, base: BoltzmannMachine, beta: float) -> BoltzmannMachine:
        """The machine with ``log f = (1 - beta) log f_base + beta log f``, on the geometric path between the two.

        Raises:
            ValueError: if the two machines' units have other values.
        """
        ensure(base.values == self.values, f"base must have units of values {self.values}, got {base.values}.")
        return BoltzmannMachine(
            torch.lerp(base.coupling, self.coupling, beta),
            torch.lerp(base.field, self.field, beta),
            self.values,
            (1 - beta) * base.constant + beta * self.constant,
        )


def weighted_moments(s: Tensor, weight: Tensor) -> Moments:
    """``sum_k w_k s_i s_j`` off the diagonal and ``sum_k w_k s_i``, of states s ``[N, n]`` with weights ``[N]``."""
    second = (s * weight[:, None]).T @ s
    return Moments(second - torch.diag(second.diagonal()), weight @ s)


def sum_of(parts: Iterable[Tensor]) -> Tensor:
    """The sum of tensors of one shape."""
    return torch.stack([*parts]).sum(0)


def palindrome(units: int) -> list[int]:
    """The order from first to last and back, of which the sweep is reversible; the last is drawn once.

    >>> palindrome(3)
    [0, 1, 2, 1, 0]
    """
    return [*range(units), *range(units - 2, -1, -1)]


def independent(field: Tensor, values: tuple[float, float] = SPIN) -> BoltzmannMachine:
    """The machine without couplings, for which ``log Z = sum log(e^(b low) + e^(b high))``, of fields b ``[n]``.

    One sweep from any states gives exact draws of it.
    """
    return BoltzmannMachine(torch.zeros(len(field), len(field)).to(field), field, values)


def restricted(
    weight: Tensor, visible: Tensor, hidden: Tensor, values: tuple[float, float] = BINARY
) -> BoltzmannMachine:
    """The restricted Boltzmann machine ``log f = aᵀv + cᵀh + vᵀWh`` as a machine of m + k units, visible ones first.

    Args:
        weight: W ``[m, k]``.
        visible: a ``[m]``.
        hidden: c ``[k]``.
        values: of a unit.
    """
    m, k = weight.shape
    coupling = torch.zeros(m + k, m + k).to(weight)
    coupling[:m, m:], coupling[m:, :m] = weight, weight.T
    return BoltzmannMachine(coupling, torch.cat([visible, hidden]), values)


def lattice(sides: Sequence[int], coupling: float, field: float = 0.0, periodic: bool = True) -> BoltzmannMachine:
    """The Ising model on a grid of spins, ``log f = K sum over neighbors s_i s_j + b sum s_i``, in float64.

    Args:
        sides: lengths of the grid's sides, in any number of dimensions.
        coupling: K, the strength of a pair in units of the temperature.
        field: b.
        periodic: the ends of each side are neighbors, too. On a side of two they are so twice.

    Raises:
        ValueError: if a side is less than 1.

    >>> lattice([4], 0.5).coupling[0]
    tensor([0.0000, 0.5000, 0.0000, 0.5000], dtype=torch.float64)
    """
    for side in sides:
        ensure_counts(side=side)
    number = torch.arange(int(torch.tensor(sides).prod())).view(*sides)
    total = torch.zeros(number.numel(), number.numel(), dtype=torch.float64)
    for dim, side in enumerate(sides):
        here, there = number, number.roll(-1, dim)
        if not periodic or side == 1:
            here, there = (grid.narrow(dim, 0, side - 1) for grid in (here, there))
        pairs = (here.flatten(), there.flatten())
        total.index_put_(pairs, torch.tensor(coupling, dtype=torch.float64), accumulate=True)
    return BoltzmannMachine(total + total.T, torch.full((number.numel(),), field, dtype=torch.float64))
