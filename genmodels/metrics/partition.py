"""Log-likelihood of an energy model itself, by the partition function that annealing estimates from below."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any, NamedTuple

import torch
from torch import Tensor
from typing_extensions import override

from genmodels.core import Kind, Score, bits_per_dim, log_mean_exp
from genmodels.core.abilities import HasLikelihood, HasPartition
from genmodels.core.randomness import EVALUATION, stream
from genmodels.errors import ensure_counts, require
from genmodels.mcmc import effective_sample_size
from genmodels.metrics.base import Evaluation, Subject, evenly_spaced, mean_and_error
from genmodels.metrics.gap import mean_entry
from genmodels.metrics.likelihood import LikelihoodEvaluation, likelihood_score
from genmodels.metrics.processes import map_over_ranks, track

if TYPE_CHECKING:
    from genmodels.data import DataModule
    from genmodels.models.base import BaseModel

WEIGHTS, ENERGIES = 6, 7  # streams of random numbers; other metrics use 1 to 5
AT_A_TIME = 100  # chains
FEWEST = 10  # effective chains whose mean weight is trusted
ENUMERATION = "enumeration"  # how a log Z is summed that is exact


class LogPartition(NamedTuple):
    """``log Z`` in nats, its standard error, and how it was obtained.

    Attributes:
        value: the number.
        se: its standard error, 0 if it is exact.
        ess: effective number of the chains that it is from (Kong 1992); ``None`` if it is exact.
    """

    value: float
    se: float
    ess: float | None = None


def annealed(log_weights: Tensor) -> LogPartition:
    """``log (1/N) sum_n w_n`` of weights with ``E[w] = Z``, given their logarithms ``[N]`` in nats.

    By Jensen's inequality its expectation is at most log Z (Neal 2001; Grosse et al. 2015, arXiv:1511.02543, §3.1). The
    standard error is that of the mean weight divided by the mean weight (delta method).

    >>> annealed(torch.tensor([0.0, math.log(3)]))
    LogPartition(value=0.6931..., se=0.5000..., ess=1.5999...)
    """
    n, ess = len(log_weights), effective_sample_size(log_weights)
    variance = max(n / ess - 1, 0.0) * n / (n - 1)  # of w / mean w
    return LogPartition(float(log_mean_exp(log_weights.double())), math.sqrt(variance / n), ess)


class PartitionEvaluation(Evaluation):
    """Scores ``partition_bits_per_dim`` or ``partition_nats``: the mean of ``-energy(x) - log Z`` over test examples.

    It is the log-likelihood of the law ``exp(-energy) / Z`` itself, not of the annealed chains that a model samples,
    and therefore is not compared with ``bits_per_dim`` or ``nats``. log Z is that of annealed importance sampling from
    independent chains (Neal 2001), which lies below the true one in expectation, so that the score is an upper bound on
    log p. It is exact where the model sums Z over all states, and an estimate where the energy itself is a bound, as of
    dequantized integers. Its standard error has both parts, that of the mean over examples and that of log Z; the
    protocol has the latter alone, and ``ess``, the effective number of chains, below ten of which the score is flagged.

    ``gap`` is the mean of this bound minus the lower bound of ``log_likelihood`` on the same test examples, in nats.
    The lower bound is of p_ann, the law of the annealed chains (:class:`genmodels.mcmc.AnnealedLaw`), so that the gap
    is the slack of both bounds plus the mean of log p - log p_ann. All three vanish as temperatures become many. Until
    then the last may have either sign: where annealed chains miss a mode that is far from all data, p_ann gives the
    data more mass than p does, and the gap can be negative. Annealing backward from the ends of such chains would miss
    the mode as well and is no bound on log Z; nothing here rests on it.

    Args:
        temperatures: inverse temperatures of the chains, which may be more than those of the model's samples.
        chains: number of chains, at least 2, each of which costs as many network passes as there are temperatures.
        samples: K, reversed chains per example in the lower bound.
        max_examples: limit on the number of test examples, or ``None``.
        max_passes: limit on the network passes of the lower bound, or ``None``. The gap is of as many examples as it
            allows, evenly spaced.

    Raises:
        ValueError: for a number below 1, or fewer than two chains.
    """

    def __init__(
        self,
        temperatures: int = 10_000,
        chains: int = 100,
        samples: int = 1,
        max_examples: int | None = None,
        max_passes: int | None = 100_000,
    ) -> None:
        ensure_counts(temperatures=temperatures)
        ensure_counts(2, chains=chains)
        self.lower = LikelihoodEvaluation(samples, None, max_examples, max_passes)
        self.temperatures = temperatures
        self.chains = chains
        self.max_examples = max_examples

    @override
    def unsupported_reason(self, model: BaseModel, data: DataModule) -> str | None:
        if isinstance(model, HasPartition):
            return None
        return f"{type(model).__name__} has no partition function: it is not defined by an energy."

    @override
    def measure(self, subject: Subject) -> list[Score]:
        model, test = subject.model, subject.data.split("test")
        assert isinstance(model, HasPartition)  # see unsupported_reason
        known = model.log_partition()
        exact = known is not None and known[1] == ENUMERATION
        log_z = LogPartition(known[0], 0.0) if known and exact else annealed(self.log_weights(subject))
        require(math.isfinite(log_z.value), f"log Z is {log_z.value}: the model has diverged.")
        protocol: dict[str, Any] = {
            "split": "test",
            "of": len(test),
            "log_z": {"value": log_z.value, "se": log_z.se, "by": ENUMERATION if exact else "annealing"},
        }
        if known and not exact:
            protocol["log_z"][known[1]] = known[0]
        if not exact:
            protocol |= {"temperatures": self.temperatures, "chains": self.chains, **trust(log_z, self.chains)}
        kind = kind_of(exact, model.energy_is_exact)
        if kind is Kind.UPPER_BOUND:
            protocol |= self.gap(subject, log_z)
        nats = -self.energies(subject, evenly_spaced(test, self.max_examples or len(test))) - log_z.value
        incidental = ("temperatures", "chains", "ess", "gap_se", "gap_n", "draws", "max_passes")
        declared: dict[str, Any] = {"incidental": incidental, "baselines": {"gap": "gap in nats"}}
        score = likelihood_score(nats, model.spec, kind, protocol, "partition_{}", **declared)
        error = -bits_per_dim(log_z.se, model.spec) if model.spec.is_discrete else log_z.se
        return [replace(score, se=None if score.se is None else math.hypot(score.se, error))]

    def log_weights(self, subject: Subject) -> Tensor:
        """``log w [chains]`` in nats, float64, on the CPU, of annealed chains with ``E[w] = Z``."""
        model, sizes = subject.model, parts(self.chains, AT_A_TIME)
        assert isinstance(model, HasPartition)

        def work(i: int) -> Tensor:
            def progress(steps: Sequence[int]) -> Iterable[int]:
                return track(steps, len(steps), f"log Z, chains {i + 1} of {len(sizes)}")

            with stream(subject.seed, EVALUATION, WEIGHTS, i, device=model.device):
                return model.partition_weights(sizes[i], self.temperatures, progress).cpu().double()

        return torch.cat(map_over_ranks(work, len(sizes)))

    def energies(self, subject: Subject, x: Tensor) -> Tensor:
        """Energies ``[N]`` in nats, float64, on the CPU, of raw data ``x [N, *shape]``."""
        model, batches = subject.model, x.split(subject.data.eval_batch_size)
        assert isinstance(model, HasPartition)

        def work(i: int) -> Tensor:
            with stream(subject.seed, EVALUATION, ENERGIES, i, device=model.device):
                return model.energy(batches[i].to(model.device)).cpu().double()

        return torch.cat(map_over_ranks(work, len(batches), "energies"))

    def gap(self, subject: Subject, log_z: LogPartition) -> dict[str, Any]:
        """Entries of the protocol: the gap in nats with its standard error, n, and both bounds on the same examples."""
        if not isinstance(subject.model, HasLikelihood):
            return {}
        test = subject.data.split("test")
        found = self.lower.likelihood(subject, "test")
        if found.kind is not Kind.LOWER_BOUND:
            return {}
        upper = -self.energies(subject, evenly_spaced(test, len(found.nats))) - log_z.value
        gap, se = mean_and_error(upper - found.nats.double())
        return {
            "gap": gap,
            "gap_se": None if se is None else math.hypot(se, log_z.se),
            "gap_n": len(found.nats),
            "draws": self.lower.samples,
            "max_passes": self.lower.max_passes,
            "lower_bound": mean_entry(found.nats) | subject.model.likelihood_protocol,
            "upper_bound": mean_entry(upper),
        }


def kind_of(partition_is_exact: bool, energy_is_exact: bool) -> Kind:
    """Kind of ``-energy(x) - log Z``, whose log Z is too low if annealed, and whose energy is too high if a bound.

    >>> kind_of(False, True), kind_of(True, False)
    (<Kind.UPPER_BOUND: 'upper_bound'>, <Kind.LOWER_BOUND: 'lower_bound'>)
    """
    if energy_is_exact:
        return Kind.EXACT if partition_is_exact else Kind.UPPER_BOUND
    return Kind.LOWER_BOUND if partition_is_exact else Kind.ESTIMATE


def trust(log_z: LogPartition, chains: int) -> dict[str, Any]:
    """The effective number of chains, as an entry of the protocol, and a flag if they are too few."""
    assert log_z.ess is not None
    few = f"log Z rests on {log_z.ess:.1f} of {chains} chains: more temperatures or chains are needed"
    return {"ess": log_z.ess, **({"flag": few} if log_z.ess < FEWEST else {})}


def parts(n: int, size: int) -> list[int]:
    """Sizes of the parts, at most ``size``, that n things are divided into.

    >>> parts(5, 2)
    [2, 2, 1]
    """
    return [min(size, n - done) for done in range(0, n, size)]
