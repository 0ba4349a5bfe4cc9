"""Comparison of runs in tables, in a report and on wandb, from their run.json and the files next to it.

The package is called like a function, ``genmodels.compare("runs")``, see :func:`compare`.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Iterable
from types import ModuleType

from genmodels.compare.live import watch
from genmodels.compare.output import FORMATS, markdown, print_tables
from genmodels.compare.records import Run, find_runs, scores_by_name
from genmodels.compare.report import Section, write_report
from genmodels.compare.results import Results, compared
from genmodels.errors import require
from genmodels.files import path_named

__all__ = [
    "FORMATS",
    "Results",
    "Run",
    "Section",
    "compare",
    "compared",
    "find_runs",
    "markdown",
    "print_tables",
    "scores_by_name",
    "watch",
    "write_report",
]

Place = str | os.PathLike[str]


def compare(*places: Place | Iterable[Place]) -> Results:
    """The comparison of all runs in and under folders, averaged over seeds. A notebook shows it as tables.

    Args:
        places: run folders, folders that contain some, globs, or runs that ``train`` returned; or lists of these.

    Raises:
        UserError: if there is no such folder, or no run under it.
    """
    names = [str(path_named(each, "a folder of runs")) for place in places for each in several(place)]
    require(bool(names), "name one or more folders: genmodels.compare(FOLDER, ...)")
    runs = find_runs(*names)
    require(bool(runs), f"there is no run.json under {', '.join(names)}.")
    return compared(runs)


def several(place: Place | Iterable[Place]) -> Iterable[Place]:
    """One path, or several, as several."""
    return place if isinstance(place, Iterable) and not isinstance(place, str | os.PathLike) else [place]


class _Callable(ModuleType):
    """The package as a function: ``import genmodels.compare`` sets the attribute ``genmodels.compare`` to it."""

    __call__ = staticmethod(compare)


sys.modules[__name__].__class__ = _Callable
