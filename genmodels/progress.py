"""Progress reports: a bar on a terminal, and otherwise a line for every tenth of the work."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Iterator
from typing import ClassVar, TypeVar

from rich.console import Console
from rich.progress import BarColumn, Progress, TaskProgressColumn, TextColumn, TimeRemainingColumn

T = TypeVar("T")
REDRAW = 0.1  # seconds between two updates of the bar
PATIENCE = 3.0  # seconds of work during which :func:`track` prints no line


class Reporter:
    """Shows the completed fraction of some work, from :meth:`start` to :meth:`stop`.

    A terminal shows one bar at a time, so that work inside other work with a bar has none.

    Args:
        title: title of the work.
        done: fraction of the work that was completed before, from 0 to 1.
        patience: initial seconds during which no line is printed.
        transient: remove the bar at the end.
    """

    _a_bar_is_open: ClassVar[bool] = False

    def __init__(self, title: str, done: float = 0.0, patience: float = 0.0, transient: bool = False) -> None:
        self.title = title
        self.console = Console()
        self._patience, self._transient = patience, transient
        self._first, self._tenths = done, int(10 * done)
        self._began = self._drawn = time.monotonic()
        self._bar: Progress | None = None

    def start(self) -> None:
        """Open the bar, if there is a terminal and no other bar."""
        if self.console.is_terminal and not Reporter._a_bar_is_open:
            Reporter._a_bar_is_open = True
            columns = (TextColumn("{task.description}"), BarColumn(), TaskProgressColumn(), TimeRemainingColumn())
            status = TextColumn("{task.fields[status]}")
            self._bar = Progress(*columns, status, console=self.console, transient=self._transient)
            self._bar.add_task(self.title, total=1.0, status="")
            self._bar.start()

    def update(self, done: float, status: Callable[[], str] = str) -> None:
        """Show the completed fraction ``done`` and ``status()``, which is called only when it is shown."""
        now = time.monotonic()
        if self._bar is not None:
            if now - self._drawn > REDRAW or done >= 1:
                self._drawn = now
                self._bar.update(self._bar.task_ids[0], completed=done, status=status())
        elif not self.console.is_terminal and int(10 * done) > self._tenths and now - self._began > self._patience:
            self._tenths = int(10 * done)
            left = (now - self._began) / max(done - self._first, 1e-9) * (1 - done)
            parts = (self.title, f"{done:4.0%}", status(), f"{left:.0f} s left")
            self.console.print("  ".join(part for part in parts if part), highlight=False, soft_wrap=True)

    def stop(self) -> None:
        """Close the bar."""
        if self._bar is not None:
            self._bar.stop()
            self._bar, Reporter._a_bar_is_open = None, False


def track(iterable: Iterable[T], total: int, description: str) -> Iterator[T]:
    """Iterate over ``total`` items and show the progress; lines are printed only after three seconds."""
    reporter = Reporter(description, patience=PATIENCE, transient=True)
    reporter.start()
    try:
        for done, item in enumerate(iterable, 1):
            yield item
            reporter.update(done / total)
    finally:
        reporter.stop()
