"""The density that an ODE gives to a model's samples: an estimate, compared with one at a different tolerance."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch
from torch import Tensor

from genmodels.core import Kind, Score
from genmodels.core.abilities import HasProbabilityFlow
from genmodels.core.quantization import log_mass, unit_to_symmetric
from genmodels.core.randomness import EVALUATION, stream
from genmodels.errors import require
from genmodels.metrics.base import Evaluation, Subject, evenly_spaced
from genmodels.metrics.likelihood import in_unit, likelihood_score
from genmodels.metrics.processes import map_over_ranks

if TYPE_CHECKING:
    from genmodels.data import DataModule
    from genmodels.models.base import BaseModel

EXACT_UP_TO = 16  # dimensions of which the trace of a Jacobian is taken exactly


class ProbabilityFlowEvaluation(Evaluation):
    """Scores ``ode_bits_per_dim``, or ``ode_nats``: the density of the ODE's samples (Song et al. 2021, §4.3).

    Integers are dequantized as for any other density (:func:`genmodels.core.quantization.log_mass`). Solver and trace
    leave errors of either sign, so that it is an estimate. It is computed at ``tolerance`` and at a tenth of it with
    the same noise; the finer one is the score, and it is flagged where the two differ by more than its standard error.

    Args:
        tolerance: of the adaptive solver, relative and absolute.
        max_examples: test examples, evenly spaced; ``None`` for all.
        dequantization_samples: draws K of dequantization noise, on integers.
        probes: random directions to estimate the trace with (Hutchinson); ``None``: exact up to 16 dimensions, else 1.
        batch_size: examples that go through the solver together.
    """

    def __init__(
        self,
        tolerance: float = 1e-4,
        max_examples: int | None = 100,
        dequantization_samples: int = 1,
        probes: int | None = None,
        batch_size: int = 50,
    ) -> None:
        require(0 < tolerance < 1, f"tolerance of ode must lie between 0 and 1, got {tolerance}.")
        counts = {"max_examples": max_examples, "dequantization_samples": dequantization_samples, "probes": probes}
        for name, value in {**counts, "batch_size": batch_size}.items():
            require(value is None or value >= 1, f"{name} of ode must be at least 1, got {value}.")
        self.tolerance = tolerance
        self.max_examples = max_examples
        self.dequantization_samples = dequantization_samples
        self.probes = probes
        self.batch_size = batch_size

    def unsupported_reason(self, model: BaseModel, data: DataModule) -> str | None:
        """Explain that the model is without a probability flow ODE, if it is."""
        if isinstance(model, HasProbabilityFlow):
            return None
        return f"{type(model).__name__} has no probability flow ODE that would give its samples a density."

    def measure(self, subject: Subject) -> list[Score]:
        """The finer estimate, whose protocol holds its difference from the coarser one."""
        spec, test = subject.model.spec, subject.data.split("test")
        batches = evenly_spaced(test, self.max_examples or len(test)).split(self.batch_size)
        coarse, fine = self.tolerance, self.tolerance / 10
        found = map_over_ranks(
            lambda i: [self.solve(subject, batches[i], i, tolerance) for tolerance in (coarse, fine)],
            len(batches),
            "probability flow",
        )
        rough, nats = (torch.cat([each[which][0] for each in found]) for which in (0, 1))
        passes = [sum(each[which][1] for each in found) / len(found) for which in (0, 1)]
        (_, value, se), (_, rough_value, _) = (in_unit(each, spec) for each in (nats, rough))
        difference = value - rough_value
        protocol = {
            "split": "test",
            "of": len(test),
            "tolerance": fine,
            "solver": "dopri5",
            "dequantization_samples": self.dequantization_samples if spec.is_discrete else None,
            "trace": "exact" if self._probes(spec.dims) is None else f"{self._probes(spec.dims)} Rademacher probes",
            "evaluations": passes[1],
            "coarse": {"tolerance": coarse, "difference": difference, "evaluations": passes[0]},
        }
        if se is not None and abs(difference) > se:
            protocol["flag"] = f"not converged: {abs(difference):.2g} from the value at ten times the tolerance"
        return [likelihood_score(nats, spec, Kind.ESTIMATE, protocol, "ode_{}", incidental=("evaluations",))]

    def solve(self, subject: Subject, x: Tensor, batch: int, tolerance: float) -> tuple[Tensor, int]:
        """``log p(x) [B]`` in nats of raw ``x [B, *shape]``, and evaluations; every tolerance gets the same noise."""
        model, spec, device = subject.model, subject.model.spec, subject.model.device
        assert isinstance(model, HasProbabilityFlow)  # measure() is called only where there is no unsupported_reason
        count, passes = self._probes(spec.dims), 0

        def log_density(u: Tensor) -> Tensor:
            nonlocal passes
            y, log_det = unit_to_symmetric(u, spec)
            probes = None
            if count is not None:
                probes = torch.randint(0, 2, (count, *y.shape), device=device).to(y.dtype) * 2 - 1
            nats, evaluations = model.flow_log_density(y, tolerance, probes)
            passes += evaluations
            return nats + log_det

        with stream(subject.seed, EVALUATION, batch, device=device):
            nats = log_mass(x.to(device), spec, log_density, self.dequantization_samples)
        return nats.cpu(), passes

    def _probes(self, dims: int) -> int | None:
        return (None if dims <= EXACT_UP_TO else 1) if self.probes is None else self.probes
