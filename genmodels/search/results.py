"""The end of a search: its trials in a table ordered by the objective, and its section of the report."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from textwrap import shorten
from typing import Any

from genmodels import figures
from genmodels.compare.charts import Chart
from genmodels.compare.output import print_table
from genmodels.compare.records import Run
from genmodels.compare.report import Section
from genmodels.compare.tables import Entry, Table
from genmodels.errors import UserError
from genmodels.search.record import FILE
from genmodels.untrusted import printable, read_json

ENTRIES = {"objectives": dict, "directions": list, "space": dict, "best": list, "importance": dict, "trials": list}
LONGEST = 80  # characters of a reason in the table
MOST_LINES = 1000  # trials that charts show: the best
ORDER = {"complete": 0, "pruned": 1, "running": 2, "fail": 3}
WORDS = {"complete": "finished", "fail": "failed"}
ABOUT = (
    "One row per trial, the best first. The objective is a validation value; only the trials marked best were scored "
    "on the test split, and the number of trials stands beside their scores: a best of many is better by chance alone."
)
CHARTS = (
    " Importance is a parameter's share in the variance of the objective over the finished trials, interactions left "
    "out (functional ANOVA). In the parallel coordinates every line is a finished trial, yellow if it is good, and the "
    "best is orange; none is where a model does not have the key."
)


@dataclass(frozen=True)
class Searched:
    """What a folder's search.json says, which may be a stranger's."""

    record: Mapping[str, Any]

    @classmethod
    def read(cls, folder: Path) -> Searched | None:
        """The search in the folder of a sweep, or ``None`` if there is none that can be read."""
        try:
            found = read_json(folder / FILE)
            return cls(found) if all(isinstance(found[key], kind) for key, kind in ENTRIES.items()) else None
        except (UserError, KeyError, TypeError):
            return None

    @property
    def names(self) -> list[str]:
        """The names of the objectives."""
        return [printable(name) for name in self.record["objectives"]]

    @cached_property
    def trials(self) -> list[dict[str, Any]]:
        """The trials: finished ones by the first objective, the best before others, then pruned, running and failed."""
        sign = -1 if self.record["directions"][0] == "maximize" else 1

        def order(trial: Mapping[str, Any]) -> tuple[Any, ...]:
            first = sign * trial["values"][0] if trial["values"] else 0.0
            return (trial["number"] not in self.record["best"], ORDER.get(trial["state"], 9), first, trial["number"])

        return sorted(self.record["trials"], key=order)

    @property
    def complete(self) -> list[dict[str, Any]]:
        """The finished trials, the best first."""
        return [trial for trial in self.trials if trial["values"]]

    @property
    def summary(self) -> str:
        """How many trials ended how, and which is the best."""
        states = Counter(WORDS.get(trial["state"], trial["state"]) for trial in self.trials)
        found = ", ".join(f"{count} {state}" for state, count in states.items())
        best = ", ".join(map(str, self.record["best"])) or "none"
        whole = f"Search of {len(self.trials)} trials ({found}) by {' and '.join(self.names)}"
        return f"{whole}; best: trial{'s' if len(self.record['best']) > 1 else ''} {best}."

    def table(self, reasons: bool = True) -> Table:
        """One row per trial, with the ``reasons`` of failures or without."""
        keys = [printable(key) for key in self.record["space"]]
        headings = [("trial",), *((name, self.better(name)) for name in self.names), ("end",)]
        rows = []
        for trial in self.trials:
            name = f"{trial['number']}{' best' if trial['number'] in self.record['best'] else ''}"
            values = trial["values"] or [None] * len(self.names)
            chosen = [entry(trial["params"].get(key)) for key in self.record["space"]]
            end, run = Entry(ended(trial, reasons)), Entry(printable(str(trial["job"])))
            rows.append([Entry(name), *map(entry, values), end, *chosen, run])
        return Table("Trials", [*headings, *((key,) for key in keys), ("run",)], rows)

    def better(self, name: str) -> str:
        """Which way an objective was optimized."""
        return str(self.record["directions"][self.names.index(name)]) + "d"

    def shown(self, runs: Iterable[Run]) -> list[Run]:
        """Of the runs in the folder, those to compare or to tell of: the best, and those that are no finished trial."""
        best = {trial["job"] for trial in self.trials if trial["number"] in self.record["best"]}
        jobs = {trial["job"] for trial in self.trials}
        return [run for run in runs if run.path.name in best or run.path.name not in jobs or run.status not in ENDED]

    def tell(self) -> None:
        """Print the table."""
        print_table(self.table(reasons=False))  # they are told below
        print(self.summary)

    @property
    def section(self) -> Section:
        """The section of the report."""
        charts = [*self.history(), *self.importances(), *self.coordinates(), *self.front()]
        return Section("Search", f"{self.summary} {ABOUT}{CHARTS if charts else ''}", charts, [self.table()])

    def history(self) -> list[Chart]:
        """The objective against the number of the trial, and the best so far."""
        found = []
        for index, name in enumerate(self.names):
            points = sorted((t["number"], t["values"][index]) for t in self.complete[:MOST_LINES])
            if len(points) < 2:
                continue
            pick = max if self.record["directions"][index] == "maximize" else min
            best: list[float] = []
            for _, value in points:
                best.append(pick([value, *best[-1:]]))
            dots = [figures.Curve("", [x], [y], 0, note=f"trial {x}") for x, y in points]
            line = [figures.Curve("best so far", [x for x, _ in points], best, 1)] if len(self.names) == 1 else []
            found.append(Chart(figures.chart([*dots, *line], "trial", name), f"{name} of each finished trial"))
        return found

    def importances(self) -> list[Chart]:
        """The importance of each parameter, for each objective."""
        found = [(name, own) for name, own in self.record["importance"].items() if own]
        return [Chart(figures.bars(own, "importance"), f"importance for {printable(name)}") for name, own in found]

    def coordinates(self) -> list[Chart]:
        """Parallel coordinates of the finished trials."""
        trials = self.complete[:MOST_LINES]
        if len(trials) < 2:
            return []
        axes = [
            figures.Axis(printable(key), [number(t["params"].get(key)) for t in trials], "log" in str(text))
            for key, text in self.record["space"].items()
        ]
        axes = [axis for axis in axes if len(set(axis.values)) > 1]
        axes += [figures.Axis(name, [t["values"][i] for t in trials]) for i, name in enumerate(self.names)]
        sign = -1 if self.record["directions"][0] == "maximize" else 1
        best = [i for i, trial in enumerate(trials) if trial["number"] in self.record["best"]]
        svg = figures.parallel(axes, [sign * t["values"][0] for t in trials], best)
        return [Chart(svg, f"{len(trials)} finished trials")]

    def front(self) -> list[Chart]:
        """The first two objectives against one another."""
        trials = self.complete[:MOST_LINES]
        if len(self.names) < 2 or len(trials) < 2:
            return []
        points = [
            figures.Curve("", t["values"][1:2], t["values"][:1], int(t["number"] in self.record["best"]))
            for t in trials
        ]
        front = sorted((t["values"][1], t["values"][0]) for t in trials if t["number"] in self.record["best"])
        line = figures.Curve("", [x for x, _ in front], [y for _, y in front], figures.FRONT)
        svg = figures.chart([line, *points], self.names[1], self.names[0])
        words = f"{self.names[0]} against {self.names[1]}; orange: no other trial is better in all objectives"
        return [Chart(svg, words)]


ENDED = ("finished", "pruned")


def ended(trial: Mapping[str, Any], reasons: bool) -> str:
    """How a trial ended, and why, if the ``reasons`` are wanted."""
    state = WORDS.get(trial["state"], trial["state"])
    seen = trial.get("validations") or {}
    if state == "pruned" and seen:
        step = max(seen, key=int)
        return f"pruned at validation {step}: {seen[step]:.4g}"
    reason = shorten(str(trial["reason"]), LONGEST, placeholder="…") if reasons and trial.get("reason") else ""
    return printable(f"{state}: {reason}" if reason else state)


def entry(value: Any) -> Entry:
    """A value of the table, with four significant digits."""
    value = number(value)
    if value is None:
        return Entry("-")
    return Entry(f"{value:.4g}", value) if isinstance(value, (int, float)) else Entry(printable(str(value)))


def number(value: Any) -> Any:
    """A value as a number if it is one, written as a word of the command line or not."""
    try:
        return value if value is None or isinstance(value, (bool, int)) else float(value)
    except (TypeError, ValueError):
        return printable(str(value))
