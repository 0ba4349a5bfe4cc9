"""Mean log-likelihood over the test split: bits per dimension on integers, nats on continuous data."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, NamedTuple

import torch
from torch import Tensor
from torchmetrics import Metric

from genmodels.core import Kind, Likelihood, Score, UserError, bits_per_dim
from genmodels.errors import require
from genmodels.metrics.base import Evaluation
from genmodels.metrics.processes import rank_and_world, track
from genmodels.models.base import HasLikelihood

if TYPE_CHECKING:
    from genmodels.data import DataModule
    from genmodels.models.base import Laboratory

KINDS = tuple(Kind)
PASSES_PER_BATCH = 10_000  # network passes between two looks at the progress bar


class MeanNats(NamedTuple):
    """Mean log-likelihood in nats, its standard error (``None`` for one example), examples, and kind."""

    mean: float
    se: float | None
    n: int
    kind: Kind


class LogLikelihoodMean(Metric):
    """Mean and standard error of log-likelihoods of one kind, over batches and processes, in float64.

    >>> metric = LogLikelihoodMean()
    >>> metric.update(Likelihood(torch.tensor([-1.0, -3.0]), Kind.EXACT))
    >>> metric.compute()
    MeanNats(mean=-2.0, se=1.0, n=2, kind=<Kind.EXACT: 'exact'>)
    """

    full_state_update = False
    total: Tensor
    squares: Tensor
    counts: Tensor

    def __init__(self) -> None:
        super().__init__()
        self.add_state("total", torch.zeros((), dtype=torch.float64), dist_reduce_fx="sum")
        self.add_state("squares", torch.zeros((), dtype=torch.float64), dist_reduce_fx="sum")
        self.add_state("counts", torch.zeros(len(KINDS), dtype=torch.int64), dist_reduce_fx="sum")
        self.kind: Kind | None = None

    def reset(self) -> None:
        """Forget every example, and the kind."""
        super().reset()
        self.kind = None

    def update(self, likelihood: Likelihood) -> None:
        """Add the likelihoods of a batch.

        Raises:
            UserError: for a bare tensor, whose kind nobody knows, or for a kind other than the one seen before.
        """
        if not isinstance(likelihood, Likelihood):
            raise UserError(f"a mean log-likelihood takes a Likelihood(nats, kind), not a {type(likelihood).__name__}.")
        self._agree([self.kind, likelihood.kind] if self.kind else [likelihood.kind])
        self.kind = likelihood.kind
        nats = likelihood.nats.detach().to(self.total.device).double()
        self.total += nats.sum()
        self.squares += nats.square().sum()
        self.counts[KINDS.index(likelihood.kind)] += nats.numel()

    def compute(self) -> MeanNats:
        """Reduce over batches and processes; the error is that of a mean of n independent examples.

        Raises:
            UserError: if nothing was seen, a value is not finite, or processes saw different kinds.
        """
        counts = self.counts.tolist()
        n = sum(counts)
        require(n > 0, "there is no example to average a log-likelihood over.")
        kind = self._agree([kind for kind, count in zip(KINDS, counts, strict=True) if count])
        mean = float(self.total) / n
        require(math.isfinite(mean), f"the mean log-likelihood of {n} examples is {mean}: the model has diverged.")
        variance = max(float(self.squares) / n - mean**2, 0.0)
        return MeanNats(mean, math.sqrt(variance / (n - 1)) if n > 1 else None, n, kind)

    @staticmethod
    def _agree(kinds: list[Kind]) -> Kind:
        names = " and ".join(sorted({kind.value for kind in kinds}))
        require(len(set(kinds)) == 1, f"log-likelihoods of different kinds ({names}) have no common mean.")
        return kinds[0]


class LikelihoodEvaluation(Evaluation):
    """Scores ``bits_per_dim`` on integer data, ``nats`` (the mean log-density, higher is better) on continuous data.

    Of a test split that costs too much, evenly spaced examples are scored (the first ones may be easier: MNIST's first
    half is the cleaner one), dealt out to the processes in turn: the number does not depend on how many processes there
    are.

    Args:
        samples: importance samples K per example that tighten a bound.
        max_examples: score so many test examples, or ``None`` for all.
        max_passes: cap on network passes over the whole evaluation, or ``None``. A diffusion model spends T on each
            sample of each example, so that it is scored on fewer; the protocol says how many of how many.
    """

    def __init__(self, samples: int = 1, max_examples: int | None = None, max_passes: int | None = 200_000) -> None:
        for name, value in {"samples": samples, "max_examples": max_examples, "max_passes": max_passes}.items():
            require(value is None or value >= 1, f"metrics.likelihood.{name} must be at least 1, got {value}.")
        self.samples = samples
        self.max_examples = max_examples
        self.max_passes = max_passes

    def refusal(self, model: Laboratory, data: DataModule) -> str | None:
        """Why the likelihood does not exist, or ``None``."""
        if isinstance(model, HasLikelihood):
            return None
        return f"{type(model).__name__} has no likelihood: its density is only implied by its samples."

    def start(self, model: Laboratory, data: DataModule) -> None:
        """Decide how many of the test examples the budget allows."""
        assert isinstance(model, HasLikelihood)  # start() is called only where there is no refusal
        self.test = data.split("test")
        passes = model.passes_per_example * self.samples
        self.batch_size = max(1, min(data.eval_batch_size, PASSES_PER_BATCH // passes))
        self.examples = min(len(self.test), self.max_examples or len(self.test))
        if self.max_passes is not None:
            require(
                passes <= self.max_passes,
                f"the likelihood of one example costs {passes} network passes, more than metrics.likelihood.max_passes="
                f"{self.max_passes}; raise it or set it to null.",
            )
            self.examples = min(self.examples, self.max_passes // passes)

    def finish(self, model: Laboratory) -> list[Score]:
        """The score, in the unit that the data call for."""
        assert isinstance(model, HasLikelihood)
        metric = LogLikelihoodMean().to(model.device)
        rank, world = rank_and_world()
        chosen = torch.linspace(0, len(self.test) - 1, self.examples).round().long()
        batches = self.test[chosen][rank::world].split(self.batch_size)
        with torch.autocast(model.device.type, enabled=False):
            for x in track(batches, len(batches), "log-likelihood"):
                metric.update(model.log_likelihood(x.to(model.device), self.samples))
        mean, se, n, kind = metric.compute()
        protocol = {
            "split": "test",
            "of": len(self.test),
            "samples": self.samples,
            "max_passes": self.max_passes,
            "passes_per_example": model.passes_per_example * self.samples,
        }
        if not model.spec.is_discrete:
            return [Score("nats", mean, "nats", n, se, kind, protocol)]
        bits = bits_per_dim(mean, model.spec)
        error = None if se is None else abs(bits_per_dim(se, model.spec))
        return [Score("bits_per_dim", bits, "bits/dim", n, error, kind, protocol)]
