"""The comparison on a terminal, in Markdown, LaTeX, CSV and JSON."""

from __future__ import annotations

import csv
import io
import json
import math
import sys
import textwrap
from collections.abc import Callable, Iterable, Iterator
from typing import Any, Literal

from rich import box
from rich.console import Console
from rich.table import Table as RichTable
from rich.text import Text

from genmodels.compare.ranking import interval
from genmodels.compare.records import Run
from genmodels.compare.results import Cell, Column, Group, Results, compared, sentences
from genmodels.compare.tables import Entry, Table, all_tables, caption, pretty, tables_of

WIDTH = 100  # characters, if the width of the terminal is unknown
LABEL = 32  # most characters in a line of a row's label on a terminal
GAP = 3  # characters between two columns on a terminal
FORMULA = ("=", "+", "-", "@", "\t", "\r")  # beginnings of what spreadsheets take for a formula


def print_tables(results: Results, console: Console | None = None) -> None:
    """Print all tables, split to fit the width of the terminal, and the notes on them."""
    console = console or terminal()
    for part in shown(results, console.width):
        console.print(part, soft_wrap=isinstance(part, Text))


def terminal() -> Console:
    """The terminal, or a console of a fixed width if the output is none."""
    return Console(width=None if sys.stdout.isatty() else WIDTH, highlight=False)


def shown(results: Results, width: int) -> Iterator[RichTable | Text]:
    """The tables, split to fit ``width`` characters, and the notes on them."""
    yield Text(results.summary, style="bold")
    found = []
    for data in results.data:
        for table in tables_of(results, data):
            found.append(table)
            for part in split(transposed(table) if len(table.rows) == 1 else table, width):
                yield rich_table(part)
        yield from (Text(textwrap.fill(f"{data}: {sentence}", width)) for sentence in sentences(results, data))
    if words := caption(found):
        yield Text(textwrap.fill(words, width), style="dim")
    yield from map(Text, results.remarks)
    yield from (Text(": ".join(each)) for each in (*results.refusals, *results.told))


def print_table(table: Table) -> None:
    """Print a table, split to fit the width of the terminal."""
    console = terminal()
    for part in split(table, console.width):
        console.print(rich_table(part))


def transposed(table: Table) -> Table:
    """The transpose of a table of one row, which fits any width."""
    (name, *cells), (_, *headings) = table.rows[0], table.headings
    rows = [[Entry(" ".join(heading)), cell] for heading, cell in zip(headings, cells, strict=True)]
    return Table(table.title, [("",), (name.text,)], rows)


def split(table: Table, width: int) -> list[Table]:
    """The table split by columns into tables of at most ``width`` characters, each with the labels of the rows."""

    def needed(column: int) -> int:
        lines = [*table.headings[column], *(row[column].text for row in table.rows)]
        return max(len(line) for line in lines) + GAP

    first = min(needed(0), LABEL + GAP)
    parts: list[list[int]] = [[]]
    room = width - first
    for column in range(1, len(table.headings)):
        if needed(column) > room and parts[-1]:
            parts.append([])
            room = width - first
        parts[-1].append(column)
        room -= needed(column)
    return [table.columns([0, *part]) for part in parts]


def rich_table(table: Table) -> RichTable:
    """The table for a terminal; text from run folders is printed literally, not as markup."""
    found = RichTable(title=Text(table.title), title_justify="left", box=box.SIMPLE_HEAD, pad_edge=False)
    for index, heading in enumerate(table.headings):
        widest = LABEL if index == 0 else None
        found.add_column(Text("\n".join(heading)), justify=side(table, index), max_width=widest, overflow="fold")
    for row in table.rows:
        found.add_row(*(Text(entry.text) for entry in row))
    return found


def side(table: Table, column: int) -> Literal["left", "right"]:
    """Alignment of a column: names left, numbers right."""
    return "right" if column and table.numeric(column) else "left"


def markdown(runs: Iterable[Run] | Results) -> str:
    """The comparison in Markdown, with the refusals of groups that have no score."""
    results = runs if isinstance(runs, Results) else compared(runs)
    parts = []
    for data in results.data:
        for table in tables_of(results, data):
            parts += [f"**{escaped(table.title, MARKDOWN)}**", markdown_table(table)]
        parts += [escaped(f"{data}: {sentence}", MARKDOWN) for sentence in sentences(results, data)]
    return "\n\n".join([*parts, *(escaped(note, MARKDOWN) for note in notes(results))])


def notes(results: Results) -> list[str]:
    """What stands below all tables: their signs, remarks, groups without a score, and unfinished runs."""
    said = [caption(all_tables(results)), *results.remarks]
    return [*filter(None, said), *(": ".join(each) for each in (*results.without_scores, *results.told))]


MARKDOWN = {"|": "\\|", "<": "&lt;", ">": "&gt;", "*": "\\*", "[": "\\[", "`": "\\`"}
LATEX = {
    "\\": r"\textbackslash{}", "&": r"\&", "%": r"\%", "$": r"\$", "#": r"\#", "_": r"\_", "{": r"\{", "}": r"\}",
    "~": r"\textasciitilde{}", "^": r"\textasciicircum{}", "≤": r"$\le$", "≥": r"$\ge$", "±": r"$\pm$", "†": r"\dag{}",
}  # fmt: skip


def escaped(text: str, characters: dict[str, str]) -> str:
    r"""Text with special characters replaced, after the signs of bounds have become one character.

    >>> escaped("<= 1|2", MARKDOWN), escaped("fd_10 <= 5%", LATEX)
    ('≤ 1\\|2', 'fd\\_10 $\\le$ 5\\%')
    """
    return "".join(characters.get(c, c) for c in pretty(text))


def markdown_table(table: Table) -> str:
    """A table in Markdown."""
    rules = [{"left": ":--", "right": "--:"}[side(table, index)] for index in range(len(table.headings))]
    headings = [escaped(" ".join(heading), MARKDOWN) for heading in table.headings]
    rows = [[escaped(entry.text, MARKDOWN) for entry in row] for row in table.rows]
    return "\n".join(f"| {' | '.join(cells)} |" for cells in (headings, rules, *rows))


def latex(results: Results) -> str:
    """A ``tabular`` for every table, which needs no package, and comments on what no table has."""
    comments = "\n".join(f"% {' '.join(note.split())}" for note in notes(results))
    return "\n\n".join([*map(latex_table, all_tables(results)), comments]).strip()


def latex_table(table: Table) -> str:
    """A ``tabular`` with its title as a comment above it."""
    layout = "".join(side(table, index)[0] for index in range(len(table.headings)))
    heading = " & ".join(escaped(" ".join(lines), LATEX) for lines in table.headings)
    rows = [" & ".join(escaped(entry.text, LATEX) for entry in row) for row in table.rows]
    body = " \\\\\n".join([heading + " \\\\ \\hline", *rows]).replace("\\hline \\\\\n", "\\hline\n")
    return f"% {table.title}\n\\begin{{tabular}}{{{layout}}}\n{body} \\\\\n\\end{{tabular}}"


def plain(results: Results) -> dict[str, Any]:
    """The comparison in plain types; ``None`` is an unknown or non-finite value, or an open end of an interval."""
    return {
        "groups": [group_entry(results, group) for group in results.ordered],
        "notes": [*(s for data in results.data for s in sentences(results, data)), *results.remarks],
        "refusals": [{"group": group, "reason": reason} for group, reason in results.refusals],
        "unfinished": [{"run": each.name, "reason": each.line} for each in results.unfinished],
        "unreadable": [{"run": each.name, "reason": each.reason} for each in results.unreadable],
    }


def group_entry(results: Results, group: Group) -> dict[str, Any]:
    """One group's runs, cost and scores."""
    columns = results.columns_of(group.data)
    return {
        **identity(group),
        "runs": [{"path": str(run.path), "seed": run.seed, "status": run.status} for run in group.runs],
        **cost_entry(group),
        "expected": group.expected,
        "scores": [
            score_entry(column, cells[group.label]) | {"runs": [score.to_dict() for score in cells[group.label].own]}
            for column, cells in columns.items()
            if group.label in cells
        ],
    }


def identity(group: Group) -> dict[str, Any]:
    """Entries that identify the group."""
    first = group.runs[0]
    return {
        "label": group.label,
        "model": group.model,
        "data": group.data,
        "config_hash": first.config_hash,
        "seeds": len(group.runs),
    }


def cost_entry(group: Group) -> dict[str, Any]:
    """Cost of training and sampling."""
    names = ("parameters", "examples", "train_seconds", "fit_seconds", "evaluation_seconds", "peak_memory_bytes")
    costs = {name: group.cost(name) for name in names}
    speeds = {name: group.speed(name) for name in ("passes_per_sample", "samples_per_second", "speed_batch")}
    return {**costs, "device": group.devices, **speeds}


def score_entry(column: Column, cell: Cell) -> dict[str, Any]:
    """One score, the interval of its true value, and its place."""
    score, place, (low, high) = cell.score, cell.place, interval(cell.score, cell.error)
    return {
        "name": column.name,
        "value": score.value,
        "se": score.se,
        "kind": score.kind.value if score.kind else None,
        "n": score.n,
        "unit": column.unit,
        "better": column.better,
        "low": low,
        "high": high,
        "rank": place.rank if place else None,
        "tied": place.tied if place else None,
        "best_guarantee": place.best_guarantee if place else None,
        "shown_worse_than": "; ".join(place.shown_worse) if place else None,
        "conditions": dict(column.conditions),
    }


def as_json(results: Results) -> str:
    """The comparison as JSON, with the protocols of each run."""
    return json.dumps(finite(plain(results)), indent=2, allow_nan=False)


def finite(node: Any) -> Any:
    """A copy of ``node`` with ``None`` for infinity and NaN, which JSON lacks."""
    if isinstance(node, dict):
        return {key: finite(value) for key, value in node.items()}
    if isinstance(node, (list, tuple)):
        return [finite(value) for value in node]
    return None if isinstance(node, float) and not math.isfinite(node) else node


def as_csv(results: Results) -> str:
    """One row per score with its conditions and the cost of its group; one row for a group or a run without scores.

    The column ``status`` has the reason why a run is not finished, and the remarks, which are labeled ``note``.
    """
    rows: list[dict[str, Any]] = []
    for group in results.ordered:
        status = {"status": ", ".join(sorted({run.status for run in group.runs}))}
        whole = identity(group) | cost_entry(group) | status
        if not any(run.scores for run in group.runs):
            rows.append(whole)
        for column, cells in results.columns_of(group.data).items():
            if cell := cells.get(group.label):
                conditions = "; ".join(f"{key}={value}" for key, value in column.conditions)
                rows.append(whole | finite(score_entry(column, cell)) | {"conditions": conditions})
    rows += [{"label": each.name, "status": each.line} for each in results.unfinished]
    rows += [{"label": "note", "status": remark} for remark in results.remarks]
    file = io.StringIO()
    names = list(dict.fromkeys(name for row in sorted(rows, key=len, reverse=True) for name in row))
    writer = csv.DictWriter(file, names or ["label"], lineterminator="\n")
    writer.writeheader()
    writer.writerows({key: no_formula(value) for key, value in row.items()} for row in rows)
    return file.getvalue().rstrip("\n")


def no_formula(cell: Any) -> Any:
    """A cell that no spreadsheet takes for a formula; numbers stay what they are.

    >>> no_formula("=1+1"), no_formula("VAE"), no_formula(-1.5)
    ("'=1+1", 'VAE', -1.5)
    """
    return f"'{cell}" if isinstance(cell, str) and cell.startswith(FORMULA) else cell


FORMATS: dict[str, Callable[[Results], str]] = {"md": markdown, "csv": as_csv, "latex": latex, "json": as_json}
