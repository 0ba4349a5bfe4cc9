"""How many terms of a bound that is a sum over T steps are computed for how many examples, and how they are drawn."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from genmodels.core.abilities import HasStepwiseBound
from genmodels.core.randomness import EVALUATION, stream
from genmodels.core.stepwise import inclusion_probabilities
from genmodels.errors import require
from genmodels.metrics.base import Subject
from genmodels.metrics.processes import map_over_ranks
from genmodels.networks.labelled import given

PILOT = 4  # stream of random numbers; the metric ais uses 1 to 3
PILOT_ROWS = 4  # validation examples per step from which sizes of terms are learned
PILOT_BATCH = 500  # examples in one network pass
SPREAD = 5  # sizes are averaged over the steps from t - t/5 to t + t/5
UNIFORM_SHARE = 0.05  # of the draws, so that a term that was small on few validation examples is still drawn


@dataclass(frozen=True)
class Allotment:
    """How the network passes of an evaluation are spent.

    Attributes:
        examples: number of examples.
        terms: terms drawn for each of them; ``None`` if the whole likelihood is computed.
        pilot_rows: validation examples per step from which the law of the draws is learned.
    """

    examples: int
    terms: int | None = None
    pilot_rows: int = 0


def allotted(available: int, steps: int, terms: int | None, max_passes: int | None) -> Allotment:
    """All T terms if the limit allows them for all examples, else as many for each as it does, and at least one.

    Args:
        available: number of examples.
        steps: T.
        terms: number of terms per example, ``None`` for as many as the limit allows; T or more for all of them.
        max_passes: limit on the network passes, of which at most a tenth, or T, is spent on the pilot run.

    Raises:
        UserError: if the limit does not allow a single example.

    >>> allotted(10_000, 1000, None, 100_000)
    Allotment(examples=10000, terms=9, pilot_rows=4)
    >>> allotted(10_000, 1000, 1000, 100_000)
    Allotment(examples=100, terms=None, pilot_rows=0)
    """
    wanted = steps if terms is None else min(terms, steps)
    if wanted == steps and (terms is not None or max_passes is None or available * steps <= max_passes):
        return Allotment(affordable(available, steps, max_passes))
    rows = PILOT_ROWS if max_passes is None else max(1, min(PILOT_ROWS, max_passes // (10 * steps)))
    if max_passes is None:
        return Allotment(available, wanted, rows)
    left = max_passes - rows * steps
    require(
        left > 0,
        f"a bound of {steps} terms costs {rows * steps} network passes before any example is scored, which "
        f"max_passes={max_passes} does not allow; raise max_passes of the metric or set it to null.",
    )
    drawn = max(1, min(wanted, left // available)) if terms is None else wanted
    return Allotment(affordable(available, drawn, left), drawn, rows)


def affordable(available: int, passes: int, max_passes: int | None) -> int:
    """Number of examples, at most ``available``, that the limit allows at ``passes`` network passes per example.

    Raises:
        UserError: if it is zero.
    """
    if max_passes is None:
        return available
    require(
        passes <= max_passes,
        f"the likelihood of one example costs {passes} network passes, more than max_passes={max_passes}; "
        f"raise max_passes of the metric or set it to null.",
    )
    return min(available, max_passes // passes)


def learned_inclusion(subject: Subject, allotment: Allotment, steps: int) -> Tensor:
    """Probabilities ``[T]`` of drawing each term, in proportion to their root mean squares on validation data.

    They determine the error of an estimate but not its expectation.
    """
    model, held_out = subject.model, subject.data.split("val")
    assert isinstance(model, HasStepwiseBound)
    labels = subject.labels("val")
    times = torch.arange(1, steps + 1).repeat_interleave(allotment.pilot_rows).split(PILOT_BATCH)

    def nats(i: int) -> Tensor:
        full = torch.autocast(model.device.type, enabled=False)
        with stream(subject.seed, EVALUATION, PILOT, i, device=model.device), full:
            rows = torch.randint(len(held_out), times[i].shape)
            x = held_out[rows]
            with given(model, None if labels is None else labels[rows]):
                return model.terms_at(x.to(model.device), times[i].to(model.device))["nats"].cpu().double()

    found = torch.cat(map_over_ranks(nats, len(times), "sizes of terms"))
    return inclusion_probabilities(typical_sizes(found.view(steps, allotment.pilot_rows)), allotment.terms or steps)


def typical_sizes(terms: Tensor) -> Tensor:
    """Root mean squares ``[T]`` of ``terms [T, rows]``, averaged over neighboring steps, plus a share of their mean.

    >>> typical_sizes(torch.tensor([[9.0, -9.0], [1.0, 1.0], [1.0, 1.0], [1.0, 1.0], [3.0, 4.0], [0.0, 0.0]]).double())
    tensor([9.1385, 1.1385, 1.1385, 1.1385, 2.2598, 2.6385], dtype=torch.float64)
    """
    squares = terms.square().mean(1).nan_to_num(0.0, 0.0)  # if a network has diverged, its score will say so
    before = torch.cat([squares.new_zeros(1), squares.cumsum(0)])
    t = torch.arange(1, len(terms) + 1)
    first, last = t - t // SPREAD, (t + t // SPREAD).clamp(max=len(terms))
    size = ((before[last] - before[first - 1]) / (last - first + 1)).clamp(min=0).sqrt()
    return size + UNIFORM_SHARE * size.mean() + torch.finfo(size.dtype).tiny


def protocol_of(allotment: Allotment, steps: int) -> dict[str, Any]:
    """The entry ``terms`` of a protocol; it is nested, since the expectation of a score does not depend on it."""
    if allotment.terms is None:
        return {"terms": {"drawn": steps, "of": steps}}
    law = "inclusion in proportion to the root mean square on validation data"
    pilot = allotment.pilot_rows * steps
    return {"terms": {"drawn": allotment.terms, "of": steps, "law": law, "passes_to_learn_it": pilot}}
