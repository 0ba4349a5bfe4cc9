"""Solvers and their settings: Runge-Kutta methods of fixed steps, and one that adapts its steps to a tolerance."""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import Any, ClassVar

import torch
from torch import Tensor
from typing_extensions import override

from genmodels.errors import ensure_counts, ensure_numbers


class Solver(ABC):
    """A method of integration with its settings."""

    @abstractmethod
    def arguments(self, interval: Tensor) -> dict[str, Any]:
        """Keyword arguments of ``torchdiffeq.odeint`` for the two ends of an ``interval [2]``."""


@dataclass(frozen=True)
class FixedStep(Solver):
    """A method of equal steps, whose gradients are those of its own arithmetic.

    Args:
        steps: number of steps from one end of the interval to the other.

    Raises:
        ValueError: if steps is less than 1.
    """

    steps: int = 20
    method: ClassVar[str]

    def __post_init__(self) -> None:
        ensure_counts(steps=self.steps)

    @override
    def arguments(self, interval: Tensor) -> dict[str, Any]:
        t0, t1 = interval.tolist()
        grid = torch.linspace(t0, t1, self.steps + 1, dtype=interval.dtype, device=interval.device)
        return {"method": self.method, "options": {"grid_constructor": lambda *_: grid}}


class Euler(FixedStep):
    """``x + h v(t, x)``: order 1, one evaluation per step."""

    method = "euler"


class Midpoint(FixedStep):
    """``x + h v(t + h/2, x + h/2 v(t, x))``: order 2, two evaluations per step."""

    method = "midpoint"


class RK4(FixedStep):
    """Kutta's 3/8 rule (1901): order 4, four evaluations per step."""

    method = "rk4"


@dataclass(frozen=True)
class Dopri5(Solver):
    """Dormand & Prince's adaptive method of order 5 (1980); all examples of a batch share the steps.

    The last step ends at the end of the interval and does not look beyond it, where the velocity may be undefined.

    Args:
        tolerance: relative and absolute, of the error that a step may make. Float32 has digits for about 1e-6.

    Raises:
        ValueError: if the tolerance is not between 0 and 1.
    """

    tolerance: float = 1e-5

    def __post_init__(self) -> None:
        ensure_numbers(above=0, below=1, tolerance=self.tolerance)

    @override
    def arguments(self, interval: Tensor) -> dict[str, Any]:
        return {
            "method": "dopri5",
            "rtol": self.tolerance,
            "atol": self.tolerance,
            "options": {"step_t": interval[1:]},
        }
