"""How loose a bound on log p(x) is: its distance from an upper bound, on data simulated from the model."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any, NamedTuple

import torch
from torch import Tensor
from typing_extensions import override

from genmodels.core import Kind, Score, bits_per_dim, log_mean_exp
from genmodels.core.abilities import HasImportanceWeights, HasLikelihood
from genmodels.core.randomness import EVALUATION, stream
from genmodels.errors import ensure_counts, require
from genmodels.metrics.base import Evaluation, Subject, mean_and_error
from genmodels.metrics.processes import map_over_ranks

if TYPE_CHECKING:
    from genmodels.data import DataModule
    from genmodels.models.base import BaseModel

GAP = 5  # stream of random numbers; other metrics use 1 to 4
BATCH = 25  # simulated examples at a time, each with its latent, which may be a trajectory of T steps


class Sandwich(NamedTuple):
    """Bounds on ``log p(x)`` of a batch of simulated examples, each ``[B]`` float64 in nats.

    Attributes:
        upper: stochastic upper bound from K weights, one of them at the true latent.
        lower: the bound of ``log_likelihood`` with K samples.
        single: the bound with one sample, as the mean of K.
    """

    upper: Tensor
    lower: Tensor
    single: Tensor


def sandwich(log_weights: Tensor, log_weight: Tensor) -> Sandwich:
    """Bounds on ``log p(x)`` from both sides, for x simulated from the model together with its latent.

    The K-sample bound ``log (1/K) sum_k w_k`` lies below log p(x) in expectation (Burda et al. 2016, eq. 8). If the
    first latent is replaced by a draw from the posterior p(z|x), it lies above: in random order, this one and the other
    K - 1 have the density ``q(z_1|x) ... q(z_K|x) (1/K) sum_k w_k / p(x)``, so that the mean of the bound exceeds
    log p(x) by a divergence (Brekelmans et al. 2022, arXiv:2303.06992). The latent that x was simulated from is such a
    draw (Grosse et al. 2015, arXiv:1511.02543).

    Args:
        log_weights: ``[K, B]`` at latents from q(z|x).
        log_weight: ``[B]`` at the latents that the examples were simulated from.

    >>> sandwich(torch.tensor([[0.0], [0.0]]), torch.tensor([0.0]))
    Sandwich(upper=tensor([0.], dtype=torch.float64), lower=tensor([0.], dtype=torch.float64), \
single=tensor([0.], dtype=torch.float64))
    """
    drawn, exact = log_weights.double(), log_weight.double()[None]
    return Sandwich(log_mean_exp(torch.cat([exact, drawn[1:]])), log_mean_exp(drawn), drawn.mean(0))


class GapEvaluation(Evaluation):
    """Scores ``gap_k<K>``: the mean distance in nats between an upper and the lower bound on log p(x), from K weights.

    The examples are simulated from the model, since only then is a latent of the posterior known, which turns the
    K-sample lower bound into an upper one (:func:`sandwich`). The score estimates without bias an upper bound on the
    mean slack of the K-sample bound on data of the model's own distribution; the slack on test data may differ. The
    protocol holds the means of both bounds and ``slack_of_one_draw``, the distance of the one-sample bound from the
    upper one, in nats, and the gap in bits/dim for integers.

    Args:
        samples: K, importance samples of a VAE, dequantization noise of a flow, trajectories of a diffusion model.
        simulated: number of simulated examples, at least 2.
        max_passes: limit on the network passes, of which an example costs K + 2 times those of one likelihood; fewer
            examples are simulated to stay below. ``None`` for no limit.

    Raises:
        ValueError: for a number below 1, or fewer than two examples.
    """

    def __init__(self, samples: int = 10, simulated: int = 100, max_passes: int | None = 100_000) -> None:
        ensure_counts(samples=samples)
        ensure_counts(2, simulated=simulated)
        ensure_counts(1, 10**15, optional=True, max_passes=max_passes)
        self.samples = samples
        self.simulated = simulated
        self.max_passes = max_passes

    @override
    def unsupported_reason(self, model: BaseModel, data: DataModule) -> str | None:
        name = type(model).__name__
        if isinstance(model, HasImportanceWeights):
            return None if model.no_gap_reason is None else f"{name} has no bound to measure: {model.no_gap_reason}."
        bounded = "its likelihood has no importance weights" if isinstance(model, HasLikelihood) else "no likelihood"
        return f"{name} has no bound whose slack importance weights could measure: {bounded}."

    @override
    def measure(self, subject: Subject) -> list[Score]:
        n = self.affordable(subject)
        sizes = [min(BATCH, n - done) for done in range(0, n, BATCH)]
        parts = map_over_ranks(lambda i: self.simulated_bounds(subject, sizes[i], i), len(sizes), "gap")
        found = Sandwich(*(torch.cat(bounds) for bounds in zip(*parts, strict=True)))
        gap, se = mean_and_error(found.upper - found.lower)
        require(math.isfinite(gap), f"the mean gap of {n} simulated examples is {gap}: the model has diverged.")
        protocol: dict[str, Any] = {
            "data": "simulated from the model",
            "draws": self.samples,
            "max_passes": self.max_passes,
            "upper_bound": mean_entry(found.upper),
            "lower_bound": mean_entry(found.lower),
            "slack_of_one_draw": mean_entry(found.upper - found.single),
        }
        baselines = {}
        if subject.model.spec.is_discrete:
            protocol["bits_per_dim"] = -bits_per_dim(gap, subject.model.spec)
            baselines = {"bits_per_dim": "bits/dim"}
        name = f"gap_k{self.samples}"
        numbers = (gap, "nats", n, se, Kind.UPPER_BOUND, None)
        return [Score(name, *numbers, protocol, "gap", incidental=("max_passes",), baselines=baselines)]

    def affordable(self, subject: Subject) -> int:
        """Number of examples that the limit allows.

        Raises:
            UserError: if it is less than two.
        """
        assert isinstance(subject.model, HasImportanceWeights)  # see unsupported_reason
        passes = (self.samples + 2) * subject.model.passes_per_example
        n = self.simulated if self.max_passes is None else min(self.simulated, self.max_passes // passes)
        require(
            n >= 2,
            f"the gap of one example costs {passes} network passes, and max_passes={self.max_passes} does not allow "
            f"two examples; raise max_passes of the metric or lower its samples.",
        )
        return n

    def simulated_bounds(self, subject: Subject, n: int, batch: int) -> Sandwich:
        """Bounds on ``log p(x) [n]`` of n simulated examples, on the CPU."""
        model = subject.model
        assert isinstance(model, HasImportanceWeights)  # see unsupported_reason
        with stream(subject.seed, EVALUATION, GAP, batch, device=model.device):
            x, latent = model.simulate(n)
            found = sandwich(model.log_weights(x, self.samples), model.log_weight_at(x, latent))
        return Sandwich(*(bound.cpu() for bound in found))


def mean_entry(values: Tensor) -> dict[str, float | None]:
    """Mean and standard error of ``values [n]``, as an entry of a protocol."""
    value, se = mean_and_error(values)
    return {"value": value, "se": se}
