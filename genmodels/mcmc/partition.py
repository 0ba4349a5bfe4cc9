r"""Normalizers of Boltzmann's law :math:`p^* = f / Z = e^{-E/T} / Z`, by ways that share nothing but the law itself.

* :func:`log_partition` adds up all states, where they can be counted.
* :func:`thermodynamic_integral` follows a path of laws (Kirkwood 1935). With :math:`f_\beta = f_0 (f_1/f_0)^\beta` and
  :math:`A(\beta) = \log Z_\beta` one has :math:`A'(\beta) = E_\beta \log f_1/f_0` and :math:`A''(\beta) = Var_\beta
  \log f_1/f_0 \ge 0`, so that the slope at the left of every interval gives a lower bound on :math:`A(1) - A(0)`, and
  the one at the right an upper bound.
* :func:`mean_field` bounds :math:`\log Z` from below by a law of independent units.
* Annealed importance sampling, :mod:`genmodels.mcmc.annealing`, estimates it from chains.

The free energy :math:`F_T(q) = E_q E - T H(q)` of any law q exceeds that of Boltzmann's law, :math:`F_T(p^*) = -T \log
Z`, by :math:`F_T(q) - F_T(p^*) = T\,KL(q \| p^*) \ge 0` (Mézard & Montanari 2009, *Information, physics, and
computation*, §2.1 and §4.3). The mean field bound is the case of independent units.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import NamedTuple

import torch
from torch import Tensor

from genmodels.errors import ensure, ensure_counts, ensure_numbers

SPIN, BINARY = (-1.0, 1.0), (0.0, 1.0)  # values of a unit
MOST_STATES = 2**32


def enumerate_states(
    units: int,
    values: Sequence[float] = SPIN,
    chunk: int = 2**14,
    dtype: torch.dtype = torch.float64,
    device: torch.device | str | None = None,
) -> Iterator[Tensor]:
    """All states ``[<= chunk, units]`` of units that take the given values, the last one fastest.

    Raises:
        ValueError: if there are more than 2^32 of them, or a size is less than 1.

    >>> [states.tolist() for states in enumerate_states(2, values=(0, 1), chunk=3)]
    [[[0.0, 0.0], [0.0, 1.0], [1.0, 0.0]], [[1.0, 1.0]]]
    """
    ensure_counts(units=units, chunk=chunk)
    ensure(len(values) >= 1, "values must hold at least one value.")
    total = len(values) ** units
    ensure(total <= MOST_STATES, f"units must have at most 2^32 states, got {len(values)}^{units}.")
    numbers = (torch.arange(i, min(i + chunk, total), device=device) for i in range(0, total, chunk))
    return (numbered_states(number, units, values, dtype) for number in numbers)


def numbered_states(
    number: Tensor, units: int, values: Sequence[float] = SPIN, dtype: torch.dtype = torch.float64
) -> Tensor:
    """The states ``[N, units]`` whose places among all of :func:`enumerate_states` are ``number [N]``.

    >>> numbered_states(torch.tensor([0, 1, 7]), 3, values=(0, 1)).tolist()
    [[0.0, 0.0, 0.0], [0.0, 0.0, 1.0], [1.0, 1.0, 1.0]]
    """
    table = torch.tensor(values, dtype=dtype, device=number.device)
    place = len(values) ** torch.arange(units - 1, -1, -1, device=number.device)
    return table[number[:, None] // place % len(values)]


def log_partition(log_f: Callable[[Tensor], Tensor], states: Iterable[Tensor]) -> Tensor:
    """``log Z = log sum f``, a scalar in nats, over all states, given in chunks such as by :func:`enumerate_states`.

    It can be differentiated by the parameters of ``log_f: [N, ...] -> [N]``.

    Raises:
        ValueError: if there is no state.

    >>> log_partition(lambda s: s.sum(1), enumerate_states(3)).exp()  # (e + 1/e)^3
    tensor(29.3938, dtype=torch.float64)
    """
    sums = [torch.logsumexp(log_f(chunk), 0) for chunk in states]
    ensure(len(sums) > 0, "states must hold at least one state.")
    return torch.logsumexp(torch.stack(sums), 0)


def free_energy(law: Tensor, energy: Tensor, temperature: float = 1.0) -> Tensor:
    """``F_T(q) = E_q E - T H(q) [...]`` in nats, of laws q ``[..., n]`` over n states of energies ``[..., n]``.

    Its minimum over q is ``-T log sum e^(-E/T)``, at ``softmax(-E/T)``.

    Raises:
        ValueError: if the temperature is negative.

    >>> energy = torch.tensor([0.0, 1.0])
    >>> free_energy(torch.softmax(-energy, 0), energy), -torch.logsumexp(-energy, 0)
    (tensor(-0.3133), tensor(-0.3133))
    """
    ensure_numbers(at_least=0, temperature=temperature)
    entropy = -torch.xlogy(law, law).sum(-1)
    return (law * energy).sum(-1) - temperature * entropy


def thermodynamic_integral(betas: Tensor, means: Tensor, variances: Tensor | None = None) -> Tensor:
    r"""``log Z_1 - log Z_0 [...]`` in nats, the integral of :math:`E_\beta \log f_1/f_0` by the trapezoidal rule.

    Its error falls with the square of the distance between inverse temperatures. With variances, which are the slopes
    of the means, it falls with the fourth power: the ends of each interval of width h are corrected by :math:`-h^2/12`
    times the difference of their slopes (Friel, Hurn & Wyse 2014, *Statistics and Computing* 24).

    Args:
        betas: increasing inverse temperatures ``[K + 1]``, from 0 to 1 for the whole path.
        means: of ``log f_1/f_0`` under each ``f_b``, ``[K + 1, ...]`` in nats, by enumeration or from chains.
        variances: of the same, ``[K + 1, ...]`` in nats², or ``None``.

    Raises:
        ValueError: for fewer than two inverse temperatures, ones that do not increase, or other numbers of moments.

    >>> betas = torch.linspace(0, 1, 3)
    >>> thermodynamic_integral(betas, means=betas ** 3), thermodynamic_integral(betas, betas ** 3, 3 * betas ** 2)
    (tensor(0.3125), tensor(0.2500))
    """
    ensure(betas.dim() == 1 and len(betas) >= 2, f"betas must be [K + 1], at least two, got {[*betas.shape]}.")
    ensure(bool((betas.diff() > 0).all()), "betas must increase.")
    for name, moments in {"means": means, "variances": variances if variances is not None else means}.items():
        ensure(len(moments) == len(betas), f"{name} must be as many as betas, {len(betas)}, got {len(moments)}.")
    width = betas.diff().view(-1, *(1,) * (means.dim() - 1)).to(means)
    total = (width * 0.5 * (means[1:] + means[:-1])).sum(0)
    return total if variances is None else total - (width.square() / 12 * variances.diff(dim=0)).sum(0)


class MeanField(NamedTuple):
    """The best law of independent units that was found.

    Attributes:
        log_partition: lower bound on ``log Z``, a scalar in nats.
        mean: mean ``[n]`` of every unit, in (-1, 1).
    """

    log_partition: Tensor
    mean: Tensor


def mean_field_bound(coupling: Tensor, field: Tensor, mean: Tensor) -> Tensor:
    r"""``½ μᵀJμ + bᵀμ + sum H(μ_i) [...]`` in nats: minus the free energy of independent units of means ``[..., n]``.

    ``H(μ)`` is the entropy of a unit ±1 that is 1 with probability ``(1 + μ)/2``.
    """
    up, down = (1 + mean) / 2, (1 - mean) / 2
    entropy = -(torch.xlogy(up, up) + torch.xlogy(down, down)).sum(-1)
    return 0.5 * (mean @ coupling * mean).sum(-1) + mean @ field + entropy


def mean_field(
    coupling: Tensor, field: Tensor, restarts: int = 10, sweeps: int = 1000, tolerance: float = 1e-12
) -> MeanField:
    r"""Naive mean field of :math:`f(s) = \exp(½ s^T J s + b^T s)` with units ±1 (Peterson & Anderson 1987).

    Coordinate ascent of :func:`mean_field_bound`: given the others, the best mean of unit i is :math:`\tanh(J_i \cdot
    \mu + b_i)`. The bound holds at any mean, grows with every update, and may end in a local maximum, so that several
    random starts are tried side by side. It is exact for J = 0.

    Args:
        coupling: J ``[n, n]``, symmetric with zero diagonal.
        field: b ``[n]``.
        restarts: random starts.
        sweeps: the most sweeps over all units.
        tolerance: a sweep that changes no mean by more is the last.

    Raises:
        ValueError: if the coupling is not symmetric, or a number is out of range.
    """
    ensure_coupling(coupling, field)
    ensure_counts(restarts=restarts, sweeps=sweeps)
    ensure_numbers(at_least=0, tolerance=tolerance)
    mean = 2 * torch.rand(restarts, len(field), dtype=coupling.dtype, device=coupling.device) - 1
    for _ in range(sweeps):
        before = mean.clone()
        for i in range(len(field)):
            mean[:, i] = torch.tanh(mean @ coupling[i] + field[i])
        if float((mean - before).abs().max()) <= tolerance:
            break
    bound, best = mean_field_bound(coupling, field, mean).max(0)
    return MeanField(bound, mean[best])


def ensure_coupling(coupling: Tensor, field: Tensor) -> None:
    """Check that ``coupling`` is ``[n, n]``, symmetric, with zeros on its diagonal, for a ``field [n]``.

    Raises:
        ValueError: saying what is wrong with it.
    """
    n = len(field)
    shapes = f"coupling must be [n, n] and field [n], got {[*coupling.shape]} and {[*field.shape]}."
    ensure(field.shape == (n,) and coupling.shape == (n, n), shapes)
    ensure(torch.equal(coupling, coupling.T), "coupling must be symmetric.")
    ensure(not bool(coupling.diagonal().any()), "coupling must have zeros on its diagonal: no unit acts on itself.")
