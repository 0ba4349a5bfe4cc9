"""Terms, rate and distortion of a diffusion model's bound at every time step, as a table and a picture."""

from __future__ import annotations

import csv
import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor

from genmodels import plots
from genmodels.core.processes import is_rank_zero
from genmodels.files import atomic
from genmodels.metrics.base import Subject


def keep_curves(curves: Mapping[str, Tensor], subject: Subject) -> None:
    """Write ``timesteps.csv`` and ``timesteps.png`` into the subject's folder; nothing if there are no curves.

    Row t holds the mean over examples of the bound's term at t (L_{t-1} of Ho et al. 2020, eq. 5), in bits/dim or, on
    continuous data, nats/dim; its standard error; the rate at t, the sum of the terms after t, which is the cost of
    transmitting x_t without L_T; and the distortion at t, the root mean squared error of the estimate of x_0 on the
    data's own scale, or for integers on the scale 0..255 (Ho et al. 2020, §4.3 and figure 5).

    Where terms were drawn, means are over the examples at which t was. A step that was drawn for none of them is
    interpolated between its neighbors and has no standard error.

    Args:
        curves: ``nats [n, T]``, and ``squared_error [n, T]`` of a model that estimates x_0, without which there is no
            distortion; column t - 1 is step t, NaN where it was not drawn.
        subject: the subject whose likelihood was measured.
    """
    if not curves or not is_rank_zero():
        return
    spec = subject.model.spec
    per_dim = 1 / (spec.dims * (math.log(2) if spec.is_discrete else 1))
    scale = 255 / 2 if spec.is_discrete else 1.0  # errors are on [-1, 1]
    term, se = mean_by_step(curves["nats"])
    rate = term.flip(0).cumsum(0).flip(0) - term
    columns: dict[str, Sequence[Any]] = {
        "t": range(1, len(term) + 1),
        "term": (term * per_dim).tolist(),
        "term_se": [None if math.isnan(value) else value * per_dim for value in se.tolist()],
        "rate": (rate * per_dim).tolist(),
    }
    if "squared_error" in curves:
        error, _ = mean_by_step(curves["squared_error"])
        columns["distortion"] = ((error / spec.dims).sqrt() * scale).tolist()
    with atomic(subject.file("timesteps.csv")) as part, part.open("w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(columns)
        writer.writerows(zip(*columns.values(), strict=True))
    unit = "bits/dim" if spec.is_discrete else "nats/dim"
    picture = plots.timesteps(columns["term"], columns["rate"], columns.get("distortion"), unit)
    subject.keep_picture("timesteps", picture)


def mean_by_step(values: Tensor) -> tuple[Tensor, Tensor]:
    """Means ``[T]`` of the numbers in each column of ``values [n, T]``, and their standard errors, in float64.

    A column of NaN gets the mean interpolated linearly between its neighbors. The standard error is NaN for fewer than
    two numbers.

    >>> mean_by_step(torch.tensor([[1.0, torch.nan, 5.0], [3.0, torch.nan, 5.0]]))
    (tensor([2.0000, 3.5000, 5.0000], dtype=torch.float64), tensor([1., nan, 0.], dtype=torch.float64))
    """
    values, count = values.double(), values.isfinite().sum(0)
    mean = values.nanmean(0)
    variance = (values - mean).square().nansum(0) / (count - 1)
    se = torch.where(count > 1, (variance / count).sqrt(), torch.nan)
    drawn = count > 0
    step = np.arange(values.shape[1])
    filled = np.interp(step, step[drawn.numpy()], mean[drawn].numpy())
    return torch.from_numpy(filled), se
