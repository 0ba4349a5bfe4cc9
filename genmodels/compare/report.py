"""The comparison as one self-contained HTML page."""

from __future__ import annotations

import csv
import json
import math
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any
from xml.etree.ElementTree import Element

from genmodels import plots
from genmodels.compare.html import LARGEST, drawing, facts, node, page, picture, sortable
from genmodels.compare.records import Run
from genmodels.compare.results import Cell, Column, Group, Results, sentences
from genmodels.compare.tables import CAPTION, pretty, tables_of
from genmodels.errors import UserError
from genmodels.runs import write_whole
from genmodels.untrusted import printable, read_text

GALLERIES = (  # file in the run folder, title, caption, class of the figures
    ("samples/final.png", "Samples", "Samples of the finished models, from the same random numbers.", "picture"),
    ("samples/reconstructions.png", "Reconstructions", "Examples and their reconstructions.", "picture"),
)  # fmt: skip
DETAILS = (
    ("samples/denoising.png", "Denoising", "From noise (left) to a sample (right).", "strip"),
    ("samples/interpolation.png", "Interpolation", "Decoded straight lines between two codes.", "strip"),
    ("evaluation/neighbors.png", "Nearest neighbors",
     "First column: the samples nearest to the training data; in each row, their nearest training examples.",
     "picture"),
)  # fmt: skip
DECLARED = ("protocol", "quantity", "incidental", "baselines", "distance")  # fields of a score that are not shown
VALIDATION = {"val/bits_per_dim": "validation bits/dim", "val/nats": "validation nats (negative)"}
ABOUT_PLANES = "Points of the data and of each model, above their densities: the same axes, and the same colors."
ABOUT_COST = (
    "Cost rises to the right; lower is better, except for nats. Bars are two standard errors; an arrow points to "
    "the side of a bound on which the true value lies; the dashed line is the Pareto front of the printed values."
)


def write_report(results: Results, path: Path, title: str = "Comparison of generative models") -> None:
    """Write the page.

    Raises:
        UserError: if it cannot be written.
    """
    try:
        write_whole(path, report(results, title))
    except OSError as error:
        raise UserError(f"the report {path} cannot be written: {error.strerror}.") from error


def report(results: Results, title: str) -> str:
    """The page as HTML text."""
    links = [node("a", data, href=f"#data-{i}") for i, data in enumerate(results.data)]
    return page(
        title,
        node("h1", title),
        node("nav", *links, node("a", "Protocols", href="#protocols")),
        listing("Not finished", results.unfinished),
        *(section(results, data, f"data-{i}") for i, data in enumerate(results.data)),
        listing("Scores that do not exist", results.refusals),
        node("h2", "Protocols", id="protocols"),
        *(node("p", remark) for remark in results.remarks),
        *(protocol(group, run) for group in results.groups for run in group.runs),
    )


def listing(title: str, entries: Iterable[tuple[str, str]]) -> Element | None:
    """Names and reasons under a title, if there are any."""
    items = [node("li", node("b", name), f": {reason}") for name, reason in entries]
    return node("section", node("h2", title), node("ul", *items)) if items else None


def section(results: Results, data: str, anchor: str) -> Element:
    """Tables, pictures and charts of one data set."""
    groups = results.of(data)
    styles = {group.label: index for index, group in enumerate(groups)}
    columns = results.columns_of(data)
    shown = [(group, representative(group, groups)) for group in groups]
    planes = on_the_plane(shown)
    return node(
        "section",
        node("h2", data, id=anchor),
        *(sortable(table) for table in tables_of(results, data)),
        node("p", pretty(CAPTION), class_="soft"),
        *(node("p", sentence, class_="soft") for sentence in sentences(results, data)),
        *([planes] if planes is not None else [gallery(shown, *each) for each in GALLERIES]),
        charts("Quality against cost", ABOUT_COST, pareto(columns, groups, styles)),
        charts("Training", "Seconds are batches times the run's mean time per batch.", training(groups, styles)),
        charts("Diffusion, step by step", "The bound's terms, and distortion against rate.", diffusion(shown, styles)),
        *(gallery(shown, *each) for each in DETAILS),
    )


def representative(group: Group, groups: Sequence[Group]) -> Run:
    """The run whose pictures are shown: one of a seed that all groups have, if there is one."""
    seeds = set.intersection(*({run.seed for run in other.runs} for other in groups))
    return next((run for run in group.runs if run.seed in sorted(seeds)[:1]), group.runs[0])


def gallery(
    shown: Sequence[tuple[Group, Run]], file: str, title: str, words: str, class_: str, before: Element | None = None
) -> Element | None:
    """The picture ``file`` of each group that has one, under a title; ``before`` them, if there are any, another."""
    pictures = [picture(run.path / file, f"{group.label}, seed {run.seed}", class_) for group, run in shown]
    found = [each for each in pictures if each is not None]
    return side_by_side(title, words, [before, *found] if found and before is not None else found, "row")


def on_the_plane(shown: Sequence[tuple[Group, Run]]) -> Element | None:
    """Points and density of the data, then of the model of each group that has them, if these are on the plane."""
    of_data = (picture(run.path / "samples/plane_data.png", "data", "plane") for _, run in shown)
    data = next((each for each in of_data if each is not None), None)
    return gallery(shown, "samples/plane.png", "Samples and density", ABOUT_PLANES, "plane", data)


def side_by_side(title: str, words: str, figures: Sequence[Element], class_: str) -> Element | None:
    """Figures under a title, if there are any."""
    if not figures:
        return None
    return node("section", node("h3", title), node("p", words, class_="soft"), node("div", *figures, class_=class_))


def charts(title: str, words: str, drawn: Iterable[tuple[str, str]]) -> Element | None:
    """Charts under a title, given SVG and caption of each."""
    return side_by_side(title, words, [drawing(svg, caption) for svg, caption in drawn], "charts")


def pareto(
    columns: Mapping[Column, Mapping[str, Cell]], groups: Sequence[Group], styles: Mapping[str, int]
) -> list[tuple[str, str]]:
    """SVG and caption of every likelihood and distance against what training and sampling cost."""
    found = []
    for column, cells in columns.items():
        if column.better is None or not (column.unit or column.distance):
            continue
        name = column.unit if column.name == "bits_per_dim" else column.name
        for title, cost in (("train seconds", train_seconds), ("network passes per sample", passes)):
            points = [
                point(group.label, cost(group), cells[group.label], styles[group.label])
                for group in groups
                if group.label in cells and (cost(group) or 0) > 0 and math.isfinite(cells[group.label].score.value)
            ]
            if len({point.x[0] for point in points}) > 1:
                svg = plots.chart([front(points, column.better), *points], title, name, log="x")
                found.append((svg, f"{name} against {title}"))
    return found


def front(points: Sequence[plots.Curve], better: str) -> plots.Curve:
    """Pareto front: line through the points that no other beats at the same or lower cost."""
    sign = 1 if better == "lower" else -1
    best: list[tuple[float, float]] = []
    for x, y in sorted(((point.x[0], point.y[0]) for point in points), key=lambda p: (p[0], sign * p[1])):
        if not best or sign * y < sign * best[-1][1]:
            best.append((x, y))
    return plots.Curve("", [x for x, _ in best], [y for _, y in best], plots.FRONT)


def train_seconds(group: Group) -> float | None:
    """Seconds of training, mean over seeds."""
    return group.cost("train_seconds")


def passes(group: Group) -> float | None:
    """Network evaluations per sample."""
    return group.speed("passes_per_sample")


def point(label: str, cost: float | None, cell: Cell, style: int) -> plots.Curve:
    """A group's point in a chart of quality against cost; its bar is two standard errors."""
    bound = {"<=": -1, ">=": 1}.get(cell.score.sign, 0)
    error = cell.error if cell.error is not None and math.isfinite(cell.error) else 0.0
    return plots.Curve(label, [cost or 0.0], [cell.score.value], style, 2 * error, bound)


def training(groups: Sequence[Group], styles: Mapping[str, int]) -> list[tuple[str, str]]:
    """SVG and caption of the validation curves of all groups, then of each group's losses."""
    found = []
    logs = [(group, run, table(run.path / "metrics.csv")) for group in groups for run in group.runs]
    for column, title in VALIDATION.items():
        lines = [(group, run, *series(log, "step", column)) for group, run, log in logs]
        lines = [each for each in lines if len(each[2]) > 1]
        if not lines:
            continue
        for unit in ("batches", "seconds"):
            curves = [
                plots.Curve(first(group, run), [step * pace(run, unit) for step in x], y, styles[group.label])
                for group, run, x, y in lines
                if pace(run, unit) > 0
            ]
            if curves:
                found.append((plots.chart(curves, unit, title), f"{title} against {unit} of training"))
    for group, run, log in logs:
        if run is group.runs[0] and (curves := losses(log)):
            found.append((plots.chart(curves, "batches", "loss"), f"{group.label}, seed {run.seed}: training losses"))
    return found


def first(group: Group, run: Run) -> str:
    """The group's label for its first run, else empty, so that the legend lists each group once."""
    return group.label if run is group.runs[0] else ""


def pace(run: Run, unit: str) -> float:
    """Length of one batch in ``batches`` (one) or ``seconds``; zero if unknown."""
    batches = run.cost.get("batches", 0)
    return 1.0 if unit == "batches" else float(run.cost.get("train_seconds", 0)) / batches if batches > 0 else 0.0


def losses(log: Sequence[Mapping[str, str]]) -> list[plots.Curve]:
    """Curves of the training losses: ``train/loss``, or those of several players."""
    names = sorted({name for row in log for name in row if name == "train/loss" or name.endswith("_loss")})
    found = [(name.removeprefix("train/"), *series(log, "step", name)) for name in names]
    return [plots.Curve(name, x, y, style) for style, (name, x, y) in enumerate(found) if len(x) > 1]


def diffusion(shown: Sequence[tuple[Group, Run]], styles: Mapping[str, int]) -> list[tuple[str, str]]:
    """SVG and caption of the bound's terms by timestep, and of distortion against rate."""
    tables = [(group, table(run.path / "evaluation" / "timesteps.csv")) for group, run in shown]
    kinds = (
        ("t", "term", "timestep", "term of the bound (per dimension)", "xy"),
        ("rate", "distortion", "rate (per dimension)", "distortion (RMSE)", ""),
    )
    found = []
    for x, y, x_title, y_title, log in kinds:
        curves = [plots.Curve(group.label, *series(rows, x, y), styles[group.label]) for group, rows in tables]
        curves = [curve for curve in curves if len(curve.x) > 1]
        if curves:
            found.append((plots.chart(curves, x_title, y_title, log), f"{y_title} against {x_title}"))
    return found


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


def protocol(group: Group, run: Run) -> Element:
    """Provenance of one run, and the protocol of each of its scores."""
    known = {key: value for key, value in run.record.items() if key not in ("metrics", "model", "data", "refusals")}
    scores = []
    for score in run.scores.values():
        entries = {key: value for key, value in score.to_dict().items() if key not in DECLARED}
        conditions = {"comparable if equal": ", ".join(key for key, _ in score.conditions)}
        details = facts(flat(entries | dict(score.protocol) | conditions))
        scores.append(node("details", node("summary", pretty(score.line)), details))
    title = f"{group.label} on {group.data}, seed {run.seed}"
    return node("details", node("summary", title), facts([("folder", run.name), *flat(known)]), *scores)


def flat(entries: Mapping[str, Any]) -> list[tuple[str, str]]:
    """Names and values as text, with one level of nesting flattened."""
    found = []
    for name, value in entries.items():
        if isinstance(value, Mapping):
            found += [(f"{name}: {key}", format_value(inner)) for key, inner in value.items()]
        else:
            found.append((str(name), format_value(value)))
    return found


def format_value(value: Any) -> str:
    """A value as text: strings unchanged, lists separated by spaces, anything else as JSON."""
    if isinstance(value, list):
        return " ".join(map(format_value, value))
    return value if isinstance(value, str) else json.dumps(value)
