"""How a latent variable is used: what q(z|x) says of x, and how far the codes of all x lie from the prior."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any, NamedTuple

import torch
from torch import Tensor
from typing_extensions import override

from genmodels.core import Kind, Score
from genmodels.core.abilities import HasGaussianPosterior
from genmodels.core.randomness import EVALUATION, stream
from genmodels.errors import ensure_counts, require
from genmodels.metrics.base import Evaluation, Subject, evenly_spaced, mean_and_error
from genmodels.metrics.processes import map_over_ranks

if TYPE_CHECKING:
    from genmodels.data import DataModule
    from genmodels.models.base import BaseModel

CODES = 10  # stream of random numbers; other metrics use 1 to 9
AT_A_TIME = 250  # rows of the matrix of all log q(z|x) in memory at a time
ACTIVE = 0.01  # variance of a unit's posterior mean above which it is active (Burda et al. 2016, §5.2)


class Posteriors(NamedTuple):
    """Posteriors q(z|x) of N examples, one draw of each, and the prior there, in float64 on the CPU.

    Attributes:
        mean: ``[N, d]``.
        log_std: ``[N, d]``.
        z: the draws ``[N, d]``.
        log_prior: ``log p(z) [N]`` in nats.
    """

    mean: Tensor
    log_std: Tensor
    z: Tensor
    log_prior: Tensor


class CodesEvaluation(Evaluation):
    r"""Scores ``rate``, ``mutual_information``, ``aggregated_kl`` and ``active_units`` of an approximate posterior.

    The mean of ``KL(q(z|x) || p(z))``, the rate of the bound, is the sum of two terms (Hoffman & Johnson 2016),

    .. math:: E_x KL(q(z|x) || p(z)) = I_q(x; z) + KL(q(z) || p(z)), \quad q(z) = E_x q(z|x).

    The mutual information, in nats, is what codes say of their examples. The second term is the gap of the aggregated
    posterior: samples are decoded from p(z), and reconstructions from q(z). The expectation over x is over the N test
    examples, so that the mutual information is at most log N. All three are estimated at one z for each x, and add up.

    A unit of z is active if its posterior mean has a variance above 0.01 over the examples (Burda et al. 2016, §5.2,
    arXiv:1509.00519).

    Args:
        max_examples: limit on N, since every z is compared with every x, or ``None``.

    Raises:
        ValueError: if the limit is less than 2.
    """

    def __init__(self, max_examples: int | None = 10_000) -> None:
        ensure_counts(2, optional=True, max_examples=max_examples)
        self.max_examples = max_examples

    @override
    def unsupported_reason(self, model: BaseModel, data: DataModule) -> str | None:
        if isinstance(model, HasGaussianPosterior):
            return None
        return f"{type(model).__name__} has no approximate posterior q(z given x) whose codes could be measured."

    @override
    def measure(self, subject: Subject) -> list[Score]:
        test = subject.data.split("test")
        found = self.posteriors(evenly_spaced(test, self.max_examples or len(test)), subject)
        n, size = found.z.shape
        log_q, log_aggregated = densities(found)
        protocol: dict[str, Any] = {"split": "test", "of": len(test), "aggregated_over": n}
        parts = {
            "rate": log_q - found.log_prior,
            "mutual_information": log_q - log_aggregated,
            "aggregated_kl": log_aggregated - found.log_prior,
        }
        scores = []
        for name, values in parts.items():
            value, se = mean_and_error(values)
            require(math.isfinite(value), f"the {name} of the codes is {value}: the model has diverged.")
            scores.append(Score(name, value, "nats", n, se, Kind.ESTIMATE, None, protocol))
        active = int((found.mean.var(0) > ACTIVE).sum())
        of: dict[str, Any] = {"protocol": {**protocol, "latent_dim": size}, "baselines": {"latent_dim": "of all"}}
        return [*scores, Score("active_units", active, "", n, better=None, **of)]

    def posteriors(self, x: Tensor, subject: Subject) -> Posteriors:
        """Posteriors and draws of raw data ``x [N, *shape]``."""
        model, batches = subject.model, x.split(subject.data.eval_batch_size)
        assert isinstance(model, HasGaussianPosterior)  # see unsupported_reason

        def work(i: int) -> Posteriors:
            with stream(subject.seed, EVALUATION, CODES, i, device=model.device):
                mean, log_std = model.posterior(batches[i].to(model.device))
                z = mean + log_std.exp() * torch.randn_like(mean)
                return Posteriors(*(t.double().cpu() for t in (mean, log_std, z, model.latent_log_prob(z))))

        parts = map_over_ranks(work, len(batches), "codes")
        return Posteriors(*(torch.cat(tensors) for tensors in zip(*parts, strict=True)))


def densities(found: Posteriors) -> tuple[Tensor, Tensor]:
    """``log q(z_n|x_n)`` and ``log q(z_n)``, both ``[N]`` in nats, with ``q(z) = (1/N) sum_m q(z|x_m)``.

    All ``log q(z_n|x_m)`` are products of matrices: squares are expanded, in float64.
    """
    precision = torch.exp(-2 * found.log_std)
    constant = -(found.log_std + 0.5 * math.log(2 * math.pi)).sum(1)  # of each q(z|x_m)
    linear = found.mean * precision
    offset = constant - 0.5 * (found.mean * linear).sum(1)

    def rows(i: int) -> tuple[Tensor, Tensor]:
        z = found.z[i : i + AT_A_TIME]
        log_q = z @ linear.T - 0.5 * z.square() @ precision.T + offset
        return log_q.diagonal(i), torch.logsumexp(log_q, dim=1) - math.log(log_q.shape[1])

    own, aggregated = zip(*(rows(i) for i in range(0, len(found.z), AT_A_TIME)), strict=True)
    return torch.cat(own), torch.cat(aggregated)
