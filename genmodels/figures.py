"""Charts as SVG: curves and points, parallel coordinates, and bars, in the colors of all pictures of the project."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from io import StringIO
from typing import TYPE_CHECKING, Any, NamedTuple
from xml.etree.ElementTree import fromstring, tostring

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

BLUE, ORANGE = "#0072b2", "#d55e00"  # from the color-blind-safe palette of Okabe & Ito 2008
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
