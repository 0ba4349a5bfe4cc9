"""Mean log-likelihood over the test split: bits per dimension on integers, nats on continuous data."""

from __future__ import annotations

import math
from collections.abc import Callable
from functools import partial
from typing import TYPE_CHECKING, Any, NamedTuple

import torch
from torch import Tensor
from torchmetrics import Metric
from typing_extensions import override

from genmodels.core import DataSpec, Kind, Likelihood, Score, bits_per_dim
from genmodels.core.abilities import HasLikelihood, HasStepwiseBound, Samples
from genmodels.core.randomness import EVALUATION, stream
from genmodels.errors import ensure_counts, require
from genmodels.metrics.base import Evaluation, Subject, evenly_spaced, mean_and_error
from genmodels.metrics.curves import keep_curves
from genmodels.metrics.processes import map_over_ranks
from genmodels.metrics.term_draws import Allotment, affordable, allotted, learned_inclusion, protocol_of
from genmodels.networks.labelled import given

if TYPE_CHECKING:
    from genmodels.data import DataModule
    from genmodels.models.base import BaseModel

KINDS = tuple(Kind)
DETAILS = ("terms", "curves", "solution")  # of a likelihood, in the order of its fields


class MeanNats(NamedTuple):
    """Mean log-likelihood in nats, its standard error (``None`` for one example), number of examples, and kind."""

    mean: float
    se: float | None
    n: int
    kind: Kind


def check_kind(likelihood: Likelihood) -> None:
    """Check that a model returned a :class:`Likelihood`.

    Raises:
        UserError: for anything else.
    """
    found = type(likelihood).__name__
    require(isinstance(likelihood, Likelihood), f"a log-likelihood must be a Likelihood(nats, kind), not a {found}.")


def agreed(kinds: list[Kind]) -> Kind:
    """The common kind of several log-likelihoods.

    Raises:
        UserError: if they are of different kinds.
    """
    names = " and ".join(sorted({kind.value for kind in kinds}))
    require(len(set(kinds)) == 1, f"log-likelihoods of different kinds ({names}) have no common mean.")
    return kinds[0]


class LogLikelihoodMean(Metric):
    """Mean and standard error of log-likelihoods of one kind over batches and processes, in float64.

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
        """Reset the sums and the kind."""
        super().reset()
        self.kind = None

    def update(self, likelihood: Likelihood) -> None:
        """Add the log-likelihoods ``[B]`` of a batch.

        Raises:
            UserError: for a bare tensor, whose kind is unknown, or for a kind other than that of previous batches.
        """
        check_kind(likelihood)
        agreed([self.kind, likelihood.kind] if self.kind else [likelihood.kind])
        self.kind = likelihood.kind
        nats = likelihood.nats.detach().to(self.total.device).double()
        self.total += nats.sum()
        self.squares += nats.square().sum()
        self.counts[KINDS.index(likelihood.kind)] += nats.numel()

    def compute(self) -> MeanNats:
        """The mean over batches and processes, with the standard error of a mean of n independent examples.

        Raises:
            UserError: if there are no examples, if the mean is not finite, or if processes have different kinds.
        """
        counts = self.counts.tolist()
        n = sum(counts)
        require(n > 0, "there is no example to average a log-likelihood over.")
        kind = agreed([kind for kind, count in zip(KINDS, counts, strict=True) if count])
        mean = float(self.total) / n
        require(math.isfinite(mean), f"the mean log-likelihood of {n} examples is {mean}: the model has diverged.")
        variance = max(float(self.squares) / n - mean**2, 0.0)
        return MeanNats(mean, math.sqrt(variance / (n - 1)) if n > 1 else None, n, kind)


def pooled(parts: list[Likelihood]) -> Likelihood:
    """The log-likelihoods of several batches, and all that comes with them, concatenated along the batch dimension.

    Raises:
        UserError: if they are of different kinds.
    """
    details = (
        {name: torch.cat([getattr(part, what)[name] for part in parts]) for name in getattr(parts[0], what)}
        for what in DETAILS
    )
    return Likelihood(torch.cat([part.nats for part in parts]), agreed([part.kind for part in parts]), *details)


def in_unit(nats: Tensor, spec: DataSpec) -> tuple[str, float, float | None]:
    """Unit of log-likelihoods ``nats [n]`` of data of ``spec``, their mean in it, and its standard error.

    The unit is bits/dim for integers (:func:`genmodels.core.bits_per_dim`) and nats for continuous data.

    Raises:
        UserError: if the mean is not finite.
    """
    mean, se = mean_and_error(nats)
    require(math.isfinite(mean), f"the mean log-likelihood of {len(nats)} examples is {mean}: the model has diverged.")
    if not spec.is_discrete:
        return "nats", mean, se
    return "bits/dim", bits_per_dim(mean, spec), None if se is None else abs(bits_per_dim(se, spec))


def cost_in_unit(nats: Tensor, spec: DataSpec) -> tuple[float, float | None]:
    """Mean of costs ``nats [n]``, such as a rate, and its standard error, in bits/dim or nats as the data require.

    Raises:
        UserError: if the mean is not finite.
    """
    return in_unit(-nats if spec.is_discrete else nats, spec)[1:]  # costs and bits/dim are -log p, nats are log p


def likelihood_name(spec: DataSpec) -> str:
    """Name of a mean log-likelihood of data of ``spec``; that of p(x | label) compares with no other.

    >>> likelihood_name(DataSpec((2,), 3)), likelihood_name(DataSpec((2,), classes=3))
    ('bits_per_dim', 'nats_given_label')
    """
    given = "" if spec.classes is None else "_given_label"
    return f"{'bits_per_dim' if spec.is_discrete else 'nats'}{given}"


def likelihood_score(
    nats: Tensor,
    spec: DataSpec,
    kind: Kind,
    protocol: dict[str, Any],
    name: str = "{}",
    suffix: str = "",
    **declared: Any,
) -> Score:
    """The score of log-likelihoods: their mean, in bits/dim on integers and in nats on continuous data.

    Args:
        nats: log-likelihoods ``[n]`` in nats.
        spec: specification of the data.
        kind: kind of the log-likelihoods.
        protocol: conditions of the measurement.
        name: name of the quantity, with ``{}`` in place of that of :func:`likelihood_name`.
        suffix: end of the score's name, which is no part of its quantity, such as ``_k50``.
        declared: further fields of :class:`genmodels.core.Score`.

    Raises:
        UserError: if the mean is not finite.
    """
    unit, value, se = in_unit(nats, spec)
    better = "lower" if spec.is_discrete else "higher"
    quantity = name.format(likelihood_name(spec))
    return Score(quantity + suffix, value, unit, len(nats), se, kind, better, protocol, quantity, **declared)


def of_solution(found: Likelihood, spec: DataSpec) -> dict[str, Any]:
    """Entries of a protocol on the ODE that an adaptive solver solved for a likelihood; none if there was no ODE."""
    if not found.solution:
        return {}
    evaluations = found.solution["evaluations"].double().mean().item()
    return {"evaluations": evaluations, **convergence(found.nats, found.solution["coarse"], spec)}


def convergence(nats: Tensor, coarse: Tensor, spec: DataSpec, **details: Any) -> dict[str, Any]:
    """Entries of a protocol on the error of an ODE's solver.

    ``coarse`` has the difference from the score at ten times the tolerance, and ``details`` of it; ``flag`` is set if
    the difference exceeds the standard error of the score.

    Args:
        nats: log-likelihoods ``[n]`` in nats.
        coarse: the same at ten times the tolerance, with the same noise.
        spec: specification of the data.
        details: further entries of ``coarse``.

    Raises:
        UserError: if a mean is not finite.
    """
    (_, value, se), (_, rough, _) = (in_unit(each, spec) for each in (nats, coarse))
    difference = value - rough
    entries: dict[str, Any] = {"coarse": {**details, "difference": difference}}
    if se is not None and abs(difference) > se:
        entries["flag"] = f"not converged: {abs(difference):.2g} from the value at ten times the tolerance"
    return entries


class LikelihoodEvaluation(Evaluation):
    """Scores ``bits_per_dim`` on integer data, ``nats`` (the mean log-density, higher is better) on continuous data.

    Of a model that is given labels it is that of p(x | label), ``bits_per_dim_given_label``. With K > 1 draws per
    example the name ends in ``_k<K>``. The terms of a bound, such as rate and distortion, are recorded in the protocol
    in the unit of the score; values per time step are written to files, see :mod:`genmodels.metrics.curves`.

    If the network passes of the whole test split exceed the limit, a bound that is a sum over T steps is estimated
    without bias from some of its terms, drawn for every example (:mod:`genmodels.core.stepwise`); of other likelihoods,
    fewer examples, evenly spaced, are scored. The standard error includes the draw, which is independent for each
    example.

    Args:
        samples: draws K per example, which tighten a bound: importance samples of a VAE, dequantization noise of a
            flow, trajectories of a diffusion model.
        terms: terms per example of a bound that is a sum over T steps, such as a diffusion model's with one draw:
            ``None`` for as many as ``max_passes`` allows for every example, T or more for all of them, on as many
            examples as it allows.
        max_examples: limit on the number of test examples, or ``None``.
        max_passes: limit on the network passes of the evaluation, or ``None``. The score's n and the protocol's ``of``
            give the numbers of examples scored and available.

    Raises:
        ValueError: for a number below 1.
    """

    takes_labels = True

    def __init__(
        self,
        samples: int = 1,
        terms: int | None = None,
        max_examples: int | None = None,
        max_passes: int | None = 200_000,
    ) -> None:
        ensure_counts(samples=samples)
        ensure_counts(1, 10**15, optional=True, terms=terms, max_examples=max_examples, max_passes=max_passes)
        self.samples = samples
        self.terms = terms
        self.max_examples = max_examples
        self.max_passes = max_passes

    @override
    def unsupported_reason(self, model: BaseModel, data: DataModule) -> str | None:
        if isinstance(model, HasLikelihood):
            return None
        sampled = isinstance(model, Samples)
        why = "its density is implicit in its samples" if sampled else "it defines no distribution of data"
        return f"{type(model).__name__} has no likelihood: {why}."

    @override
    def measure(self, subject: Subject) -> list[Score]:
        found = self.likelihood(subject, "test")
        keep_curves(found.curves, subject)
        spec = subject.model.spec
        terms = {name: cost_in_unit(nats, spec) for name, nats in found.terms.items()}
        protocol = self.protocol(subject) | {name: {"value": v, "se": e} for name, (v, e) in terms.items()}
        protocol |= of_solution(found, spec)
        suffix = "" if self.samples == 1 else f"_k{self.samples}"
        incidental = self.incidental(subject)
        return [likelihood_score(found.nats, spec, found.kind, protocol, suffix=suffix, incidental=incidental)]

    def protocol(self, subject: Subject) -> dict[str, Any]:
        """Conditions of the measurement, as plain types."""
        model = subject.model
        assert isinstance(model, HasLikelihood)  # measure() is called only where there is no unsupported_reason
        allotment = self.allotment(subject)
        stepwise = isinstance(model, HasStepwiseBound) and self.samples == 1
        return {
            "split": "test",
            "of": len(subject.data.split("test")),
            model.draws: self.samples,
            "max_passes": self.max_passes,
            "passes_per_example": allotment.terms or model.passes_per_example * self.samples,
            "precision": "float32",
            **(protocol_of(allotment, model.passes_per_example) if stepwise else {}),
            **model.likelihood_protocol,
        }

    def incidental(self, subject: Subject) -> tuple[str, ...]:
        """Entries of the protocol in which comparable scores may differ: K by the model's name for it, and costs."""
        model = subject.model
        assert isinstance(model, HasLikelihood)  # measure() is called only where there is no unsupported_reason
        return (model.draws, "max_passes", "passes_per_example", "precision", "evaluations")

    def allotment(self, subject: Subject) -> Allotment:
        """The number of examples that the limits allow for the test split, and of terms drawn for each.

        Raises:
            UserError: if the limits do not allow a single example.
        """
        model, available = subject.model, len(subject.data.split("test"))
        assert isinstance(model, HasLikelihood)
        available = min(available, self.max_examples or available)
        passes = model.passes_per_example * self.samples
        if isinstance(model, HasStepwiseBound) and self.samples == 1:
            return allotted(available, passes, self.terms, self.max_passes)
        return Allotment(affordable(available, passes, self.max_passes))

    def likelihood(self, subject: Subject, split: str) -> Likelihood:
        """Log-likelihoods of evenly spaced examples of a split, given their labels if the model is, on the CPU.

        There are as many as the limits allow for the test split, so that all splits get the same number.

        Raises:
            UserError: if the limits do not allow a single example.
        """
        model, allotment = subject.model, self.allotment(subject)
        assert isinstance(model, HasLikelihood)
        passes = allotment.terms or model.passes_per_example * self.samples
        score = self.scored(subject, allotment)
        size = max(1, min(subject.data.eval_batch_size, model.passes_at_a_time // passes))
        x, y = subject.data.split(split), subject.labels(split)
        batches = evenly_spaced(x, allotment.examples).split(size)
        labels = [None] * len(batches) if y is None else evenly_spaced(y, allotment.examples).split(size)

        def work(i: int) -> Likelihood:
            full = torch.autocast(model.device.type, enabled=False)
            with stream(subject.seed, EVALUATION, i, device=model.device), full, given(model, labels[i]):
                found = score(batches[i].to(model.device))
            check_kind(found)
            details = ({name: t.cpu() for name, t in getattr(found, what).items()} for what in DETAILS)
            return Likelihood(found.nats.cpu(), found.kind, *details)

        return pooled(map_over_ranks(work, len(batches), "log-likelihood"))

    def scored(self, subject: Subject, allotment: Allotment) -> Callable[[Tensor], Likelihood]:
        """The function from raw data ``[B, *shape]`` to their log-likelihoods; it draws terms if so allotted."""
        model = subject.model
        assert isinstance(model, HasLikelihood)
        if allotment.terms is None or not isinstance(model, HasStepwiseBound):
            return partial(model.log_likelihood, samples=self.samples)
        inclusion = learned_inclusion(subject, allotment, model.passes_per_example)
        return partial(model.stepwise_likelihood, inclusion=inclusion)


class GeneralizationEvaluation(LikelihoodEvaluation):
    """Scores ``train_minus_test``: the score of training data minus that of test data, in bits/dim or nats.

    It is negative in bits/dim, and positive in nats, if training data are more likely than test data, as with
    memorization. Equal numbers of training and test examples are scored, both evenly spaced. The difference of two
    bounds is an estimate, since their slacks may differ. The arguments are those of :class:`LikelihoodEvaluation`.
    """

    def measure(self, subject: Subject) -> list[Score]:
        """The difference, with the standard error of a difference of independent means."""
        spec = subject.model.spec
        found = [self.likelihood(subject, split).nats for split in ("train", "test")]
        (unit, train, train_se), (_, test, test_se) = (in_unit(nats, spec) for nats in found)
        se = None if train_se is None or test_se is None else math.hypot(train_se, test_se)
        protocol = self.protocol(subject) | {"split": "train - test", "train": train, "test": test}
        protocol["draws"] = self.samples
        incidental = (*self.incidental(subject), "train", "test")
        numbers = (train - test, unit, len(found[1]), se, Kind.ESTIMATE, None)
        return [Score("train_minus_test", *numbers, protocol, incidental=incidental)]
