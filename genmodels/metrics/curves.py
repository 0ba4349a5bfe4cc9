"""Terms, rate and distortion of a diffusion model's bound at every time step, as a table and a picture."""

from __future__ import annotations

import csv
from collections.abc import Mapping

from torch import Tensor

from genmodels import plots
from genmodels.core import bits_per_dim
from genmodels.core.processes import is_rank_zero
from genmodels.files import atomic
from genmodels.metrics.base import Subject


def keep_curves(curves: Mapping[str, Tensor], subject: Subject) -> None:
    """Write ``timesteps.csv`` and ``timesteps.png`` into the subject's folder; nothing if there are no curves.

    Row t holds the mean over examples of the bound's term at t (L_{t-1} of Ho et al. 2020, eq. 5), in bits/dim or, on
    continuous data, nats/dim; its standard error; the rate at t, the sum of the terms after t, which is the cost of
    transmitting x_t without L_T; and the distortion at t, the root mean squared error of the estimate of x_0 on the
    data's own scale, or for integers on the scale 0..255 (Ho et al. 2020, §4.3 and figure 5).

    Args:
        curves: ``nats [n, T]`` and ``squared_error [n, T]``; column t - 1 is step t.
        subject: the subject whose likelihood was measured.
    """
    if not curves or not is_rank_zero():
        return
    spec = subject.model.spec
    per_dim = (lambda nats: bits_per_dim(-nats, spec)) if spec.is_discrete else (lambda nats: nats / spec.dims)
    scale = 255 / 2 if spec.is_discrete else 1.0  # errors are on [-1, 1]
    term, error = per_dim(curves["nats"].double()), (curves["squared_error"].double() / spec.dims).sqrt() * scale
    rate = term.mean(0).flip(0).cumsum(0).flip(0) - term.mean(0)
    columns = {
        "t": range(1, term.shape[1] + 1),
        "term": term.mean(0).tolist(),
        "term_se": (term.std(0) / len(term) ** 0.5).tolist(),
        "rate": rate.tolist(),
        "distortion": error.square().mean(0).sqrt().tolist(),
    }
    with atomic(subject.file("timesteps.csv")) as part, part.open("w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(columns)
        writer.writerows(zip(*columns.values(), strict=True))
    unit = "bits/dim" if spec.is_discrete else "nats/dim"
    picture = plots.timesteps(columns["term"], columns["rate"], columns["distortion"], unit)
    subject.keep_picture("timesteps", picture)
