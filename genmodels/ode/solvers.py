"""Solvers and their settings: Runge-Kutta methods of fixed steps, and one that adapts its steps to a tolerance."""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import Any, ClassVar

import torch
from torch import Tensor
from typing_extensions import override

from genmodels.errors import ensure_counts, ensure_numbers

MOST_STEPS = 2000  # of dopri5, after which it gives up
TYPICAL_STEPS = 15  # of dopri5 at a tolerance of 1e-5 for the flow of a trained network


class Solver(ABC):
    """A method of integration with its settings.

    Attributes:
        method: its name.
        adaptive: whether it chooses its steps by an estimate of their errors.
    """

    method: ClassVar[str]
    adaptive: ClassVar[bool] = False

    @abstractmethod
    def arguments(self, interval: Tensor) -> dict[str, Any]:
        """Keyword arguments of ``torchdiffeq.odeint`` for the two ends of an ``interval [2]``."""

    @property
    @abstractmethod
    def evaluations(self) -> int:
        """Number of evaluations of a velocity, by which costs are planned; of an adaptive solver about that number."""

    @property
    @abstractmethod
    def protocol(self) -> dict[str, Any]:
        """The settings that someone else needs in order to solve in the same way, as plain types."""


@dataclass(frozen=True)
class FixedStep(Solver):
    """A method of equal steps, whose gradients are those of its own arithmetic.

    Args:
        steps: number of steps from one end of the interval to the other.

    Raises:
        ValueError: if steps is less than 1.
    """

    steps: int = 20
    stages: ClassVar[int]

    def __post_init__(self) -> None:
        ensure_counts(steps=self.steps)

    @override
    def arguments(self, interval: Tensor) -> dict[str, Any]:
        t0, t1 = interval.tolist()
        grid = torch.linspace(t0, t1, self.steps + 1, dtype=interval.dtype, device=interval.device)
        return {"method": self.method, "options": {"grid_constructor": lambda *_: grid}}

    @property
    @override
    def evaluations(self) -> int:
        return self.steps * self.stages

    @property
    @override
    def protocol(self) -> dict[str, Any]:
        return {"solver": self.method, "steps": self.steps}


class Euler(FixedStep):
    """``x + h v(t, x)``: order 1, one evaluation per step."""

    method = "euler"
    stages = 1


class Midpoint(FixedStep):
    """``x + h v(t + h/2, x + h/2 v(t, x))``: order 2, two evaluations per step."""

    method = "midpoint"
    stages = 2


class RK4(FixedStep):
    """Kutta's 3/8 rule (1901): order 4, four evaluations per step."""

    method = "rk4"
    stages = 4


class ShiftedRK4(RK4):
    """:class:`RK4` on a grid that is shifted at random for every solution, to train a velocity through its solver.

    On the same grid every time, training makes the velocity right for these steps only, as their error is part of what
    it minimizes. The step that the shift divides is taken in two parts, at either end, so that there is one more.
    """

    @override
    def arguments(self, interval: Tensor) -> dict[str, Any]:
        inner = torch.arange(self.steps, dtype=interval.dtype) + torch.rand(())
        share = torch.cat([inner.new_zeros(1), inner / self.steps, inner.new_ones(1)]).to(interval.device)
        grid = torch.lerp(interval[0], interval[1], share)
        return {"method": self.method, "options": {"grid_constructor": lambda *_: grid}}

    @property
    @override
    def evaluations(self) -> int:
        return (self.steps + 1) * self.stages


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
    method: ClassVar[str] = "dopri5"
    adaptive: ClassVar[bool] = True

    def __post_init__(self) -> None:
        ensure_numbers(above=0, below=1, tolerance=self.tolerance)

    @override
    def arguments(self, interval: Tensor) -> dict[str, Any]:
        return {
            "method": self.method,
            "rtol": self.tolerance,
            "atol": self.tolerance,
            "options": {"step_t": interval[1:], "max_num_steps": MOST_STEPS},
        }

    @property
    @override
    def evaluations(self) -> int:
        return 6 * math.ceil(TYPICAL_STEPS * (1e-5 / self.tolerance) ** 0.2)  # an error per step of order h^5

    @property
    @override
    def protocol(self) -> dict[str, Any]:
        return {"solver": self.method, "tolerance": self.tolerance}
