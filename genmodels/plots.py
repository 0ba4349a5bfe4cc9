"""All pictures of the project, in one style."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from io import BytesIO, StringIO
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple
from xml.etree.ElementTree import fromstring, tostring

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from genmodels.core import DataSpec
from genmodels.files import atomic

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

BLUE, ORANGE = "#0072b2", "#d55e00"  # from the color-blind-safe palette of Okabe & Ito 2008


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


def picture(x: Tensor, spec: DataSpec) -> Image.Image:
    """Raw data ``x [N, *shape]`` as a grid of images, as rows of pixels for integer vectors, or as a scatter plot."""
    if spec.is_image:
        return image_grid(x, spec)
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


def side_by_side(pictures: Mapping[str, Image.Image], height: int = 300) -> Image.Image:
    """Pictures in a row, scaled to the same height, each below its title."""
    from PIL import ImageDraw, ImageFont

    nearest = Image.Resampling.NEAREST
    scaled = {title: p.resize((p.width * height // p.height, height), nearest) for title, p in pictures.items()}
    gap, title_height = 12, 24
    width = sum(p.width for p in scaled.values()) + gap * (len(scaled) - 1)
    canvas = Image.new("RGB", (width, height + title_height), "white")
    pen, left = ImageDraw.Draw(canvas), 0
    for title, image in scaled.items():
        pen.text((left, 2), title, fill="black", font=ImageFont.load_default(size=16))
        canvas.paste(image, (left, title_height))
        left += image.width + gap
    return canvas


SERIES = (  # from the same palette, and six that are as far from these and from one another, to all eyes
    *(BLUE, ORANGE, "#009e73", "#cc79a7", "#56b4e9", "#e69f00"),
    *("#3333ff", "#665919", "#3377ff", "#db9470", "#196666", "#b82ea1"),
)
MARKERS = "os^DvPX"  # as many as have no divisor in common with the colors, so that pairs repeat late
GLYPHS = "●■▲◆▼✚✖"  # the same as characters
SVG = "http://www.w3.org/2000/svg"
INK = "#010203"  # placeholder for the text color of the page, light or dark
LEGEND = 40  # characters per row of a legend
NAMES = 40  # characters of all names below an axis, which are left out if they are more
FRONT = -1  # style of the Pareto front, which belongs to no model
MOST = 1000  # points of a line; of more, evenly spaced ones are drawn


class Curve(NamedTuple):
    """A line of a chart, or a point if there is a single ``x``.

    Attributes:
        label: entry of the legend, which has each label once; ``""`` for none.
        x: abscissae.
        y: ordinates, one per abscissa.
        style: index of color and marker, the same for one model in every chart; or :data:`FRONT`.
        error: half the length of the error bar of a point.
        bound: -1 if the true ``y`` may lie anywhere below, 1 if above, 0 if ``y`` is no bound.
        note: what a reader is told besides the label under the pointer.
        dots: draw small dots without a line, such as one per seed.
    """

    label: str
    x: Sequence[float]
    y: Sequence[float]
    style: int = 0
    error: float = 0.0
    bound: int = 0
    note: str = ""
    dots: bool = False

    @property
    def thinned(self) -> Curve:
        """The curve with at most :data:`MOST` points."""
        every = math.ceil(len(self.x) / MOST)
        return self._replace(x=self.x[::every], y=self.y[::every]) if every > 1 else self


def chart(
    curves: Sequence[Curve], x: str, y: str, log: str = "", legend: bool = True, names: Sequence[str] = ()
) -> str:
    """Lines and points as SVG with a transparent background, small enough for a phone.

    Every group of the SVG that is part of a curve has the attribute ``data-series``, its style. The one with its points
    also has the label and the coordinates as text, which a script can show under the pointer.

    Args:
        curves: the lines and points.
        x: label of the x axis.
        y: label of the y axis.
        log: which axes are logarithmic: ``""``, ``"x"``, ``"y"`` or ``"xy"``.
        legend: draw a legend.
        names: names of the abscissae 0, 1, ...; written below the axis if there is room for them.
    """
    from matplotlib.ticker import NullFormatter

    curves = [curve.thinned for curve in curves]

    def draw(figure: Figure) -> None:
        axes = figure.add_subplot()
        for index, curve in enumerate(curves):
            draw_curve(axes, curve, f"curve-{index}")
        axes.set(xlabel=x, ylabel=y)
        for name, axis in (("x", axes.xaxis), ("y", axes.yaxis)):
            if name in log and decades([v for curve in curves for v in getattr(curve, name)]) >= 1:
                axes.set(**{f"{name}scale": "log"})
                axis.set_minor_formatter(NullFormatter())
        if names:
            fit = sum(len(name) + 1 for name in names) <= NAMES
            axes.set_xticks(range(len(names)), [plain_text(name) for name in names] if fit else [""] * len(names))
            axes.set_xlim(-0.5, len(names) - 0.5)
        axes.margins(y=0.15)  # room for arrows
        axes.grid(alpha=0.25)
        axes.spines[["top", "right"]].set_visible(False)
        if legend:
            add_legend(figure, axes)

    return annotated(as_svg(draw, (3.7, 2.8)), curves, x if not names else "", y)


def as_svg(draw: Callable[[Figure], None], size: tuple[float, float]) -> str:
    """What ``draw`` draws on a figure of ``size`` inches, as SVG with a transparent background and the page's ink."""
    from matplotlib import rc_context
    from matplotlib.figure import Figure

    ink: tuple[Any, ...] = ("text.color", "axes.edgecolor", "axes.labelcolor", "xtick.color", "ytick.color")
    options: Any = {"svg.fonttype": "none", "svg.hashsalt": "genmodels", "path.simplify": False}
    with rc_context({**dict.fromkeys(ink, INK), **options}):
        figure = Figure(figsize=size, layout="constrained")
        draw(figure)
        buffer = StringIO()
        figure.savefig(buffer, format="svg", transparent=True, metadata={"Date": None})
    return buffer.getvalue().replace(INK, "currentColor")


def add_legend(figure: Figure, axes: Axes) -> None:
    """A legend above the axes, with each label once."""
    found = {label: handle for handle, label in zip(*axes.get_legend_handles_labels(), strict=True)}
    if longest := max(map(len, found), default=0):
        columns = max(1, LEGEND // (min(longest, LEGEND) + 6))
        where: dict[str, Any] = {"loc": "outside upper center", "ncols": columns}
        figure.legend(found.values(), found, fontsize="small", frameon=False, **where)


def annotated(svg: str, curves: Sequence[Curve], x: str, y: str) -> str:
    """The SVG with the attributes of :func:`chart` in place of the ids of its curves."""
    root = fromstring(svg)
    root.attrib |= {"data-x-name": x, "data-y-name": y}
    for group in root.iter(f"{{{SVG}}}g"):
        _, is_curve, number = group.get("id", "").partition("curve-")
        if not is_curve:
            continue
        part, of_points, number = number.partition("points-")
        curve = curves[int(number or part)]
        del group.attrib["id"]
        group.set("data-series", str(curve.style))
        if of_points:
            numbers = {"x": curve.x, "y": curve.y}
            texts = {f"data-{name}": " ".join(f"{v:.4g}" for v in values) for name, values in numbers.items()}
            group.attrib |= {"data-label": curve.label, "data-note": curve.note, **texts}
    return tostring(root, encoding="unicode")


def decades(values: Sequence[float]) -> float:
    """Number of decades that ``values`` span; 0 if some are not positive."""
    return math.log10(max(values) / min(values)) if min(values) > 0 else 0.0


def plain_text(label: str) -> str:
    """A label that matplotlib does not read as math, nor hides for a leading ``_``, cut to the length of a row."""
    cut = label if len(label) <= LEGEND else f"{label[: LEGEND - 1]}…"
    return cut.replace("$", r"\$").lstrip("_")


def draw_curve(axes: Axes, curve: Curve, name: str) -> None:
    """Draw a line, dots, or a point with its error bar and, for a bound, an arrow in the direction of the true value.

    Args:
        axes: where to draw.
        curve: what to draw.
        name: id of its parts in the SVG; the part with its points has ``points-`` before the number.
    """
    points = name.replace("curve-", "curve-points-")
    if curve.style == FRONT:
        axes.step(curve.x, curve.y, where="post", color="#888888", linewidth=1, linestyle="--")
        return
    color, marker = SERIES[curve.style % len(SERIES)], MARKERS[curve.style % len(MARKERS)]
    style: dict[str, Any] = {"color": color, "label": plain_text(curve.label), "marker": marker, "gid": points}
    if curve.dots:
        axes.plot(curve.x, curve.y, **{**style, "marker": "o"}, ms=4, alpha=0.6, markeredgewidth=0, linestyle="none")
        return
    if len(curve.x) > 1:
        every = max(1, len(curve.x) // 6)
        axes.plot(curve.x, curve.y, **style, ms=4, markevery=every, linewidth=1.4)
        return
    axes.plot(curve.x, curve.y, **style, linestyle="none")
    bar = [[0.0 if curve.bound < 0 else curve.error], [0.0 if curve.bound > 0 else curve.error]]
    for part in axes.errorbar(curve.x, curve.y, yerr=bar, color=color, fmt="none", capsize=3).get_children():
        part.set_gid(name)
    if curve.bound:
        style = {"arrowstyle": "<-", "color": color, "gid": name}
        end = (0, 26 * curve.bound)
        axes.annotate("", (curve.x[0], curve.y[0]), end, textcoords="offset points", arrowprops=style)


class Axis(NamedTuple):
    """An axis of parallel coordinates.

    Attributes:
        name: what it shows.
        values: a number or a name per line; ``None`` where a line has none.
        log: whether numbers are spaced by their logarithms.
    """

    name: str
    values: Sequence[float | str | None]
    log: bool = False

    @property
    def names(self) -> list[str] | None:
        """The names from below, or ``None`` for numbers."""
        found = sorted({value for value in self.values if isinstance(value, str)})
        return found or None

    @property
    def ends(self) -> tuple[float, float]:
        """The smallest and the largest number."""
        numbers = [value for value in self.values if isinstance(value, (int, float))]
        return (min(numbers), max(numbers)) if numbers else (0.0, 0.0)

    def height(self, value: float | str | None) -> float:
        """Where a value lies on the axis, from 0 to 1; below it for a line that has none."""
        if value is None:
            return -0.15
        if isinstance(value, str):
            names = self.names or [value]
            return names.index(value) / (len(names) - 1) if len(names) > 1 else 0.5
        low, high, own = *self.ends, value
        if self.log and low > 0:
            low, high, own = math.log(low), math.log(high), math.log(value)
        return (own - low) / (high - low) if high > low else 0.5


def parallel(axes: Sequence[Axis], color: Sequence[float], best: Sequence[int]) -> str:
    """Parallel coordinates as SVG: a line for each trial of a search, the brighter the smaller its ``color``.

    Args:
        axes: the axes from left to right.
        color: a number per line.
        best: indices of the lines that are drawn in orange, above the others.
    """

    def draw(figure: Figure) -> None:
        from matplotlib import colormaps

        place = figure.add_subplot()
        ranks = {value: rank for rank, value in enumerate(sorted(set(color)))}
        lines = [[axis.height(axis.values[line]) for axis in axes] for line in range(len(color))]
        for line, heights in sorted(enumerate(lines), key=lambda each: (each[0] in best, -color[each[0]])):
            shade = colormaps["cividis_r"](0.1 + 0.8 * ranks[color[line]] / max(1, len(ranks) - 1))
            color_of_line, width = (ORANGE, 2.4) if line in best else (shade, 1.2)
            place.plot(range(len(axes)), heights, color=color_of_line, linewidth=width)
        for x, axis in enumerate(axes):
            place.axvline(x, ymin=0.0, color="#888888", linewidth=0.8)
            for y, text in labels_of(axis):
                place.annotate(text, (x, y), (3, 0), textcoords="offset points", fontsize="x-small", va="center")
        names = [shortened(axis.name) for axis in axes]
        place.set_xticks(range(len(axes)), names, fontsize="small", rotation=30, ha="right")
        place.set(yticks=[], ylim=(-0.22, 1.08), xlim=(-0.1, len(axes) - 0.5))
        place.spines[:].set_visible(False)

    return as_svg(draw, (max(3.7, 0.6 * len(axes)), 3.1))


def labels_of(axis: Axis) -> list[tuple[float, str]]:
    """Heights and texts of the labels beside an axis of parallel coordinates."""
    names: Sequence[float | str] = axis.names or sorted(set(axis.ends))
    texts = [(axis.height(value), shortened(value) if isinstance(value, str) else f"{value:.3g}") for value in names]
    return [*texts, *([(axis.height(None), "none")] if None in axis.values else [])]


def bars(values: Mapping[str, float], x: str) -> str:
    """Horizontal bars as SVG, the longest on top.

    Args:
        values: lengths by name.
        x: label of the x axis.
    """

    def draw(figure: Figure) -> None:
        place = figure.add_subplot()
        found = sorted(values.items(), key=lambda each: each[1])
        place.barh([shortened(name) for name, _ in found], [value for _, value in found], color=BLUE, height=0.6)
        place.set(xlabel=x, xlim=(0, None))
        place.grid(alpha=0.25, axis="x")
        place.spines[["top", "right"]].set_visible(False)

    return as_svg(draw, (3.7, 1.1 + 0.3 * len(values)))


def shortened(text: str) -> str:
    """A name for a picture, which matplotlib does not read as math."""
    cut = text if len(text) <= LEGEND // 2 else f"…{text[-LEGEND // 2 + 1 :]}"
    return cut.replace("$", r"\$")
