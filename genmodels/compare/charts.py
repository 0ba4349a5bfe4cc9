"""The charts of the report: curves and points from scores, costs and the tables in run folders."""

from __future__ import annotations

import csv
import math
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import NamedTuple

from genmodels import figures
from genmodels.compare.html import LARGEST
from genmodels.compare.records import Run
from genmodels.compare.results import Cell, Column, Group
from genmodels.core.score import Score
from genmodels.errors import UserError
from genmodels.untrusted import printable, read_text

Columns = Mapping[Column, Mapping[str, Cell]]
Cost = Callable[[Group], float | None]
VALIDATED = "val/"  # beginning of the names of validation values
UNITS = {"val/bits_per_dim": "validation bits/dim", "val/nats": "validation nats (negative)"}
MOST_VALUES = 8  # validation values that have charts
COSTS: dict[str, Cost] = {
    "train seconds": lambda group: group.cost("train_seconds"),
    "network passes per sample": lambda group: group.speed("passes_per_sample"),
}


class Chart(NamedTuple):
    """A chart of the page.

    Attributes:
        svg: the chart, such as by :func:`genmodels.figures.chart`; it is trusted.
        caption: what is shown, against what.
        series: index of the group that all of it belongs to, or ``None``.
    """

    svg: str
    caption: str
    series: int | None = None


def title_of(column: Column) -> str:
    """Name of a column in a chart."""
    return column.unit if column.name == "bits_per_dim" else column.name


def drawable(column: Column, cells: Mapping[str, Cell], groups: Sequence[Group]) -> list[tuple[int, Group, Cell]]:
    """The groups with a finite score in the column, with their indices, if the column says what is better."""
    found = [(index, group, cells[group.label]) for index, group in enumerate(groups) if group.label in cells]
    return [each for each in found if column.better and math.isfinite(each[2].score.value)]


def scored(column: Column, group: Group) -> Iterator[tuple[Run, Score]]:
    """The runs of the group that have a finite score of the column."""
    for run in group.runs:
        for score in run.scores.values():
            if Column.of(group.data, score) == column and math.isfinite(score.value):
                yield run, score


def point(cell: Cell, group: Group, style: int, x: float) -> figures.Curve:
    """The mean of a group in a chart of scores; its bar is two standard errors."""
    bound = {"<=": -1, ">=": 1}.get(cell.score.sign, 0)
    error = cell.error if cell.error is not None and math.isfinite(cell.error) else 0.0
    note = cell.score.text if len(cell.own) == 1 else f"{cell.score.text}, mean of {len(cell.own)} seeds"
    return figures.Curve(group.label, [x], [cell.score.value], style, 2 * error, bound, note)


def dot(run: Run, score: Score, group: Group, style: int, x: float) -> figures.Curve:
    """The score of one seed."""
    return figures.Curve(group.label, [x], [score.value], style, note=f"seed {run.seed}: {score.text}", dots=True)


def by_seed(columns: Columns, groups: Sequence[Group]) -> list[Chart]:
    """Every score that some model has several seeds of: a dot per seed, beside the mean."""
    charts = []
    for column, cells in columns.items():
        rows = drawable(column, cells, groups)
        if not any(len(cell.own) > 1 for _, _, cell in rows):
            continue
        curves = []
        for place, (style, group, cell) in enumerate(rows):
            curves += [dot(run, score, group, style, place - 0.2) for run, score in scored(column, group)]
            curves.append(point(cell, group, style, place))
        title = title_of(column)
        svg = figures.chart(curves, "", title, legend=False, names=[group.label for _, group, _ in rows])
        charts.append(Chart(svg, f"{title}, one dot per seed"))
    return charts


def pareto(columns: Columns, groups: Sequence[Group]) -> list[Chart]:
    """Every likelihood and distance against what training and sampling cost."""
    charts = []
    for column, cells in columns.items():
        for title, cost in COSTS.items() if column.unit or column.distance else ():
            rows = [each for each in drawable(column, cells, groups) if (cost(each[1]) or 0) > 0]
            means = [point(cell, group, style, cost(group) or 0.0) for style, group, cell in rows]
            if len({mean.x[0] for mean in means}) < 2:
                continue
            seeds = [
                dot(run, score, group, style, x)
                for style, group, cell in rows
                for run, score in (scored(column, group) if len(cell.own) > 1 else ())
                if (x := cost(replace(group, runs=(run,))) or 0.0) > 0
            ]
            curves = [front(means, str(column.better)), *seeds, *means]
            svg = figures.chart(curves, title, title_of(column), log="x", legend=False)
            charts.append(Chart(svg, f"{title_of(column)} against {title}"))
    return charts


def front(points: Sequence[figures.Curve], better: str) -> figures.Curve:
    """Pareto front: line through the points that no other beats at the same or lower cost."""
    sign = 1 if better == "lower" else -1
    best: list[tuple[float, float]] = []
    for x, y in sorted(((point.x[0], point.y[0]) for point in points), key=lambda p: (p[0], sign * p[1])):
        if not best or sign * y < sign * best[-1][1]:
            best.append((x, y))
    return figures.Curve("", [x for x, _ in best], [y for _, y in best], figures.FRONT)


class Log(NamedTuple):
    """The metrics.csv of a run, and the run's group with its index."""

    style: int
    group: Group
    run: Run
    rows: list[dict[str, str]]

    def names(self, wanted: Callable[[str], bool]) -> list[str]:
        """The columns that are wanted."""
        return sorted(name for name in (self.rows[0] if self.rows else ()) if name and wanted(name))


def logs_of(groups: Sequence[Group]) -> list[Log]:
    """The logs of all runs."""
    runs = [(style, group, run) for style, group in enumerate(groups) for run in group.runs]
    return [Log(style, group, run, table(run.path / "metrics.csv")) for style, group, run in runs]


def validation(logs: Sequence[Log]) -> list[Chart]:
    """The validation values of all runs, against batches and against seconds."""
    names = {name: None for log in logs for name in log.names(lambda name: name.startswith(VALIDATED))}
    charts = []
    for name in sorted(names, key=lambda name: name not in UNITS)[:MOST_VALUES]:
        title = UNITS.get(name, f"validation {name.removeprefix(VALIDATED)}")
        for unit in ("batches", "seconds"):
            curves = [
                figures.Curve(log.group.label, [step * pace(log.run, unit) for step in x], y, log.style, note=seed(log))
                for log in logs
                for x, y in [series(log.rows, "step", name)]
                if len(x) > 1 and pace(log.run, unit) > 0
            ]
            if curves:
                svg = figures.chart(curves, unit, title, legend=False)
                charts.append(Chart(svg, f"{title} against {unit} of training"))
    return charts


def seed(log: Log) -> str:
    """What tells a run from others of its group."""
    return f"seed {log.run.seed}"


def pace(run: Run, unit: str) -> float:
    """Length of one batch in ``batches`` (one) or ``seconds``; zero if unknown."""
    batches = run.cost.get("batches", 0)
    return 1.0 if unit == "batches" else float(run.cost.get("train_seconds", 0)) / batches if batches > 0 else 0.0


def losses(logs: Sequence[Log]) -> list[Chart]:
    """The training losses of every model, of all seeds.

    Several groups of one model share a chart for each loss; the players of a single group share one in their colors.
    """
    charts = []
    for model in dict.fromkeys(log.group.model for log in logs):
        own = [log for log in logs if log.group.model == model]
        names = sorted({name for log in own for name in log.names(is_loss)})
        styles = {log.style for log in own}
        if len(styles) > 1:
            for name in names:
                curves = [curve for log in own for curve in loss(log, name, log.group.label, log.style)]
                charts += drawn(curves, f"{model}: {words_of(name)} of training batches", None)
        else:
            players = [*enumerate(names)] if len(names) > 1 else [(own[0].style, name) for name in names]
            curves = [
                curve for log in own for color, name in players for curve in loss(log, name, words_of(name), color)
            ]
            words = "losses" if len(names) > 1 else "loss"
            charts += drawn(curves, f"{own[0].group.label}: training {words}", own[0].style, len(names) > 1)
    return charts


def loss(log: Log, name: str, label: str, style: int) -> list[figures.Curve]:
    """The curve of a loss, if it has more than one point."""
    x, y = series(log.rows, "step", name)
    return [figures.Curve(label, x, y, style, note=seed(log))] if len(x) > 1 else []


def words_of(name: str) -> str:
    """A column of metrics.csv in a legend."""
    return name.removeprefix("train/")


def drawn(curves: Sequence[figures.Curve], caption: str, style: int | None, legend: bool = False) -> list[Chart]:
    """The chart of losses, if there are any."""
    return [Chart(figures.chart(curves, "batches", "loss", legend=legend), caption, style)] if curves else []


def is_loss(name: str) -> bool:
    """Whether a column of metrics.csv is a training loss, or that of one of several players."""
    return name == "train/loss" or name.endswith("_loss")


def diffusion(shown: Sequence[tuple[Group, Run]]) -> list[Chart]:
    """The bound's terms by timestep, and distortion against rate."""
    tables = [(style, group, table(run.path / "evaluation/timesteps.csv")) for style, (group, run) in enumerate(shown)]
    kinds = (
        ("t", "term", "timestep", "term of the bound (per dimension)", "xy"),
        ("rate", "distortion", "rate (per dimension)", "distortion (RMSE)", ""),
    )
    charts = []
    for x, y, x_title, y_title, log in kinds:
        curves = [figures.Curve(group.label, *series(rows, x, y), style) for style, group, rows in tables]
        curves = [curve for curve in curves if len(curve.x) > 1]
        if curves:
            svg = figures.chart(curves, x_title, y_title, log, legend=False)
            charts.append(Chart(svg, f"{y_title} against {x_title}"))
    return charts


def table(path: Path) -> list[dict[str, str]]:
    """Rows of a CSV file; none if it is missing or cannot be read."""
    try:
        reader = csv.DictReader(read_text(path, most=LARGEST).splitlines(), restkey="")
        reader.fieldnames = [printable(name) for name in reader.fieldnames or []]
        return list(reader)
    except (UserError, csv.Error):
        return []


def series(rows: Iterable[Mapping[str, str]], x: str, y: str) -> tuple[list[float], list[float]]:
    """Two columns of a table, in the rows where both are finite numbers."""
    found: tuple[list[float], list[float]] = ([], [])
    for row in rows:
        try:
            values = float(row[x]), float(row[y])
        except (KeyError, TypeError, ValueError):
            continue
        if all(map(math.isfinite, values)):
            found[0].append(values[0])
            found[1].append(values[1])
    return found
