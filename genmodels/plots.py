"""Pictures of data, samples and densities, in one style; charts are in :mod:`genmodels.figures`."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from io import BytesIO
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from genmodels.core import DataSpec
from genmodels.figures import BLUE, ORANGE, SERIES, plain_text
from genmodels.files import atomic

if TYPE_CHECKING:
    from matplotlib.figure import Figure


def image_grid(x: Tensor, spec: DataSpec, columns: int | None = None, smallest: int = 32) -> Image.Image:
    """Grid of raw images ``x [N, C, H, W]`` with gray lines between; small ones are enlarged to ``smallest`` pixels."""
    n, channels, height, width = x.shape
    columns = columns or math.ceil(math.sqrt(n))
    rows = math.ceil(n / columns)
    unit = x.float() / ((spec.levels or 2) - 1) if spec.is_discrete else (x.float() + 1) / 2
    pixels = (unit.clamp(0, 1) * 255).round().byte().cpu()
    pixels = pixels[:, :3] if channels >= 3 else pixels[:, :1].expand(-1, 3, -1, -1)
    zoom = math.ceil(smallest / min(height, width))
    pixels = pixels.repeat_interleave(zoom, 2).repeat_interleave(zoom, 3)
    canvas = torch.full((3, rows * (height * zoom + 1) + 1, columns * (width * zoom + 1) + 1), 128, dtype=torch.uint8)
    for index, tile in enumerate(pixels):
        top, left = (index // columns) * (height * zoom + 1) + 1, (index % columns) * (width * zoom + 1) + 1
        canvas[:, top : top + height * zoom, left : left + width * zoom] = tile
    return Image.fromarray(canvas.permute(1, 2, 0).numpy())


def rendered(figure: Figure) -> Image.Image:
    """``figure`` as an RGB image."""
    figure.tight_layout()
    buffer = BytesIO()
    figure.savefig(buffer, format="png")
    return Image.open(buffer).convert("RGB")


def scatter(
    x: Tensor, behind: Tensor | None = None, extent: tuple[float, float, float, float] | None = None
) -> Image.Image:
    """Scatter plot of the first two dimensions of ``x [N, D]``.

    Args:
        x: the points.
        behind: data ``[M, D]`` to show in gray behind them, or ``None``.
        extent: left, right, bottom and top of the axes; ``None`` to fit them to the points.
    """
    from matplotlib.figure import Figure

    points = x.float().cpu().numpy()
    points = points if points.shape[1] > 1 else np.hstack([points, np.zeros_like(points)])
    figure = Figure(figsize=(4, 4), dpi=100)
    axes = figure.add_subplot()
    if behind is not None:
        x1, x2 = behind[:, :2].float().cpu().numpy().T
        axes.scatter(x1, x2, s=2, color="#bbbbbb", linewidths=0)
    axes.scatter(points[:, 0], points[:, 1], s=6, color=BLUE, alpha=0.8, linewidths=0)
    axes.set_aspect("equal", adjustable="box" if extent else "datalim")
    if extent is not None:
        axes.set(xlim=extent[:2], ylim=extent[2:])
    axes.set_xlabel("$x_1$")
    axes.set_ylabel("$x_2$")
    return rendered(figure)


def timesteps(
    term: Sequence[float], rate: Sequence[float], distortion: Sequence[float] | None, unit: str
) -> Image.Image:
    """Terms of a diffusion model's bound against the timestep, and its distortion against its rate, or its rate alone.

    Args:
        term: the term of the bound at t = 1 .. T, in ``unit``.
        rate: the cost of sending x_t, in ``unit``.
        distortion: root mean squared error of the estimate of x_0 at t, if there is one.
        unit: unit of terms and rate.
    """
    from matplotlib.figure import Figure

    figure = Figure(figsize=(8, 3.2), dpi=110)
    left, right = figure.subplots(1, 2)
    left.loglog(range(1, len(term) + 1), term, color=BLUE)
    left.set_xlabel("timestep $t$")
    left.set_ylabel(f"term of the bound ({unit})")
    if distortion is None:
        right.plot(range(1, len(term) + 1), rate, color=ORANGE)
        right.set(xlabel="timestep $t$", ylabel=f"rate ({unit})")
    else:
        right.plot(rate, distortion, color=ORANGE)
        right.set(xlabel=f"rate ({unit})", ylabel="distortion (RMSE)")
    for axes in (left, right):
        axes.grid(alpha=0.3)
    return rendered(figure)


def energies(chains: Mapping[str, Tensor], every: int) -> Image.Image:
    """Energies of sets of Markov chains against their steps: means, and between which values nine tenths of them lie.

    The panel on the left shows all steps, that on the right the last half.

    Args:
        chains: energies ``[R + 1, N]`` in nats of N chains, from step 0 on, by the title of the set.
        every: number of steps from one row to the next.
    """
    from matplotlib.figure import Figure

    figure = Figure(figsize=(8, 3.2), dpi=110)
    left, right = figure.subplots(1, 2)
    for color, (title, energy) in zip(SERIES, chains.items(), strict=False):
        rows = range(len(energy))
        for axes, shown in ((left, rows), (right, rows[len(energy) // 2 :])):
            step, values = [every * row for row in shown], energy[shown.start :].double().cpu()
            low, high = values.quantile(0.05, dim=1), values.quantile(0.95, dim=1)
            axes.fill_between(step, low.numpy(), high.numpy(), color=color, alpha=0.2, linewidth=0)
            axes.plot(step, values.mean(1).numpy(), color=color, label=title)
            axes.set_xlabel("step")
            axes.grid(alpha=0.3)
    left.set_xscale("symlog", linthresh=every)
    left.set_xticks([0, *(10**k for k in range(1, 7) if every <= 10**k <= every * (len(rows) - 1))])
    left.set_ylabel("energy (nats)")
    left.legend()
    return rendered(figure)


def plane(
    points: Tensor | None, density: Tensor | None, words: str, extent: tuple[float, float, float, float], highest: float
) -> Image.Image:
    """Points on the plane above a density, on the same equal axes.

    Args:
        points: ``[N, 2]``, or ``None``.
        density: ``[rows, columns]``, rows along the second dimension from below, or ``None``.
        words: title of the density.
        extent: left, right, bottom and top of the axes, and of the density.
        highest: density of the brightest color.
    """
    from matplotlib.figure import Figure

    panels = [points is not None, density is not None]
    figure = Figure(figsize=(3.2, 3.3 * sum(panels)), dpi=130)
    rows = iter(figure.subplots(sum(panels), 1, squeeze=False)[:, 0])
    if points is not None:
        axes = next(rows)
        x1, x2 = points.float().cpu().numpy().T
        axes.scatter(x1, x2, s=2, color=BLUE, alpha=0.6, linewidths=0)
        axes.set_title(f"{len(points)} points", fontsize="medium")
        axes.set_aspect("equal")
        axes.set(xlim=extent[:2], ylim=extent[2:])
    if density is not None:
        axes = next(rows)
        pixels = density.float().cpu().numpy()
        axes.imshow(
            pixels, origin="lower", extent=extent, vmin=0, vmax=highest, cmap="cividis", interpolation="nearest"
        )
        axes.set_title(words, fontsize="medium")
    return rendered(figure)


def density_grid(panels: Mapping[str, np.ndarray], highest: float, columns: int) -> Image.Image:
    """Densities on the plane in a grid, each below its title, in the same colors.

    Args:
        panels: densities ``[rows, columns]`` of the same square, rows along the second dimension from below, by title.
        highest: density of the brightest color.
        columns: number of panels in a row.
    """
    from matplotlib.figure import Figure

    rows = -(-len(panels) // columns)
    figure = Figure(figsize=(1.9 * columns, 2.15 * rows), dpi=110)
    places = figure.subplots(rows, columns, squeeze=False).flat
    for axes, (title, density) in zip(places, panels.items(), strict=False):
        axes.imshow(density, origin="lower", vmin=0, vmax=highest, cmap="cividis", interpolation="nearest")
        axes.set_title(plain_text(title), fontsize="medium")
    for axes in figure.axes:
        axes.set_axis_off()
    return rendered(figure)


def strip(path: Tensor, spec: DataSpec) -> Image.Image:
    """Grid with one row per example of ``path [frames, n, C, H, W]``, whose frames run from left to right."""
    return image_grid(path.transpose(0, 1).flatten(0, 1), spec, columns=len(path))


def save(image: Image.Image, file: Path, **options: Any) -> None:
    """Save a picture in the format of the file's ending, as a whole or not at all.

    Raises:
        OSError: if the file cannot be written.
    """
    with atomic(file) as part:
        image.save(part, **options)


def picture_bytes(n: int, spec: DataSpec, smallest: int = 32) -> int:
    """Memory that a picture of ``n`` examples takes in the making, see :func:`picture`."""
    if not (spec.is_image or spec.is_discrete):
        return 200 * n
    shape = spec.shape[1:] if spec.is_image else (1, spec.dims)
    zoom = math.ceil(smallest / min(shape)) if spec.is_image else row_height(spec.dims)
    height, width = (zoom * side + 1 for side in shape)
    return n * (2 * 3 * height * width + 12 * spec.dims)


def animation(path: Tensor, spec: DataSpec, file: Path) -> None:
    """Save ``path [frames, n, C, H, W]`` as an animated GIF of grids, whose last frame lasts longer.

    Raises:
        OSError: if the file cannot be written.
    """
    first, *rest = [image_grid(frame, spec) for frame in path]
    times = [80] * len(rest) + [1500]  # milliseconds
    save(first, file, save_all=True, append_images=rest, duration=times, loop=0)


def picture(x: Tensor, spec: DataSpec, columns: int | None = None) -> Image.Image:
    """Raw data ``x [N, *shape]`` as a grid of images, as rows of pixels for integer vectors, or as a scatter plot."""
    if spec.is_image:
        return image_grid(x, spec, columns)
    return sequences(x, spec) if spec.is_discrete else scatter(x)


def completions(x: Tensor, known: Tensor, completed: Tensor, spec: DataSpec) -> Image.Image:
    """A row for each of N examples: what is known of it, the rest in gray, and its n completions.

    Args:
        x: raw data ``[N, *shape]``.
        known: ``[N, *shape]``, true where x is known.
        completed: raw data ``[N n, *shape]``, the completions of one example one after another.
        spec: shape and levels of the data.
    """
    if not spec.is_image and not spec.is_discrete:
        return scatter(completed)
    gray = ((spec.levels or 2) - 1) // 2 if spec.is_discrete else 0.0
    first = torch.where(known, x, torch.full_like(x, gray)).cpu()
    rows = torch.cat([first[:, None], completed.view(len(x), -1, *spec.shape)], 1)
    if spec.is_image:
        return image_grid(rows.flatten(0, 1), spec, rows.shape[1])
    return image_grid(rows.flatten(0, 1)[:, None, None], spec, rows.shape[1], row_height(spec.dims))


def sequences(x: Tensor, spec: DataSpec) -> Image.Image:
    """Vectors of integers ``x [N, D]``, each a row of D squares; as many columns of rows as make the picture square."""
    columns = max(1, round(math.sqrt(len(x) / spec.dims)))
    return image_grid(x[:, None, None], spec, columns, row_height(spec.dims))


def row_height(dims: int) -> int:
    """Pixels on the side of a square of :func:`sequences`: 8, or fewer for vectors of more than 80 dimensions."""
    return max(1, min(8, 640 // dims))


def pairs(x: Tensor, y: Tensor, spec: DataSpec) -> Image.Image:
    """Each example of ``x [N, *shape]`` before its counterpart in ``y [N, *shape]``; of points one scatter plot."""
    both = torch.stack([x, y], dim=1).flatten(0, 1)
    return image_grid(both, spec, columns=8) if spec.is_image else picture(both, spec)
