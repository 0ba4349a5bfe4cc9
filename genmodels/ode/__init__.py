"""Ordinary differential equations ``dx/dt = velocity(t, x)``: solvers, gradients through them, and log-determinants."""

from genmodels.ode.integrate import integrate
from genmodels.ode.log_det import (
    divergence,
    integrate_with_energies,
    integrate_with_log_det,
    random_signs,
    trace_protocol,
    unit_vectors,
)
from genmodels.ode.solvers import RK4, Dopri5, Euler, Midpoint, ShiftedRK4, Solver

__all__ = [
    "RK4",
    "Dopri5",
    "Euler",
    "Midpoint",
    "ShiftedRK4",
    "Solver",
    "divergence",
    "integrate",
    "integrate_with_energies",
    "integrate_with_log_det",
    "random_signs",
    "trace_protocol",
    "unit_vectors",
]
