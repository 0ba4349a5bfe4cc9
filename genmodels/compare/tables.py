"""Tables of plain text, independent of the output format."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from typing import NamedTuple

from genmodels.compare.records import Run
from genmodels.compare.results import NOT_RECORDED, Cell, Column, Group, Results, differences
from genmodels.core.score import UNITS_OF_LIKELIHOOD, Score, readable

SIGNS = {  # pattern of the text in which a sign occurs: the sign, and what it says
    r"[<>]= ": ("<= and >=", "mark bounds"),
    r"~ ": ("~", "marks an estimate"),
    r"^= ": ("= before a number", "marks an exact value"),
    r"±": ("±", "is the standard error, over seeds where there are several, else over examples or sets of samples"),
    r"\bn=\d": ("n", "is the number of examples or samples"),
    r"#\d": ("#2", "is the second place, by two standard errors: likelihoods by the code length that they guarantee"),
    r"#\d+=": ("= after a place", "is a tie"),
    r"#\d+=?\*": ("*", "marks the shortest code that is guaranteed, a bound counting by itself"),
    r"†": ("†", "marks a likelihood that is shown to be worse than another, however loose the bounds are"),
    r"\bfloor\b": ("floor", "is the distance of real test data"),
    r"\breal data\b": ("real data", "is what real test data score"),
    r"\bgap in nats\b": ("gap in nats", "is an energy model's upper bound minus the lower one of its annealed chains"),
    r"^-$": ("-", "stands where nothing was measured"),
}


class Entry(NamedTuple):
    """A cell: its text, the number by which it is sorted, and runs whose folders a page may link to."""

    text: str
    number: float | None = None
    runs: tuple[Run, ...] = ()


class Table(NamedTuple):
    """A title, headings of one or more lines, and rows; the first column names the row.

    Attributes:
        title: the title.
        headings: the lines of each column's heading.
        rows: the cells of each row.
        groups: the index of each row's group in the order of :meth:`Results.of`, if rows are of groups.
    """

    title: str
    headings: list[tuple[str, ...]]
    rows: list[list[Entry]]
    groups: tuple[int, ...] = ()

    @property
    def series(self) -> Sequence[int | None]:
        """The index of each row's group."""
        return self.groups or [None] * len(self.rows)

    def numeric(self, column: int) -> bool:
        """Whether a column holds numbers."""
        return any(row[column].number is not None for row in self.rows)

    def columns(self, chosen: Sequence[int]) -> Table:
        """The table of the chosen columns."""
        rows = [[row[i] for i in chosen] for row in self.rows]
        return Table(self.title, [self.headings[i] for i in chosen], rows, self.groups)


def pretty(text: str) -> str:
    """Text with signs of bounds as one character, for formats other than plain text."""
    return text.replace("<= ", "≤ ").replace(">= ", "≥ ")


def signs(tables: Iterable[Table]) -> list[tuple[str, str]]:
    """The signs that occur in tables, and what each says."""
    texts = {text for table in tables for row in table.rows for text, *_ in row[1:]}
    texts |= {line for table in tables for heading in table.headings for line in heading}
    return [said for pattern, said in SIGNS.items() if any(re.search(pattern, text) for text in texts)]


def caption(tables: Iterable[Table]) -> str:
    """The signs of tables in one sentence; ``""`` if there are none."""
    said = [" ".join(each) for each in signs(tables)]
    return f"{'; '.join(said)}." if said else ""


def tables_of(results: Results, data: str) -> list[Table]:
    """The tables of quality, cost and expected results, without empty ones."""
    found = [quality(results, data), costs(results.of(data), data), expected(results, data)]
    return [table for table in found if table.rows and len(table.headings) > 1]


def all_tables(results: Results) -> list[Table]:
    """The tables of all data sets."""
    return [table for data in results.data for table in tables_of(results, data)]


def quality(results: Results, data: str) -> Table:
    """One row per group, one column per score that any group has."""
    columns = results.columns_of(data)
    common = {column: common_baselines(list(cells.values())) for column, cells in columns.items()}
    headings = [("model",), *(heading(column, common[column], list(columns)) for column in columns)]
    rows = [
        [Entry(group.label), *(entry(cells.get(group.label), common[column]) for column, cells in columns.items())]
        for group in results.of(data)
    ]
    return Table(f"{data}: quality", headings, rows, tuple(range(len(rows))))


def heading(column: Column, common: Mapping[str, float], others: Sequence[Column]) -> tuple[str, ...]:
    """Name, n, fields that distinguish the column from others of that name and n, and baselines of all its cells."""
    twins = [other for other in others if (other.name, other.n) == (column.name, column.n)]
    fields = column.fields()
    special = [f"{key} {fields.get(key) or NOT_RECORDED}" for key in differences([twin.fields() for twin in twins])]
    name = [column.unit] if column.name == "bits_per_dim" else [column.name]
    name += [f"n={column.n}"] if column.n is not None and not column.name.endswith(f"_{column.n}") else []
    name += ["nats"] if column.unit == "nats" and "nats" not in column.name else []
    return (*name, *special, *(f"{words} {readable(value)}" for words, value in common.items()))


def common_baselines(cells: Sequence[Cell]) -> dict[str, float]:
    """The baselines, by description, that all cells have and that are printed the same in all."""
    measured = [cell.score.beside for cell in cells]
    words = [word for word in measured[0] if all(word in beside for beside in measured)]
    return {
        word: measured[0][word] for word in words if len({readable(float(beside[word])) for beside in measured}) == 1
    }


def entry(cell: Cell | None, common: Mapping[str, float]) -> Entry:
    """The score, its place, and the remarks that are not in the heading."""
    if cell is None:
        return Entry("-")
    words = [cell.score.text, *([str(cell.place)] if cell.place else [])]
    remark = remark_beside(cell.score, common)
    return Entry(" ".join([*words, *([f"({remark})"] if remark else [])]), cell.score.value)


def remark_beside(score: Score, common: Mapping[str, float]) -> str:
    """The n of a likelihood, baselines that are not in the heading, and the flag."""
    parts = [score.on] if score.unit in UNITS_OF_LIKELIHOOD else []
    parts += [f"{words} {readable(float(value))}" for words, value in score.beside.items() if words not in common]
    parts += [f"best of {score.protocol['trials']} trials"] if "trials" in score.protocol else []
    return ", ".join([*parts, *([str(score.protocol["flag"])] if "flag" in score.protocol else [])])


def costs(groups: Sequence[Group], data: str) -> Table:
    """One row per group: cost of training and sampling, averaged over seeds, without empty columns."""
    memory = [group.cost("peak_memory_bytes") for group in groups]
    columns: list[tuple[tuple[str, ...], list[Entry]]] = [
        (("seeds",), [Entry(str(len(group.runs)), len(group.runs), group.runs) for group in groups]),
        (("parameters",), [counted(group.cost("parameters")) for group in groups]),
        (("examples", "seen"), [counted(group.cost("examples")) for group in groups]),
        (("train s", "no validation"), [counted(group.cost("train_seconds")) for group in groups]),
        (("evaluation", "s"), [counted(group.cost("evaluation_seconds")) for group in groups]),
        (("device",), [Entry(group.devices or "-") for group in groups]),
        (("peak MiB", "whole run"), [counted(None if peak is None else peak / 2**20) for peak in memory]),
        (("passes", "per sample"), [counted(group.speed("passes_per_sample")) for group in groups]),
        (("samples/s", *batches_of_draws(groups)), [counted(group.speed("samples_per_second")) for group in groups]),
    ]
    kept = [(heading, entries) for heading, entries in columns if any(entry.text != "-" for entry in entries)]
    rows = [[Entry(group.label), *(entries[i] for _, entries in kept)] for i, group in enumerate(groups)]
    return Table(f"{data}: cost", [("model",), *(heading for heading, _ in kept)], rows, tuple(range(len(rows))))


def batches_of_draws(groups: Sequence[Group]) -> list[str]:
    """The numbers of samples per call at which the speed of sampling was measured, if they are recorded."""
    batches = sorted({group.speed("speed_batch") or 0 for group in groups} - {0})
    return [f"in {' or '.join(f'{batch:,.0f}' for batch in batches)}s"] if batches else []


def counted(value: float | None) -> Entry:
    """A count, with a decimal only if it is a fraction below ten."""
    if value is None:
        return Entry("-")
    return Entry(f"{value:,.0f}" if value >= 10 or value == int(value) else f"{value:.1f}", value)


def expected(results: Results, data: str) -> Table:
    """The results that recipes expect, next to those that their runs reached."""
    rows, indices = [], []
    for index, group, wanted in [(i, one, each) for i, one in enumerate(results.of(data)) for each in one.expected]:
        indices.append(index)
        metric = str(wanted.get("metric", ""))
        columns = [cells for column, cells in results.columns_of(data).items() if column.name == metric]
        reached = [cells[group.label].score for cells in columns if group.label in cells]
        found = Entry(reached[0].text, reached[0].value) if reached else Entry("-")
        numbers = [Entry(str(wanted.get(key, "-"))) for key in ("value", "tolerance", "source")]
        rows.append([Entry(group.label), Entry(metric), found, *numbers])
    headings: list[tuple[str, ...]] = [("model",), ("score",), ("reached",), ("expected",), ("tolerance",), ("source",)]
    return Table(f"{data}: expected", headings, rows, tuple(indices))
