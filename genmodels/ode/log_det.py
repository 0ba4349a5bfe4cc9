"""How a flow changes volumes: the log-determinant of its Jacobian is the integral of its velocity's divergence.

For ``dx/dt = v(t, x)``, whose map takes x(t0) to x(t1) (Chen et al. 2018, theorem 1, arXiv:1806.07366),

    log |det ∂x(t1)/∂x(t0)| = ∫_{t0}^{t1} tr(∂v/∂x) dt        log p(x(t1)) = log p(x(t0)) - log |det ∂x(t1)/∂x(t0)|

Two more integrals along the path say how hard the flow is to solve (Finlay et al. 2020, arXiv:2002.02798): its kinetic
energy ``∫ |v|² dt``, which is least for straight paths of constant speed, and ``∫ |∂v/∂x|_F² dt``, which is small where
neighbors move alike.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator

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
    pairs = products(output, x, directions, create_graph)
    return total((product * v for v, product in pairs), x)


def products(output: Tensor, x: Tensor, directions: Tensor, create_graph: bool) -> Iterator[tuple[Tensor, Tensor]]:
    """Each direction v_k with ``(∂output/∂x)ᵀ v_k``, both ``[B, *shape]``; arguments as of :func:`divergence`."""
    for v in directions.expand(-1, *x.shape):
        (product,) = torch.autograd.grad(output, x, v, retain_graph=True, create_graph=create_graph)
        yield v, product


def total(parts: Iterable[Tensor], x: Tensor) -> Tensor:
    """The sum ``[B]`` over ``parts``, each ``[B, *shape]`` as x, and over all of their dimensions."""
    result = x.new_zeros(len(x))
    for part in parts:
        result = result + part.flatten(1).sum(1)
    return result


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
    directions = directions_of(x, probes)

    def rates(v: Tensor, here: Tensor, create_graph: bool) -> tuple[Tensor, ...]:
        return (divergence(v, here, directions, create_graph),)

    (end, log_det), evaluations = integrate(with_rates(velocity, rates), (x, x.new_zeros(len(x))), t0, t1, solver)
    return end, log_det, evaluations


def integrate_with_energies(
    velocity: Callable[[Tensor, Tensor], Tensor],
    x: Tensor,
    t0: float,
    t1: float,
    solver: Solver,
    probes: Tensor | None = None,
) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """:func:`integrate_with_log_det`, with two energies of the paths, which come from the same products.

    Returns:
        The state at t1 ``[B, *shape]``, ``log |det ∂x(t1)/∂x(t0)| [B]`` in nats, and ``∫ |v|² dt [B]`` and
        ``∫ |∂v/∂x|_F² dt [B]``, which are positive whichever time is the later one. With ``probes`` the last one is
        unbiased for one path, as is the log-determinant.

    Raises:
        ValueError: as :func:`integrate_with_log_det`.
    """
    directions, forward = directions_of(x, probes), 1.0 if t1 > t0 else -1.0

    def rates(v: Tensor, here: Tensor, create_graph: bool) -> tuple[Tensor, ...]:
        pairs = list(products(v, here, directions, create_graph))
        trace = total((product * direction for direction, product in pairs), here)
        squares = total((product.square() for _, product in pairs), here)
        return trace, forward * total([v.square()], here), forward * squares

    state = (x, *x.new_zeros(3, len(x)))
    (end, log_det, kinetic, jacobian), _ = integrate(with_rates(velocity, rates), state, t0, t1, solver)
    return end, log_det, kinetic, jacobian


def directions_of(x: Tensor, probes: Tensor | None) -> Tensor:
    """Directions ``[K, B or 1, *shape]`` for :func:`divergence`: the ``probes``, scaled, or all unit vectors.

    Raises:
        ValueError: if the probes do not fit ``x [B, *shape]``.
    """
    if probes is None:
        return unit_vectors(x)
    fits = len(probes) > 0 and probes.shape[1:] == x.shape
    ensure(fits, f"probes must be [P, *{tuple(x.shape)}] for this x, got {tuple(probes.shape)}.")
    return probes.to(x) / len(probes) ** 0.5


def with_rates(
    velocity: Callable[[Tensor, Tensor], Tensor], rates: Callable[[Tensor, Tensor, bool], tuple[Tensor, ...]]
) -> Callable[[Tensor, tuple[Tensor, ...]], tuple[Tensor, ...]]:
    """The derivative of a state ``(x, *integrals)``: the velocity, and what is integrated along with it.

    Args:
        velocity: from the time ``[]`` and ``x [B, *shape]`` to ``dx/dt [B, *shape]``.
        rates: from the velocity, the x that it depends on, and whether gradients are recorded, to the integrands.
    """

    def derivative(t: Tensor, state: tuple[Tensor, ...]) -> tuple[Tensor, ...]:
        differentiable = torch.is_grad_enabled()
        with torch.enable_grad():
            here = state[0] if differentiable else state[0].detach()
            here = here if here.requires_grad else here.detach().requires_grad_()
            v = velocity(t, here)
            found = (v, *rates(v, here, differentiable))
        return found if differentiable else tuple(part.detach() for part in found)

    return derivative
