"""The comparison of runs that are under way, shown again as they finish."""

from __future__ import annotations

import math
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager

from rich.console import Console, Group
from rich.live import Live
from rich.text import Text

from genmodels.compare.output import print_tables, shown, terminal
from genmodels.compare.records import RECORD, Run, find_runs
from genmodels.compare.results import Results, compared

PATIENCE = 30.0  # seconds without a running job after which a watch ends; a sweep takes some to start its next job
Show = Callable[[Results, list[Run]], None]


def watch(places: Sequence[str], interval: float, keep: Callable[[Results], None]) -> Results:
    """Show the comparison, again whenever a run begins, ends or is scored, until no job has run for some time.

    Args:
        places: folders of runs.
        interval: seconds between two looks.
        keep: called with every comparison that differs from the one before, such as to write the report.

    Returns:
        The last comparison.
    """
    state: object = None
    quiet = math.inf  # seconds since a job was last seen to run
    with screen(terminal()) as show:
        while True:
            runs = find_runs(*places)
            if (found := [fingerprint(run) for run in runs]) != state:
                state, results = found, compared(runs)
                keep(results)
            show(results, runs)
            quiet = 0.0 if any(run.status == "running" for run in runs) else quiet + interval
            if quiet >= PATIENCE:
                return results
            time.sleep(interval)


def fingerprint(run: Run) -> tuple[str, str, int]:
    """What changes when anything that is shown of a run changes."""
    file = run.path / RECORD
    return str(run.path), run.status, file.stat().st_mtime_ns if file.exists() else 0


@contextmanager
def screen(console: Console) -> Iterator[Show]:
    """A function that shows a comparison: in place on a terminal, and otherwise below the last one if they differ.

    A terminal keeps the last one, which may be longer than it is high.
    """
    last: list[Results] = []

    def reprint(results: Results, runs: list[Run]) -> None:
        if last != [results]:
            last[:] = [results]
            print_tables(results, console)
            sys.stdout.flush()

    def redraw(results: Results, runs: list[Run]) -> None:
        last[:] = [results]
        running = sum(run.status == "running" for run in runs)
        line = f"{time.strftime('%X')}: {running} running; Ctrl-C ends"
        live.update(Group(Text(line, style="dim"), *shown(results, console.width)), refresh=True)

    if not console.is_terminal:
        yield reprint
        return
    try:
        with Live(console=console, auto_refresh=False, transient=True, vertical_overflow="ellipsis") as live:
            yield redraw
    finally:
        for results in last:
            print_tables(results, console)
