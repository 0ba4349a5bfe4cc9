"""From run folders to one table. Reads run.json alone."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table

from genmodels.core.score import Score


def find_runs(folder: Path) -> list[dict[str, Any]]:
    """The records under ``folder``, in the order of their folders' numbers, each with its ``path``."""

    def order(file: Path) -> tuple[int, str]:
        number = file.parent.name.partition("_")[0]
        return (int(number) if number.isdigit() else 0, str(file))

    files = sorted(folder.rglob("run.json"), key=order)
    return [json.loads(file.read_text()) | {"path": str(file.parent)} for file in files]


def scores_by_name(run: dict[str, Any]) -> dict[str, Score]:
    """The scores of one run. Names carry the protocol, so numbers that differ in it fall into different columns."""
    return {name: Score.from_dict(name, entry) for name, entry in run["metrics"].items()}


def columns_and_rows(runs: Sequence[dict[str, Any]]) -> tuple[list[str], list[list[str]]]:
    """Headings, and one row of cells a run; every score that some run has is a column."""
    columns: dict[str, Score] = {}
    for run in runs:
        columns |= scores_by_name(run)
    columns = dict(sorted(columns.items(), key=lambda item: (item[1].kind is None, item[0])))  # likelihoods first
    headings = ["model", "data", "parameters", "train s", *map(heading_of, columns.values()), "samples/s"]
    rows = []
    for run in runs:
        cost, scores = run.get("cost", {}), scores_by_name(run)
        size, seconds = f"{cost.get('parameters', 0):,}", f"{cost.get('train_seconds', 0):.0f}"
        cells = [cell(scores.get(name)) for name in columns]
        rows.append([run["model"], run["data"], size, seconds, *cells, sampling_speed(scores.values())])
    return headings, rows


def comparison_table(runs: Sequence[dict[str, Any]]) -> Table:
    """The comparison for a terminal."""
    headings, rows = columns_and_rows(runs)
    table = Table(title="Comparison", caption="<= and >= mark bounds; ± is the standard error over test examples")
    for index, heading in enumerate(headings):
        table.add_column(heading, justify="left" if index < 2 else "right")
    for row in rows:
        table.add_row(*row)
    return table


def markdown(runs: Sequence[dict[str, Any]]) -> str:
    """The comparison in Markdown, one table a data set."""
    tables = []
    for data in sorted({run["data"] for run in runs}):
        headings, rows = columns_and_rows([run for run in runs if run["data"] == data])
        rules = [":--" if index < 2 else "--:" for index in range(len(headings))]
        lines = [f"| {' | '.join(cells)} |" for cells in (headings, rules, *rows)]
        tables.append("\n".join(lines).replace("<=", "≤").replace(">=", "≥"))
    return "\n\n".join(tables)


def heading_of(score: Score) -> str:
    """Column heading: name and unit."""
    return score.unit if score.unit == "bits/dim" else f"{score.name} {score.unit}".strip()


def cell(score: Score | None) -> str:
    """A number with what must be said beside it: how many examples, and the floor of a distance."""
    if score is None:
        return "-"
    floor = score.protocol.get("floor")
    note = f"(floor {floor:.2f})" if floor is not None else f"(n={score.n})"
    return f"{score.text} {note}"


def sampling_speed(scores: Any) -> str:
    """Samples per second, where some score rests on samples."""
    speeds = [score.protocol["samples_per_second"] for score in scores if "samples_per_second" in score.protocol]
    return f"{speeds[0]:.0f}" if speeds else "-"


def print_comparison(folder: Path) -> None:
    """Print the table of the runs under ``folder``, and where their pictures are."""
    runs = find_runs(folder)
    if not runs:
        return
    console = Console()
    console.print(comparison_table(runs))
    for run in runs:
        reasons = "; ".join(f"no {name}: {reason}" for name, reason in run.get("refusals", {}).items())
        console.print(f"{run['model']}: {run['path']}/samples/final.png  {reasons}", highlight=False, soft_wrap=True)
