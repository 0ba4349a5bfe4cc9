"""Systems whose numbers can be computed without chance, for tests and for the pictures of ``python -m tests.theory``.

Everything is float64; laws are vectors, transitions matrices, expectations sums.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import NamedTuple

import torch
from torch import Tensor

from genmodels.mcmc import (
    BoltzmannMachine,
    DifferentiablePath,
    GeometricPath,
    defect,
    independent,
    metropolis_matrix,
    palindrome,
    power,
    restricted,
    stationary,
    thermodynamic_integral,
    total_variation,
)
from genmodels.mcmc.langevin import force
from genmodels.mcmc.paths import State


def drift(
    path: DifferentiablePath, state: State, beta: float, step_size: Tensor, largest: float | None = None
) -> Tensor:
    """``x + η grad log f_b(x) [N, d]``, the mean of a Langevin step of sizes η ``step_size [N]``."""
    return state.x + step_size[:, None] * force(path, state, beta, largest)


def random_chain(states: int, seed: int = 0) -> Tensor:
    """A column-stochastic matrix ``[n, n]`` of random entries."""
    generator = torch.Generator().manual_seed(seed)
    chain = torch.rand(states, states, dtype=torch.float64, generator=generator)
    return chain / chain.sum(0)


def neighbors(states: int) -> Tensor:
    """The symmetric proposal ``[n, n]`` of a step to the left or the right, with equal probability."""
    side = torch.full((states - 1,), 0.5, dtype=torch.float64)
    ends = torch.zeros(states, dtype=torch.float64)
    ends[[0, -1]] = 0.5
    return torch.diag(side, 1) + torch.diag(side, -1) + torch.diag(ends)


def hill(states: int) -> Tensor:
    """A law ``[n]`` that rises and falls, with two tops."""
    x = torch.linspace(-2, 2, states, dtype=torch.float64)
    return torch.softmax(-((x.square() - 1.5).square()) + 0.4 * x, 0)


def walk(states: int = 20) -> Tensor:
    """The chain ``[n, n]`` that walks among neighbors and is in detailed balance with :func:`hill`."""
    return metropolis_matrix(neighbors(states), hill(states))


def decay(chain: Tensor, start: int, steps: int) -> Tensor:
    """Total variation ``[steps + 1]`` between the law after 0 .. steps steps from one state and the limit."""
    law, limit = torch.eye(len(chain)).to(chain)[start], stationary(chain)
    distances = [total_variation(law, limit)]
    for _ in range(steps):
        law = power(chain, law, 1)
        distances.append(total_variation(law, limit))
    return torch.stack(distances)


def slope(x: Tensor, y: Tensor) -> float:
    """Slope of the line through ``y [N]`` over ``x [N]`` by least squares."""
    x = x - x.mean()
    return float((x * y).sum() / x.square().sum())


def flat(log_f: Callable[[Tensor], Tensor]) -> DifferentiablePath:
    """The path from the constant 1 to ``log_f: [N, d] -> [N]``, for kernels that need ``f_1`` alone."""
    return DifferentiablePath(log_f, lambda x: (torch.zeros_like(x), torch.zeros_like(x)))


QUARTIC = flat(lambda x: -0.25 * x[:, 0] ** 4)
GAUSSIAN = flat(lambda x: -0.5 * x[:, 0] ** 2)


def mean_defect(path: DifferentiablePath, step_size: float, points: int = 200, normals: int = 1000) -> float:
    """``E|r|`` in nats of a Langevin step from the law of ``path`` on the line, by quadrature over state and noise."""
    x, noise, law = line_and_noise(path, points, normals)
    here = path.state(x)
    step = torch.full((len(x),), step_size, dtype=torch.float64)
    there = path.state(drift(path, here, 1.0, step) + (2 * step_size) ** 0.5 * noise)
    return float((defect(path, here, there, 1.0, step).abs() * law).sum())


def line_and_noise(path: DifferentiablePath, points: int = 200, normals: int = 1000) -> tuple[Tensor, Tensor, Tensor]:
    """States and normal noise, each ``[N, 1]``, with their joint probabilities ``[N]``."""
    x = torch.linspace(-4, 4, points, dtype=torch.float64)[:, None]
    law = torch.softmax(path.log_f(path.state(x), 1.0), 0)
    quantile = (torch.arange(normals, dtype=torch.float64) + 0.5) / normals  # midpoints of equally probable cells
    noise = torch.special.ndtri(quantile)[:, None]
    return x.repeat_interleave(normals, 0), noise.repeat(points, 1), law.repeat_interleave(normals) / normals


class Annealing:
    """Annealing over a finite set of states with exact transition matrices: expectations instead of runs.

    Args:
        path: densities of the states.
        states: all states ``[n, ...]``.
        betas: inverse temperatures ``[K + 1]``.
        matrices: the transition ``[n, n]`` of every temperature but the first, reversible in ``f_b``.
    """

    def __init__(self, path: GeometricPath[Tensor], states: Tensor, betas: Tensor, matrices: list[Tensor]) -> None:
        self.matrices = matrices
        b = betas.tolist()
        self.ratios = [path.log_ratio(states, b[t], b[t + 1]) for t in range(len(b) - 1)]
        self.log_f0, self.log_f1 = path.log_f(states, 0.0), path.log_f(states, 1.0)
        self.log_z0, self.log_z1 = (float(torch.logsumexp(log_f, 0)) for log_f in (self.log_f0, self.log_f1))

    @property
    def truth(self) -> float:
        """``log Z_1 / Z_0``."""
        return self.log_z1 - self.log_z0

    def forward(self) -> tuple[float, float, Tensor]:
        """``log E[w]``, ``E[log w]`` and ``p_ann [n]`` of chains from exact draws of ``f_0``."""
        weighted = law = torch.softmax(self.log_f0, 0)
        mean = 0.0
        for matrix, ratio in zip(self.matrices, self.ratios, strict=True):
            mean += float((law * ratio).sum())
            weighted, law = matrix @ (weighted * ratio.exp()), matrix @ law
        return math.log(float(weighted.sum())), mean, law

    def reverse(self) -> tuple[Tensor, Tensor]:
        """``E[1/w] [n]`` and ``E[log w] [n]`` of chains that run in reverse from every state."""
        inverse, mean = torch.ones_like(self.log_f1), torch.zeros_like(self.log_f1)
        for matrix, ratio in zip(self.matrices, self.ratios, strict=True):
            inverse, mean = matrix.T @ (inverse / ratio.exp()), matrix.T @ (mean + ratio)
        return inverse, mean


def wells(temperatures: int = 1000) -> tuple[Annealing, Tensor]:
    """Annealing on a line from a broad law to two wells, 30 % in a wide one, and the states ``[n]`` of the wide one.

    At intermediate temperatures the wide well has most of the mass. It is left behind in the end, when no chain can
    cross the barrier anymore.
    """
    x = torch.linspace(-4, 4, 41, dtype=torch.float64)

    def well(mass: float, center: float, width: float) -> Tensor:
        return math.log(mass) + torch.log_softmax(-0.5 * ((x - center) / width).square(), 0)

    log_f0 = -0.5 * (x / 1.5).square()
    log_f1 = torch.logaddexp(well(0.3, -2.0, 0.7), well(0.7, 2.0, 0.3))
    path = GeometricPath[Tensor](lambda state: log_f0[state], lambda state: log_f1[state])
    betas, states = torch.linspace(0, 1, temperatures + 1, dtype=torch.float64), torch.arange(len(x))
    laws = [torch.softmax(path.log_f(states, beta), 0) for beta in betas[1:].tolist()]
    return Annealing(path, states, betas, [metropolis_matrix(neighbors(len(x)), law) for law in laws]), x < 0


def random_machine(units: int, seed: int = 0, scale: float = 0.6) -> BoltzmannMachine:
    """A machine of spins with couplings between all units."""
    generator = torch.Generator().manual_seed(seed)
    coupling = scale * torch.randn(units, units, dtype=torch.float64, generator=generator).triu(1)
    return BoltzmannMachine(coupling + coupling.T, scale * torch.randn(units, dtype=torch.float64, generator=generator))


def random_restricted(visible: int = 3, hidden: int = 3, seed: int = 1) -> tuple[BoltzmannMachine, BoltzmannMachine]:
    """A restricted Boltzmann machine of 0/1 units, and one without couplings to start from."""
    generator = torch.Generator().manual_seed(seed)
    weight, a, c = (
        1.5 * torch.randn(*shape, dtype=torch.float64, generator=generator)
        for shape in ((visible, hidden), (visible,), (hidden,))
    )
    machine = restricted(weight, a, c)
    return machine, independent(torch.zeros_like(machine.field), machine.values)


def sweep_matrix(machine: BoltzmannMachine, order: list[int]) -> Tensor:
    """A sweep over units in the given order as a column-stochastic matrix ``[2^n, 2^n]``."""
    matrix = torch.eye(2**machine.units, dtype=torch.float64)
    for unit in order:
        matrix = machine.update_matrix(unit) @ matrix
    return matrix


class LogPartition(NamedTuple):
    """Estimates of ``log Z_1 / Z_0`` in nats from K + 1 inverse temperatures, by name."""

    truth: float
    annealing: float
    """``E[log w]`` forward."""
    reverse: float
    """``E[log w]`` in reverse from exact draws."""
    left: float
    """Slopes at the left of every interval."""
    right: float
    """Slopes at its right."""
    trapezoid: float
    corrected: float


def log_partition_by(machine: BoltzmannMachine, base: BoltzmannMachine, temperatures: int) -> LogPartition:
    """The normalizer of a machine relative to a base, by enumeration, annealing and thermodynamic integration."""
    states = torch.cat([*machine.states()])
    betas = torch.linspace(0, 1, temperatures + 1, dtype=torch.float64)
    log_g = machine.log_f(states) - base.log_f(states)
    laws = torch.softmax(base.log_f(states) + betas[:, None] * log_g, 1)
    means = laws @ log_g
    variances = laws @ log_g.square() - means.square()
    between = [machine.tempered(base, beta) for beta in betas[1:].tolist()]
    sweeps = [sweep_matrix(each, palindrome(each.units)) for each in between]
    run = Annealing(GeometricPath(base.log_f, machine.log_f), states, betas, sweeps)
    return LogPartition(
        truth=float(machine.log_partition() - base.log_partition()),
        annealing=run.forward()[1],
        reverse=float((laws[-1] * run.reverse()[1]).sum()),
        left=float(means[:-1].mean()),
        right=float(means[1:].mean()),
        trapezoid=float(thermodynamic_integral(betas, means)),
        corrected=float(thermodynamic_integral(betas, means, variances)),
    )
