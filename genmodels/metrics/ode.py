"""Log-likelihood by the ODE of a diffusion model or a continuous flow: an estimate, at two tolerances."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch
from torch import Tensor
from typing_extensions import override

from genmodels.core import Kind, Score
from genmodels.core.abilities import HasProbabilityFlow
from genmodels.core.quantization import log_mass, unit_to_symmetric
from genmodels.core.randomness import EVALUATION, stream
from genmodels.errors import ensure_counts, ensure_numbers
from genmodels.hardware import require_memory
from genmodels.metrics.base import Evaluation, Subject, evenly_spaced
from genmodels.metrics.likelihood import convergence, likelihood_score
from genmodels.metrics.processes import map_over_ranks
from genmodels.ode import random_signs, trace_protocol

if TYPE_CHECKING:
    from genmodels.data import DataModule
    from genmodels.models.base import BaseModel


class ProbabilityFlowEvaluation(Evaluation):
    """Scores ``ode_bits_per_dim`` or ``ode_nats``: the density of the ODE's samples.

    That is the probability flow of a diffusion model (Song et al. 2021, §4.3, arXiv:2011.13456), or a continuous flow
    itself. Integers are dequantized uniformly
    (:func:`genmodels.core.quantization.log_mass`). The score is an estimate: the errors of solver and trace may have
    either sign. It is computed at ``tolerance`` and at a tenth of it with the same noise. The value at the finer
    tolerance is the score, flagged if the two values differ by more than its standard error.

    Args:
        tolerance: relative and absolute tolerance of the adaptive solver.
        max_examples: limit on the number of test examples, evenly spaced; ``None`` for all.
        dequantization_samples: draws K of dequantization noise per example, on integers.
        probes: random directions of Hutchinson's trace estimator; ``None`` for the exact trace up to 16 dimensions and
            one probe above.
        batch_size: examples per call of the solver, which share its step sizes.

    Raises:
        ValueError: for a tolerance outside (0, 1), or a number below 1.
    """

    def __init__(
        self,
        tolerance: float = 1e-4,
        max_examples: int | None = 100,
        dequantization_samples: int = 1,
        probes: int | None = None,
        batch_size: int = 50,
    ) -> None:
        ensure_numbers(above=0, below=1, tolerance=tolerance)
        ensure_counts(optional=True, max_examples=max_examples, probes=probes)
        ensure_counts(dequantization_samples=dequantization_samples, batch_size=batch_size)
        self.tolerance = tolerance
        self.max_examples = max_examples
        self.dequantization_samples = dequantization_samples
        self.probes = probes
        self.batch_size = batch_size

    @override
    def unsupported_reason(self, model: BaseModel, data: DataModule) -> str | None:
        name = type(model).__name__
        if isinstance(model, HasProbabilityFlow):
            if model.no_flow_reason is not None:
                return f"{name} has no ODE from noise to data here: {model.no_flow_reason}."
            rows = min(self.batch_size, self.max_examples or self.batch_size)
            require_memory(4 * rows * model.spec.dims * (self.probes or 1), f"ode with probes={self.probes}")
            return None
        return f"{name} has no ODE from noise to data that would give its samples a density."

    def measure(self, subject: Subject) -> list[Score]:
        """The estimate at the finer tolerance; its protocol holds the difference from the coarser one."""
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
        protocol = {
            "split": "test",
            "of": len(test),
            "tolerance": fine,
            "solver": "dopri5",
            "dequantization_samples": self.dequantization_samples if spec.is_discrete else None,
            "trace": trace_protocol(spec.dims, self.probes),
            "evaluations": passes[1],
            **convergence(nats, rough, spec, tolerance=coarse, evaluations=passes[0]),
        }
        return [likelihood_score(nats, spec, Kind.ESTIMATE, protocol, "ode_{}", incidental=("evaluations",))]

    def solve(self, subject: Subject, x: Tensor, batch: int, tolerance: float) -> tuple[Tensor, int]:
        """Log-likelihoods ``[B]`` in nats of raw data ``x [B, *shape]``, and the number of network evaluations.

        The noise depends on the seed and the index ``batch`` only, and is therefore the same for every tolerance.
        """
        model, spec, device = subject.model, subject.model.spec, subject.model.device
        assert isinstance(model, HasProbabilityFlow)  # measure() is called only where there is no unsupported_reason
        passes = 0

        def log_density(u: Tensor) -> Tensor:
            nonlocal passes
            y, log_det = unit_to_symmetric(u, spec)
            nats, evaluations = model.flow_log_density(y, tolerance, random_signs(y, self.probes))
            passes += evaluations
            return nats + log_det

        with stream(subject.seed, EVALUATION, batch, device=device):
            nats = log_mass(x.to(device), spec, log_density, self.dequantization_samples)
        return nats.cpu(), passes
