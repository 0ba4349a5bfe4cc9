r"""Langevin dynamics along a path of densities, with and without the correction of Metropolis and Hastings.

The stochastic differential equation :math:`dx = \nabla \log f\,dt + \sqrt{2 T}\,dB` has the stationary density
:math:`f^{1/T}`. One Euler step of size η draws y from

.. math:: q(y \mid x) = N(y;\ x + \eta \nabla \log f(x),\ 2 \eta T I),

which is not in detailed balance with that density. At T = 1, with g for the gradient of log f and δ = y - x, it lacks

.. math:: r = \log \frac{f(y)\,q(x \mid y)}{f(x)\,q(y \mid x)} = \log f(y) - \log f(x)
          - \tfrac12 \langle \delta, g(x) + g(y) \rangle + \tfrac\eta4 (|g(x)|^2 - |g(y)|^2)
          = O(\eta^{3/2}),

since the trapezoidal rule for the integral of g along δ errs by :math:`O(\delta^3)`, :math:`\delta = O(\sqrt\eta)`, and
both factors of the last term are small. On a Gaussian of variance σ² the error of the rule vanishes, and the chain is
reversible in a Gaussian of variance :math:`\sigma^2 / (1 - \eta / 2 \sigma^2)`; for :math:`\eta \ge 2 \sigma^2` it
diverges.

Accepting y with probability :math:`\min(1, e^r)` makes the chain reversible in f (MALA: Roberts & Tweedie 1996,
https://doi.org/10.2307/3318418). In many dimensions the best step size accepts 57 % of the proposals, and that of a
random walk 23 % (Roberts & Rosenthal 1998, https://doi.org/10.1111/1467-9868.00123).
"""

from __future__ import annotations

from functools import cached_property

import torch
from torch import Tensor
from typing_extensions import override

from genmodels.mcmc.annealed_law import AnnealedLaw
from genmodels.mcmc.paths import DifferentiablePath, LogDensity, Path, State, select
from genmodels.mcmc.references import NormalDensity


def force(path: DifferentiablePath, state: State, beta: float, largest: float | None = None) -> Tensor:
    """``grad log f_b(x) [N, d]``, or what drives a step in its place.

    A gradient whose norm exceeds ``largest`` is scaled down to it, so that no step is driven far (truncated Langevin
    steps: Roberts & Tweedie 1996).
    """
    gradient = path.gradient(state, beta)
    if largest is None:
        return gradient
    return gradient * (largest / gradient.norm(dim=1, keepdim=True)).clamp(max=1)


def moved(x: Tensor, driven: Tensor, step_size: Tensor, temperature: float) -> Tensor:
    """Draw ``x + η force + sqrt(2 η T) ε [N, d]`` for forces ``driven [N, d]`` and sizes η ``step_size [N]``."""
    eta = step_size[:, None]
    return torch.addcmul(x, eta, driven).addcmul_((2 * temperature * eta).sqrt(), torch.randn_like(x))


def langevin(
    path: DifferentiablePath,
    state: State,
    beta: float,
    step_size: Tensor,
    temperature: float = 1.0,
    largest: float | None = None,
) -> tuple[State, Tensor]:
    """One unadjusted step, whose stationary density approaches ``f_b^(1/T)`` as the step size goes to zero.

    Args:
        path: densities ``f_b`` on ``R^d``.
        state: state of N chains.
        beta: inverse temperature b in [0, 1] of the path.
        step_size: η ``[N]``, one per chain.
        temperature: T of the noise.
        largest: largest norm of the gradient, see :func:`force`; ``None`` for no limit.

    Returns:
        The new state, and ones ``[N]``, since every step is taken.
    """
    here = force(path, state, beta, largest)
    return path.state(moved(state.x, here, step_size, temperature)), torch.ones_like(state.log_g)


def mala(
    path: DifferentiablePath,
    state: State,
    beta: float,
    step_size: Tensor,
    temperature: float = 1.0,
    largest: float | None = None,
) -> tuple[State, Tensor]:
    """One Metropolis-adjusted step, which leaves ``f_b^(1/T)`` invariant and is reversible.

    Arguments are those of :func:`langevin`. A proposal whose density is not finite is rejected.

    Returns:
        The new state, and the probability ``[N]`` with which the proposal of each chain was accepted.
    """
    here = force(path, state, beta, largest)
    proposal = path.state(moved(state.x, here, step_size, temperature))
    there = force(path, proposal, beta, largest)
    asymmetry = log_proposal_ratio(proposal.x - state.x, here, there, step_size)
    r = (log_f_gain(state, proposal, beta) + asymmetry) / temperature
    probability = acceptance(r, path.log_f(proposal, beta))
    return select(torch.rand_like(probability) < probability, proposal, state), probability


def acceptance(log_ratio: Tensor, log_f: Tensor) -> Tensor:
    """``min(1, e^r) [N]``, or zero where the proposal's ``log_f [N]`` is not finite or r is undefined."""
    return torch.where(log_f.isfinite() & ~log_ratio.isnan(), log_ratio.clamp(max=0).exp(), 0)


def defect(
    path: DifferentiablePath,
    before: State,
    after: State,
    beta: float,
    step_size: Tensor,
    temperature: float = 1.0,
    largest: float | None = None,
) -> Tensor:
    """``log f(y) q(x|y) - log f(x) q(y|x) [N]`` in nats, float64, of a step of :func:`langevin` from x to y.

    It is what detailed balance in ``f = f_b`` lacks, and the correction of the weights of annealing, see
    :func:`genmodels.mcmc.forward`. The temperature is that of the noise in q alone: weights corrected so estimate
    normalizers of ``f_b`` itself, whatever the temperature.
    """
    here, there = (force(path, state, beta, largest) for state in (before, after))
    asymmetry = log_proposal_ratio(after.x - before.x, here, there, step_size)
    return log_f_gain(before, after, beta).double() + asymmetry.double() / temperature


def log_f_gain(before: State, after: State, beta: float) -> Tensor:
    """``log f_b(y) - log f_b(x) [N]`` in nats."""
    return (after.log_f0 - before.log_f0).sum(1) + beta * (after.log_g - before.log_g)


def log_proposal_ratio(step: Tensor, here: Tensor, there: Tensor, step_size: Tensor) -> Tensor:
    """``log q(x|y) - log q(y|x) [N]`` in nats, at T = 1, for ``step = y - x`` and the forces at x and y, ``[N, d]``.

    The two squares are multiplied out, so that the noise, far larger than their difference, leaves no rounding error.
    """
    half = torch.addcmul(step, 0.5 * step_size[:, None], there - here)
    return -0.5 * torch.linalg.vecdot(here + there, half)


def metropolis(path: Path[Tensor], state: Tensor, beta: float, proposal: Tensor) -> tuple[Tensor, Tensor]:
    """One step of Metropolis et al. (1953), which leaves ``f_b`` invariant and is reversible.

    A proposal whose density is not finite is rejected.

    Args:
        path: densities or masses ``f_b`` of states of any type.
        state: states ``[N, ...]`` of N chains.
        beta: inverse temperature b in [0, 1].
        proposal: states ``[N, ...]`` drawn from a symmetric law, ``D(y|x) = D(x|y)``, such as a random walk.

    Returns:
        The new states, and the probability ``[N]`` with which the proposal of each chain was accepted.
    """
    log_f = path.log_f(proposal, beta)
    probability = acceptance(log_f - path.log_f(state, beta), log_f)
    accept = torch.rand_like(probability) < probability
    return torch.where(accept.view(-1, *[1] * (state.dim() - 1)), proposal, state), probability


class LangevinAnnealed(AnnealedLaw[State]):
    """The law of points after one Langevin step at each of T inverse temperatures, from a reference density.

    Args:
        log_g: ``x [N, D] -> log f_1/f_0 [N]``, differentiable.
        reference: ``f_0``.
        betas: inverse temperatures ``[T + 1]``.
        step_size: η at ``b = 1``, or a tensor ``[]`` with it, which steps at ``b = 1`` do not read from its device.
        adjusted: accept and reject steps (:func:`mala`); if not, every step is taken and its defect enters the weights.
        largest: largest norm of the gradient in a step, see :func:`force`; ``None`` for no limit.
        first: η at ``b = 0``, from which it goes to that at ``b = 1`` in equal ratios, since densities narrow on the
            way; ``None`` for the same at all.
    """

    path: DifferentiablePath

    def __init__(
        self,
        log_g: LogDensity[Tensor],
        reference: NormalDensity,
        betas: Tensor,
        step_size: float | Tensor,
        adjusted: bool,
        largest: float | None = None,
        first: float | None = None,
    ) -> None:
        super().__init__(DifferentiablePath(log_g, reference), betas, reference.log_z0)
        self.reference = reference
        self.step_size, self.adjusted, self.largest, self.first = step_size, adjusted, largest, first

    @override
    def draw(self, n: int) -> State:
        return self.state(self.reference.draw(n))

    @override
    def state(self, y: Tensor) -> State:
        return self.path.state(y)

    @override
    def position(self, state: State) -> Tensor:
        return state.x

    @override
    def transition(self, state: State, beta: float, t: int) -> tuple[State, Tensor]:
        step = mala if self.adjusted else langevin
        return step(self.path, state, beta, self._step_sizes(state, beta), largest=self.largest)

    @override
    def defect(self, before: State, after: State, beta: float, t: int) -> Tensor | float:
        if self.adjusted:
            return 0.0
        return defect(self.path, before, after, beta, self._step_sizes(before, beta), largest=self.largest)

    def _step_sizes(self, state: State, beta: float) -> Tensor:
        eta = self.step_size if self.first is None or beta == 1 else self.first ** (1 - beta) * self._last**beta
        if isinstance(eta, Tensor):
            return eta.to(state.log_g).expand(len(state.x))
        return state.log_g.new_full((len(state.x),), eta)

    @cached_property
    def _last(self) -> float:
        """η at ``b = 1``, as a number of double precision."""
        return float(self.step_size)
