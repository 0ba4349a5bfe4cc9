"""Comparison of runs in tables, in a report and on wandb, from their run.json and the files next to it."""

from genmodels.compare.live import watch
from genmodels.compare.output import FORMATS, markdown, print_tables
from genmodels.compare.records import Run, find_runs, scores_by_name
from genmodels.compare.report import Section, write_report
from genmodels.compare.results import Results, compared

__all__ = [
    "FORMATS",
    "Results",
    "Run",
    "Section",
    "compared",
    "find_runs",
    "markdown",
    "print_tables",
    "scores_by_name",
    "watch",
    "write_report",
]
