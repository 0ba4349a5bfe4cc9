"""How a flow changes volumes: the log-determinant of its Jacobian is the integral of its velocity's divergence.

For ``dx/dt = v(t, x)``, whose map takes x(t0) to x(t1) (Chen et al. 2018, theorem 1, arXiv:1806.07366),

    log |det ∂x(t1)/∂x(t0)| = ∫_{t0}^{t1} tr(∂v/∂x) dt        log p(x(t1)) = log p(x(t0)) - log |det ∂x(t1)/∂x(t0)|
"""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

from genmodels.errors import ensure
from genmodels.ode.integrate import integrate
from genmodels.ode.solvers import Solver

EXACT_UP_TO = 16  # largest dimension for which the trace of the Jacobian is computed exactly


def random_signs(x: Tensor, probes: int | None = None) -> Tensor | None:
    """Independent signs ``[P, *x.shape]`` to estimate traces with (Rademacher probes), or ``None`` for exact traces.

    Args:
        x: ``[B, *shape]``.
        probes: P; ``None`` takes exact traces up to D = 16 and one probe above.
    """
    count = probes_of(x[0].numel(), probes)
    if count is None:
        return None
    return torch.randint(0, 2, (count, *x.shape), device=x.device).to(x.dtype) * 2 - 1


def probes_of(dims: int, probes: int | None = None) -> int | None:
    """The number of probes that :func:`random_signs` draws for D = ``dims``; ``None`` for exact traces."""
    return (None if dims <= EXACT_UP_TO else 1) if probes is None else probes


def trace_protocol(dims: int, probes: int | None = None) -> str:
    """How traces are computed, in words.

    >>> trace_protocol(2), trace_protocol(64)
    ('exact', '1 Rademacher probes')
    """
    count = probes_of(dims, probes)
    return "exact" if count is None else f"{count} Rademacher probes"


def unit_vectors(x: Tensor) -> Tensor:
    """The D unit vectors of one example of ``x [B, *shape]``: ``[D, 1, *shape]``.

    >>> unit_vectors(torch.zeros(5, 2, 3)).shape
    torch.Size([6, 1, 2, 3])
    """
    return torch.eye(x[0].numel(), dtype=x.dtype, device=x.device).view(-1, 1, *x.shape[1:])


def divergence(output: Tensor, x: Tensor, directions: Tensor, create_graph: bool = False) -> Tensor:
    """``Σ_k v_k · (∂output/∂x) v_k [B]`` over K directions v_k, by K vector-Jacobian products.

    It is the trace of the Jacobian for the D unit vectors, and an unbiased estimate of it for random directions with
    ``Σ_k E[v_k v_kᵀ] = I`` (Hutchinson 1990; Grathwohl et al. 2019, eq. 7, arXiv:1810.01367).

    Args:
        output: ``[B, *shape]``, of which every example depends on its own example of ``x`` alone.
        x: ``[B, *shape]``, requiring a gradient.
        directions: ``[K, B or 1, *shape]``.
        create_graph: make the result differentiable.

    >>> x = torch.tensor([[1.0, 2.0]], requires_grad=True)
    >>> divergence(x.square(), x, unit_vectors(x))
    tensor([6.])
    """
    total = x.new_zeros(len(x))
    for v in directions.expand(-1, *x.shape):
        (product,) = torch.autograd.grad(output, x, v, retain_graph=True, create_graph=create_graph)
        total = total + (product * v).flatten(1).sum(1)
    return total


def integrate_with_log_det(
    velocity: Callable[[Tensor, Tensor], Tensor],
    x: Tensor,
    t0: float,
    t1: float,
    solver: Solver,
    probes: Tensor | None = None,
) -> tuple[Tensor, Tensor, int]:
    """:func:`integrate`, with the log-determinant of the map from t0 to t1, solved for together with the state.

    Both are differentiable where gradients are recorded, which costs second derivatives of ``velocity``. An adaptive
    solver holds the log-determinant to its tolerance too.

    Args:
        velocity: from the time ``[]`` and ``x [B, *shape]`` to ``dx/dt [B, *shape]``, differentiable in x, each example
            depending on itself alone.
        x: ``[B, *shape]``, the state at t0, in the dtype of all computation.
        t0: initial time.
        t1: final time; it may lie before t0.
        solver: the method of integration.
        probes: random directions ``[P, B, *shape]`` of mean 0 and covariance I, the same along the whole path, which
            estimate every trace by P vector-Jacobian products; ``None`` takes the exact trace by D of them.

    Returns:
        The state at t1 ``[B, *shape]``, ``log |det ∂x(t1)/∂x(t0)| [B]`` in nats, and the number of evaluations.

    Raises:
        ValueError: if the times are equal, or the probes do not fit ``x``.
    """
    if probes is None:
        directions = unit_vectors(x)
    else:
        fits = len(probes) > 0 and probes.shape[1:] == x.shape
        ensure(fits, f"probes must be [P, *{tuple(x.shape)}] for this x, got {tuple(probes.shape)}.")
        directions = probes.to(x) / len(probes) ** 0.5

    def derivative(t: Tensor, state: tuple[Tensor, ...]) -> tuple[Tensor, ...]:
        differentiable = torch.is_grad_enabled()
        with torch.enable_grad():
            here = state[0] if differentiable else state[0].detach()
            here = here if here.requires_grad else here.detach().requires_grad_()
            v = velocity(t, here)
            trace = divergence(v, here, directions, create_graph=differentiable)
        return (v, trace) if differentiable else (v.detach(), trace.detach())

    (end, log_det), evaluations = integrate(derivative, (x, x.new_zeros(len(x))), t0, t1, solver)
    return end, log_det, evaluations
