"""A variance schedule that is learned with the model (Sohl-Dickstein et al. 2015, §2.4.1, arXiv:1503.03585)."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from genmodels.core.bumps import bump_functions
from genmodels.diffusion.schedules import log_snr, reciprocal
from genmodels.errors import ensure_counts

SMALLEST = 1e-6  # β_t, below which float32 could not tell a step from none
MARGIN = 1e-5  # between β_t and 1


class LearnedSchedule(nn.Module):
    """``β_t = σ(σ⁻¹(β_t⁰) + sum_j c_j g_j(t))`` for t >= 2, with bumps g_j; ``β_1 = β_1⁰`` stays fixed.

    A free β_1 would overfit: p(x_0 | x_1) could become arbitrarily narrow around the training data. The baseline β⁰ is
    that of :func:`log_snr`. For two levels it is that of :func:`reciprocal` and is not learned, since no gradient
    passes through draws of bits.

    Args:
        steps: T, at least 2.
        bumps: number of bumps, and of coefficients c.
        levels: number of levels of integer data, ``None`` for reals.
        highest: log SNR of the baseline at t = 1, see :func:`log_snr`.
        lowest: log SNR of the baseline at t = T.

    Raises:
        ValueError: if there are fewer than two steps or no bump, or for bad levels or log SNRs.
    """

    baseline: Tensor
    basis: Tensor

    def __init__(
        self,
        steps: int = 1000,
        bumps: int = 10,
        levels: int | None = None,
        highest: float | None = None,
        lowest: float = -5.0,
    ) -> None:
        super().__init__()
        ensure_counts(1, 1000, bumps=bumps)
        binary = levels == 2
        baseline = reciprocal(steps) if binary else log_snr(steps, highest, lowest, levels)
        self.register_buffer("baseline", baseline, persistent=False)
        self.register_buffer("basis", bump_functions(steps, bumps).double(), persistent=False)
        self.coefficients = None if binary else nn.Parameter(torch.zeros(bumps))

    def forward(self) -> Tensor:
        """``betas [T]``, float64."""
        if self.coefficients is None:
            return self.baseline
        logit = torch.logit(self.baseline) + self.basis @ self.coefficients.double()
        learned = SMALLEST + (1 - SMALLEST - MARGIN) * torch.sigmoid(logit)
        return torch.cat([self.baseline[:1], learned[1:]])
