"""The solution of an initial value problem, by torchdiffeq, with the number of evaluations it took."""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeVar

import torch
from torch import Tensor

from genmodels.errors import ensure
from genmodels.ode.solvers import Solver

State = TypeVar("State", Tensor, tuple[Tensor, ...])


def integrate(
    velocity: Callable[[Tensor, State], State], x: State, t0: float, t1: float, solver: Solver
) -> tuple[State, int]:
    """Solve ``dx/dt = velocity(t, x)`` from ``x`` at t0 for the state at t1, which may lie before t0.

    Gradients follow autograd's rules. Where they are recorded, the whole solution is differentiable with respect to
    ``x`` and to every parameter inside ``velocity``: they are the exact derivatives of the steps that were taken, at a
    memory that grows with their number. Under ``torch.no_grad()`` nothing is kept.

    Args:
        velocity: from the time ``[]`` and a state to the state's derivative, shaped as the state.
        x: the initial state, ``[B, *shape]`` or a tuple of tensors of any shapes, in the dtype of all computation.
        t0: initial time.
        t1: final time.
        solver: the method of integration.

    Returns:
        The state at t1, shaped as ``x``, and the number of evaluations of ``velocity``.

    Raises:
        ValueError: if the two times are equal.
        FloatingPointError: if an adaptive solver does not reach t1, because the velocity is not finite or too stiff, or
            the tolerance too small for the dtype.

    >>> from genmodels.ode import RK4
    >>> x, evaluations = integrate(lambda t, x: -x, torch.ones(1, 1), 0.0, 1.0, RK4(steps=10))
    >>> round(x.item(), 4), evaluations
    (0.3679, 40)
    """
    from torchdiffeq import odeint  # imported here, because few runs solve an ODE

    ensure(t0 != t1, f"t1 must differ from t0, got {t0} for both.")
    evaluations = 0

    def counted(t: Tensor, state: State) -> State:
        nonlocal evaluations
        evaluations += 1
        return velocity(t, state)

    like = x if isinstance(x, Tensor) else x[0]
    interval = torch.tensor([t0, t1], dtype=like.dtype, device=like.device)
    try:
        path = odeint(counted, x, interval, **solver.arguments(interval))
    except AssertionError as error:  # an adaptive step became too short for the dtype, or there were too many
        reason = f"after {evaluations} evaluations: {error}" if str(error) else f"after {evaluations} evaluations"
        raise FloatingPointError(f"{solver.method} could not follow the ODE to its end, {reason}") from error
    return path[-1] if isinstance(x, Tensor) else tuple(part[-1] for part in path), evaluations
