"""Pictures of data on the plane and of what a model has learned of them: points, and their density."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from genmodels import plots
from genmodels.core import DataSpec, Kind
from genmodels.core.abilities import HasLikelihood, HasPartition, HasProbabilityFlow, Samples
from genmodels.core.randomness import fixed_seed
from genmodels.files import atomic
from genmodels.models.base import BaseModel
from genmodels.networks.labelled import drawn_labels, given

PIXELS = 96  # on a side of the picture of a density, unless told otherwise
BINS = 64  # on a side of a histogram of samples
COUNTED = 100_000  # samples in a histogram
DRAWS = 16  # importance samples that tighten a bound
TOLERANCE = 1e-3  # of the ODE's solver: below what a picture shows
PASSES = 5_000_000  # most network passes for one picture
AT_A_TIME = 1024  # points, or samples, in one call of the model


def on_the_plane(spec: DataSpec) -> bool:
    """Whether the data are points of the plane."""
    return spec.shape == (2,) and not spec.is_discrete


@dataclass(frozen=True)
class Window:
    """The square ``[x - half_width, x + half_width] x [y - half_width, y + half_width]``."""

    x: float
    y: float
    half_width: float

    @classmethod
    def around(cls, points: Tensor) -> Window:
        """A window with a margin around all but the outermost thousandths of ``points [N, 2]`` in either direction."""
        low, high = np.quantile(points.double().cpu().numpy(), (0.001, 0.999), axis=0)
        half_width = 0.65 * float((high - low).max())
        x, y = ((low + high) / 2).tolist()
        return cls(x, y, half_width if half_width > 0 else 1.0)

    @property
    def extent(self) -> tuple[float, float, float, float]:
        """Left, right, bottom and top."""
        return (self.x - self.half_width, self.x + self.half_width, self.y - self.half_width, self.y + self.half_width)

    def grid(self, side: int) -> Tensor:
        """Centers ``[side², 2]`` of the pixels, row by row from below."""
        line = (torch.arange(side) + 0.5) * (2 * self.half_width / side) - self.half_width
        return torch.cartesian_prod(line, line).flip(1) + torch.tensor([self.x, self.y])

    def histogram(self, points: Tensor) -> Tensor:
        """Density ``[BINS, BINS]`` of ``points [N, 2]``, rows along the second dimension from below."""
        left, right, bottom, top = self.extent
        x, y = points.double().cpu().numpy().T
        counts, _, _ = np.histogram2d(y, x, bins=BINS, range=((bottom, top), (left, right)))
        return torch.from_numpy(counts / len(points) * (BINS / (2 * self.half_width)) ** 2).float()

    def evaluated(self, log_density: Callable[[Tensor], Tensor], side: int) -> Tensor:
        """Density ``[side, side]`` by a function from points ``[N, 2]`` to their log-densities ``[N]`` in nats.

        The points of one call are spread over the whole window, so that an adaptive solver, whose steps all points of
        a call share, takes about the same ones in every call: neighbors differ by what the density does.
        """
        points = self.grid(side)
        found, calls = torch.empty(len(points)), math.ceil(len(points) / AT_A_TIME)
        for first in range(calls):
            found[first::calls] = log_density(points[first::calls]).cpu()
        return found.exp().view(side, side)


@dataclass(frozen=True)
class Plane:
    """Points and a density on the plane.

    Attributes:
        points: ``[N, 2]``, or ``None``.
        density: ``[rows, columns]`` over a window, rows along the second dimension from below, or ``None``.
        words: how the density was found.
    """

    points: Tensor | None
    density: Tensor | None
    words: str


class Scene:
    """What all pictures of one data set on the plane share: their window, their data, and the brightest color.

    Args:
        points: data ``[N, 2]``.
        log_density: their true log-density ``[M]`` in nats at points ``[M, 2]``, or ``None`` if it is unknown.
        n: number of points to show.
        pixels: on a side of the picture of the density.
    """

    def __init__(
        self, points: Tensor, log_density: Callable[[Tensor], Tensor] | None, n: int, pixels: int = PIXELS
    ) -> None:
        self.window = Window.around(points)
        self.data = of_data(points, log_density, self.window, n, pixels)
        assert self.data.density is not None  # unlike a model, data always have one
        self.highest = 1.25 * float(self.data.density.quantile(0.999))

    def draw(self, plane: Plane) -> Image.Image:
        """Points above density, on the axes and in the colors of all pictures of these data."""
        return plots.plane(plane.points, plane.density, plane.words, self.window.extent, self.highest)

    def grid(self, points: Tensor) -> Image.Image:
        """A few ``points [N, 2]`` before the data."""
        return plots.scatter(points, self.data.points, self.window.extent)

    def save_arrays(self, file: Path, model: Plane) -> None:
        """Write points and densities of the data and a model, and the extent of the densities, to a NumPy archive."""
        parts = {"data": self.data.points, "data_density": self.data.density}
        parts |= {"samples": model.points, "density": model.density}
        arrays: dict[str, Any] = {name: part.numpy() for name, part in parts.items() if part is not None}
        with atomic(file) as part:
            np.savez_compressed(part, extent=np.array(self.window.extent), **arrays)


def of_data(
    points: Tensor, log_density: Callable[[Tensor], Tensor] | None, window: Window, n: int, pixels: int = PIXELS
) -> Plane:
    """Data on the plane: the first ``n`` of ``points [N, 2]``, and their true density, or a histogram of all."""
    if log_density is None:
        return Plane(points[:n], window.histogram(points), f"histogram of {len(points)} examples")
    return Plane(points[:n], window.evaluated(log_density, pixels), "density")


@torch.no_grad()
def of_model(model: BaseModel, window: Window, n: int, pixels: int = PIXELS) -> Plane | None:
    """``n`` samples of a model on the plane, and its density; ``None`` for a model that has neither.

    The density is that of the energy for a model whose partition function is known, that of the probability-flow ODE
    for a model that has one, else the model's likelihood, a bound tightened by importance samples, else a histogram of
    samples, as also for a model that is given labels.
    """
    with fixed_seed(0, model.device):
        points = drawn(model, n) if isinstance(model, Samples) else None
        found = density(model, window, pixels)
    if points is None and found is None:
        return None
    return Plane(points, *(found or (None, "")))


def drawn(model: Any, n: int) -> Tensor:
    """``n`` samples ``[n, 2]`` on the CPU, or fewer of a model that needs very many network passes for each."""
    n = min(n, max(1, PASSES // model.passes_per_sample))
    parts = []
    for size in (min(AT_A_TIME, n - done) for done in range(0, n, AT_A_TIME)):
        with given(model, drawn_labels(model, size)):
            parts.append(model.sample(size).cpu())
    return torch.cat(parts)


def density(model: BaseModel, window: Window, pixels: int = PIXELS) -> tuple[Tensor, str] | None:
    """The density ``[rows, columns]`` of a model over a window, and how it was found.

    Where every pixel is the end of an ODE, a side has two thirds of the ``pixels``.
    """
    device = model.device
    if model.spec.classes is not None:
        return counted(model, window)
    if isinstance(model, HasPartition) and (partition := model.log_partition()):
        log_z, how = partition
        return window.evaluated(lambda x: -model.energy(x.to(device)) - log_z, pixels), f"density, by {how}"
    if isinstance(model, HasProbabilityFlow) and model.no_flow_reason is None:
        return window.evaluated(
            lambda x: model.flow_log_density(x.to(device), TOLERANCE)[0], 2 * pixels // 3
        ), "density of the probability flow"
    if isinstance(model, HasLikelihood) and model.passes_per_example * pixels**2 <= PASSES:
        bounded = model.log_likelihood(window.grid(2).to(device)).kind not in (Kind.EXACT, Kind.ESTIMATE)
        draws = min(DRAWS, PASSES // (model.passes_per_example * pixels**2)) if bounded else 1
        words = f"density by {draws} importance samples" if bounded else "density"
        return window.evaluated(lambda x: model.log_likelihood(x.to(device), samples=draws).nats, pixels), words
    return counted(model, window)


def counted(model: BaseModel, window: Window) -> tuple[Tensor, str] | None:
    """The histogram ``[BINS, BINS]`` of samples, if there are any, and that it is one."""
    if not isinstance(model, Samples):
        return None
    points = drawn(model, COUNTED)
    return window.histogram(points), f"histogram of {len(points)} samples"
