r"""Annealed importance sampling (Neal 2001), in both directions (Grosse et al. 2015, arXiv:1511.02543).

Along a path ``f_b`` with normalizers ``Z_b``, inverse temperatures :math:`0 = b_0 < \dots < b_T = 1` and transitions
:math:`T_t` that leave :math:`f_{b_t}` invariant,

.. math:: x_0 \to^{T_1} x_1 \to \dots \to^{T_T} x_T, \qquad
          \log w = \sum_{t=1}^T \log \frac{f_{b_t}(x_{t-1})}{f_{b_{t-1}}(x_{t-1})}.

* :func:`forward` from an exact draw of ``f_0``: :math:`E[w] = Z_1/Z_0`, so that ``log w`` bounds ``log Z_1/Z_0`` from
  below in expectation.
* :func:`reverse` from an exact draw of ``f_1``: :math:`E[1/w] = Z_0/Z_1`, a bound from above. Draws that miss a mode
  of ``f_1`` give no bound.
* :func:`reverse` from any given x bounds from below the log-probability with which :func:`forward` arrives at x, its
  last state ``x_T ~ p_ann``: :math:`E[f_1(x) / (Z_0 w)] = p_{ann}(x)`, see :func:`raise_bound`.

Transitions with a density :math:`q_t` that are not reversible in :math:`f_{b_t}` serve as well, such as unadjusted
Langevin steps. Their defect :math:`\log f_{b_t}(x_t)\,q_t(x_{t-1}|x_t) - \log f_{b_t}(x_{t-1})\,q_t(x_t|x_{t-1})` is
then added to :math:`\log w`, and all three expectations hold (Doucet et al. 2022, arXiv:2208.07698, §2).

For a decoder p(x|z) with prior N(0, I) the path leads from the prior to the posterior, and ``Z_1/Z_0 = p(x)`` (Wu et
al. 2017, arXiv:1611.04273). An exact draw of the posterior is at hand for simulated data only, ``z ~ N(0, I)`` and
``x ~ p(x|z)``; the gap between the two bounds shows there how tight they are.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Generic, NamedTuple, TypeVar

import torch
from torch import Tensor

from genmodels.core import log_mean_exp
from genmodels.core.abilities import Progress
from genmodels.errors import ensure, ensure_counts, ensure_numbers
from genmodels.mcmc.paths import Path

S = TypeVar("S")
Kernel = Callable[[S, float, int], tuple[S, Tensor]]
"""``(state, beta, t) -> (state, acceptance)``: transition t in 1..T, which leaves ``f_beta`` invariant, of N chains.

The acceptance probabilities are ``[N]``; a Gibbs kernel returns ones. Kernels with tuned step sizes look those of
transition t up, see :func:`genmodels.mcmc.with_step_sizes`; others ignore t.
"""
Defect = Callable[[S, S, float, int], Tensor | float]
"""``(before, after, beta, t) -> [N]`` in nats: what transition t lacks of detailed balance in ``f_beta``."""


class Annealed(NamedTuple, Generic[S]):
    """Result of a run.

    Attributes:
        log_weight: ``log w [N]`` in nats, float64.
        state: last state: after :func:`forward` near ``f_1``, after :func:`reverse` near ``f_0``.
        acceptance: mean acceptance probability over chains and transitions.
    """

    log_weight: Tensor
    state: S
    acceptance: float


def sigmoid_schedule(temperatures: int, delta: float = 4.0) -> Tensor:
    r"""Inverse temperatures ``[temperatures + 1]``, float64, from exactly 0 to exactly 1 (Wu et al. 2017).

    :math:`b_t = (\tilde b_t - \tilde b_0) / (\tilde b_T - \tilde b_0)` with
    :math:`\tilde b_t = \sigma(\delta (2t/T - 1))`: dense at both ends.

    Raises:
        ValueError: if temperatures is less than 1, or delta is not positive.

    >>> sigmoid_schedule(4).tolist()
    [0.0, 0.1049..., 0.5, 0.8950..., 1.0]
    """
    ensure_counts(temperatures=temperatures)
    ensure_numbers(above=0, delta=delta)
    b = torch.sigmoid(delta * torch.linspace(-1, 1, temperatures + 1, dtype=torch.float64))
    return (b - b[0]) / (b[-1] - b[0])


def forward(
    path: Path[S],
    kernel: Kernel[S],
    state: S,
    betas: Tensor,
    progress: Progress = iter,
    defect: Defect[S] | None = None,
) -> Annealed[S]:
    """Anneal from ``f_0`` to ``f_1``: ``E[exp(log_weight)] = Z_1 / Z_0``.

    Args:
        path: densities ``f_b``.
        kernel: transitions that leave them invariant.
        state: exact draws of ``f_0``, one per chain.
        betas: inverse temperatures ``[T + 1]`` from 0 to 1, see :func:`sigmoid_schedule`.
        progress: wraps the iteration over transitions.
        defect: that of the transitions; ``None`` for transitions that leave ``f_b`` invariant.

    Raises:
        ValueError: for fewer than two inverse temperatures.
    """
    b = inverse_temperatures(betas)
    log_weight = accepted = torch.zeros((), dtype=torch.float64)
    for t in progress(range(1, len(b))):
        log_weight = log_weight + path.log_ratio(state, b[t - 1], b[t])
        before = state
        state, probability = kernel(before, b[t], t)
        if defect is not None:
            log_weight = log_weight + defect(before, state, b[t], t)
        accepted = accepted + probability.double()
    return Annealed(log_weight, state, float(accepted.mean()) / (len(b) - 1))


def reverse(
    path: Path[S],
    kernel: Kernel[S],
    state: S,
    betas: Tensor,
    progress: Progress = iter,
    defect: Defect[S] | None = None,
) -> Annealed[S]:
    """Anneal from ``f_1`` to ``f_0``, :func:`forward` run backward: ``E[exp(-log_weight)] = Z_0 / Z_1``.

    Args:
        path: densities ``f_b``.
        kernel: the reversals of the transitions of :func:`forward`: the same ones where these are reversible, as HMC
            and block Gibbs sweeps are; a sweep over single units in the opposite order.
        state: exact draws of ``f_1``, one per chain, for an upper bound; any states for :func:`raise_bound`. The chains
            of one example may start from copies of one draw.
        betas: inverse temperatures ``[T + 1]`` from 0 to 1, in the order of :func:`forward`.
        progress: wraps the iteration over transitions, of which the last comes first.
        defect: that of the transitions of :func:`forward`; ``None`` for transitions that leave ``f_b`` invariant.

    Raises:
        ValueError: for fewer than two inverse temperatures.
    """
    b = inverse_temperatures(betas)
    log_weight = accepted = torch.zeros((), dtype=torch.float64)
    for t in progress(range(len(b) - 1, 0, -1)):
        after = state
        state, probability = kernel(after, b[t], t)
        if defect is not None:
            log_weight = log_weight + defect(state, after, b[t], t)
        log_weight = log_weight + path.log_ratio(state, b[t - 1], b[t])
        accepted = accepted + probability.double()
    return Annealed(log_weight, state, float(accepted.mean()) / (len(b) - 1))


def inverse_temperatures(betas: Tensor) -> list[float]:
    """``betas [T + 1]`` as floats, at least two of them."""
    ensure(len(betas) >= 2, f"betas must hold at least two inverse temperatures, got {len(betas)}.")
    return [float(beta) for beta in betas.tolist()]


def lower_bound(log_weight: Tensor) -> Tensor:
    """``log mean w [B]`` over K chains of :func:`forward`, ``[K, B]``: in expectation at most ``log Z_1/Z_0``."""
    return log_mean_exp(log_weight)


def upper_bound(log_weight: Tensor) -> Tensor:
    """``-log mean 1/w [B]`` over K chains of :func:`reverse`, ``[K, B]``: in expectation at least ``log Z_1/Z_0``.

    It is a bound only if the chains started from exact draws of ``f_1``.
    """
    return -log_mean_exp(-log_weight)


def raise_bound(log_f1: Tensor, log_z0: float, log_weight: Tensor) -> Tensor:
    """Lower bound ``[B]`` in nats, in expectation, on ``log p_ann(x)`` (RAISE: Burda et al. 2015, arXiv:1412.8566).

    ``p_ann`` is the distribution of the last state of :func:`forward`. It approaches ``f_1 / Z_1`` as the
    temperatures become many.

    Args:
        log_f1: ``log f_1(x) [B]``.
        log_z0: ``log Z_0``.
        log_weight: ``[K, B]``, of K chains of :func:`reverse` that started at each x.
    """
    return log_f1 - log_z0 + log_mean_exp(-log_weight)
