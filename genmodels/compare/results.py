"""Runs that differ in nothing but their seed become one row; numbers that may stand side by side, one column."""

from __future__ import annotations

import math
import re
import statistics
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

from genmodels.compare.ranking import Place, interval, places
from genmodels.compare.records import Run
from genmodels.core.likelihood import Kind
from genmodels.core.score import BASELINES, UNITS_OF_LIKELIHOOD, Score

CONDITIONS = (  # entries of a protocol in which two numbers must agree to be comparable
    "split", "extractor", "dims", "resize", "kernel", "pr_neighbors", "dc_neighbors", "space", "reference",
    "reference_n", "real_split", "real_n", "test_n", "observation", "weights",
)  # fmt: skip
NOT_IN_LABEL = ("model=", "data=", "seed=", "logger", "hydra.", "run_dir=", "data.", "metrics")


@dataclass(frozen=True)
class Group:
    """Runs of one model, data and config: they differ in their seed.

    Attributes:
        runs: one a seed.
        label: the model, and what tells the group from others of that model.
    """

    runs: tuple[Run, ...]
    label: str

    @property
    def model(self) -> str:
        """Class of the model."""
        return self.runs[0].model

    @property
    def data(self) -> str:
        """What it was trained on."""
        return self.runs[0].data

    def cost(self, name: str) -> float | None:
        """Mean over the runs that recorded it."""
        values = [run.cost[name] for run in self.runs if name in run.cost]
        return statistics.fmean(values) if values else None

    def speed(self, name: str) -> float | None:
        """An entry of the protocol of sampling: mean over runs, each run's from its score on the most samples."""
        found = [
            max((score for score in run.scores.values() if name in score.protocol), key=lambda s: s.n, default=None)
            for run in self.runs
        ]
        values = [score.protocol[name] for score in found if score is not None]
        return statistics.fmean(values) if values else None

    @property
    def devices(self) -> str:
        """Where it was trained."""
        return ", ".join(sorted({str(run.cost["device"]) for run in self.runs if "device" in run.cost}))

    @property
    def expected(self) -> list[Any]:
        """The numbers, each with its source, that the runs' recipe named."""
        return self.runs[0].expected


@dataclass(frozen=True)
class Column:
    """What two numbers must have in common to stand in one column.

    Attributes:
        data: what models were trained on and are measured against.
        name: of the score.
        unit: of the score.
        n: how many samples it rests on; ``None`` for likelihoods, which more examples make surer, not other.
        better: ``lower``, ``higher`` or ``None``.
        conditions: entries of the protocol, see :data:`CONDITIONS`.
    """

    data: str
    name: str
    unit: str
    n: int | None
    better: str | None
    conditions: tuple[tuple[str, str], ...]

    @classmethod
    def of(cls, data: str, score: Score) -> Column:
        """The column in which a score stands."""
        protocol = dict(score.protocol)
        if isinstance(protocol.get("sampling"), Mapping):  # a model without an observation to take the mean of draws
            protocol.setdefault("observation", protocol["sampling"].get("observation", "draw"))
        conditions = tuple((key, str(protocol[key])) for key in CONDITIONS if key in protocol)
        n = None if score.unit in UNITS_OF_LIKELIHOOD else score.n
        return cls(data, score.name, score.unit, n, score.better, conditions)

    @property
    def stem(self) -> str:
        """The name without n, number of draws, weights and checkpoint.

        >>> Column("", "fd_digits_360_raw", "", 360, "lower", ()).stem
        'fd_digits'
        """
        return re.sub(r"_(k?\d+|raw|ema|best|last)(?=_|$)", "", self.name)

    def facts(self) -> dict[str, str]:
        """All that it is told apart by from columns that look alike."""
        n = {} if self.n is None else {"n": str(self.n)}
        return {**n, "unit": self.unit, "name": self.name, **dict(self.conditions)}

    @property
    def order(self) -> tuple[object, ...]:
        """Likelihoods come first, the plain ones before special ones, and what ranks nothing comes last."""
        special = (self.unit not in UNITS_OF_LIKELIHOOD, self.stem not in ("bits_per_dim", "nats"))
        return (self.better is None, *special, self.stem, -(self.n or 0), self.name)


@dataclass(frozen=True)
class Cell:
    """One group's number in one column.

    Attributes:
        score: mean over seeds; its error is that over seeds, or of the only run.
        error: standard error that a ranking must reckon with: the larger of the error over seeds and the runs' own,
            which seeds that share a test set do not make smaller.
        own: the scores of the single runs.
        place: its rank in the column, if it has one.
    """

    score: Score
    error: float | None
    own: tuple[Score, ...]
    place: Place | None = None


def mean_score(scores: Sequence[Score]) -> Cell:
    """Mean of one score over runs that differ in their seed."""
    first, m = scores[0], len(scores)
    if m == 1:
        return Cell(first, first.se, tuple(scores))
    values = [score.value for score in scores]
    finite = all(map(math.isfinite, values))
    se = statistics.stdev(values) / math.sqrt(m) if finite else None
    own = [score.se for score in scores if score.se is not None]
    error = None if se is None else max([se, *([statistics.fmean(own)] if own else [])])
    kinds = {score.kind for score in scores}
    protocol = dict(first.protocol)
    for key in BASELINES.keys() & protocol:
        protocol[key] = statistics.fmean(score.protocol[key] for score in scores if key in score.protocol)
    flags = {str(score.protocol["flag"]) for score in scores if "flag" in score.protocol}
    flags |= {"of different kinds"} if len(kinds) > 1 else set()
    protocol |= {"flag": "; ".join(sorted(flags))} if flags else {}
    kind = first.kind if len(kinds) == 1 else Kind.ESTIMATE
    value = sum(values) / m
    return Cell(Score(first.name, value, first.unit, first.n, se, kind, first.better, protocol), error, tuple(scores))


@dataclass(frozen=True)
class Results:
    """The comparison.

    Attributes:
        groups: with scores, in the order in which they were found.
        unfinished: runs that failed, were interrupted or go on, and jobs that left no run: name and reason.
        refusals: group and reason, for scores that do not exist.
        remarks: what a reader must know of how runs were put together.
    """

    groups: tuple[Group, ...]
    unfinished: tuple[tuple[str, str], ...] = ()
    refusals: tuple[tuple[str, str], ...] = ()
    remarks: tuple[str, ...] = ()

    @cached_property
    def data(self) -> list[str]:
        """The data sets, of which each has tables of its own."""
        return sorted({group.data for group in self.groups})

    def of(self, data: str) -> list[Group]:
        """The groups that were trained on it."""
        return [group for group in self.groups if group.data == data]

    @cached_property
    def columns(self) -> dict[Column, dict[str, Cell]]:
        """Every column's cells, ranked, by the label of the group."""
        found: dict[Column, dict[str, list[Score]]] = defaultdict(lambda: defaultdict(list))
        for group in self.groups:
            for run in group.runs:
                for score in run.scores.values():
                    found[Column.of(group.data, score)][group.label].append(score)
        columns = {column: {label: mean_score(own) for label, own in cells.items()} for column, cells in found.items()}
        return {column: ranked(column, columns[column]) for column in sorted(columns, key=lambda column: column.order)}

    def columns_of(self, data: str) -> dict[Column, dict[str, Cell]]:
        """The columns of one data set."""
        return {column: cells for column, cells in self.columns.items() if column.data == data}


def ranked(column: Column, cells: Mapping[str, Cell]) -> dict[str, Cell]:
    """The cells with their places, where there is a better and a worse, and more than one."""
    if column.better is None or len(cells) < 2:
        return dict(cells)
    found = places({label: interval(cell.score, cell.error) for label, cell in cells.items()}, column.better)
    return {label: Cell(cell.score, cell.error, cell.own, found[label]) for label, cell in cells.items()}


def compared(runs: Iterable[Run], failures: Iterable[tuple[str, str]] = ()) -> Results:
    """Group the runs.

    Args:
        runs: of one sweep or many.
        failures: names and reasons of jobs that may have left no run behind.
    """
    runs = list(runs)
    by_config: dict[tuple[object, ...], dict[str, Run]] = defaultdict(dict)
    remarks = []
    for run in runs:
        if not run.scores:
            continue
        seeds = by_config[run.config_hash, run.data, run.model, run.status == "finished"]
        if run.seed in seeds:
            older, run = sorted((seeds[run.seed], run), key=lambda run: str(run.record.get("started", "")))
            remarks.append(f"{older.path} repeats the seed of {run.path} and is left out.")
        seeds[run.seed] = run
    groups = labeled([tuple(seeds.values()) for seeds in by_config.values()])
    for group in groups:
        if len(commits := {commit(run) for run in group.runs}) > 1:
            remarks.append(f"the runs of {group.label} on {group.data} are of different commits: {', '.join(commits)}.")
    unfinished = [(run.name, f"{run.status}: {run.reason}") for run in runs if run.status != "finished"]
    known = {name for name, _ in unfinished}
    unfinished += [(name, f"failed: {reason}") for name, reason in failures if name not in known]
    refusals = [(f"{g.label} on {g.data}", f"no {n}: {why}") for g in groups for n, why in g.runs[0].refusals.items()]
    return Results(tuple(groups), tuple(unfinished), tuple(refusals), tuple(remarks))


def labeled(groups: Iterable[tuple[Run, ...]]) -> list[Group]:
    """Name every group after its model and, where data and model are shared, the overrides that are not."""
    groups = list(groups)
    found = []
    for runs in groups:
        alike = [other[0] for other in groups if (other[0].model, other[0].data) == (runs[0].model, runs[0].data)]
        shared = set.intersection(*(set(run.overrides) for run in alike))
        own = [word for word in runs[0].overrides if word not in shared and not word.startswith(NOT_IN_LABEL)]
        status = [] if runs[0].status == "finished" else [f"({runs[0].status})"]
        found.append(" ".join([runs[0].model, *own, *status]))
    taken: dict[tuple[str, str], int] = defaultdict(int)
    for runs, label in zip(groups, found, strict=True):
        taken[runs[0].data, label] += 1
    return [
        Group(runs, f"{label} [{runs[0].config_hash[-6:]}]" if taken[runs[0].data, label] > 1 else label)
        for runs, label in zip(groups, found, strict=True)
    ]


def commit(run: Run) -> str:
    """Of the source tree, shortened."""
    git = run.record.get("git")
    return str(git.get("commit"))[:8] if isinstance(git, Mapping) else "unknown"


def sentences(results: Results, data: str) -> list[str]:
    """What must stand below a table: which columns look alike and are kept apart, and what could not be ranked."""
    columns = results.columns_of(data)
    families: dict[str, list[Column]] = defaultdict(list)
    for column in columns:
        families[column.stem].append(column)
    found = [apart(stem, family, columns) for stem, family in families.items() if len(family) > 1]
    for column, cells in columns.items():
        lacking = [label for label, cell in cells.items() if cell.place and cell.error is None]
        if lacking:
            found.append(
                f"{column.name} of {listed(lacking)} has no standard error, so that nothing stands above or below it; "
                f"more seeds, or more of the metric's repeats, give one."
            )
    return found


def apart(stem: str, family: Sequence[Column], columns: Mapping[Column, Mapping[str, Cell]]) -> str:
    """Sentence on columns that look alike."""
    facts = [column.facts() for column in family]
    told = [key for key in differences(facts) if key != "name"]
    told = [key for key in told if key not in ("real_n", "test_n") or "n" not in told]

    def said(column: Column, fact: Mapping[str, str]) -> str:
        words = [f"{key} {fact.get(key, 'unsaid')}" for key in told]
        return f"{column.name} of {listed(list(columns[column]))}" + (f" has {', '.join(words)}" if words else "")

    each = [said(column, fact) for column, fact in zip(family, facts, strict=True)]
    return f"{stem} is kept in {len(family)} columns that do not compare: {'; '.join(each)}."


def differences(facts: Sequence[Mapping[str, str]]) -> list[str]:
    """The keys under which not all say the same."""
    keys = list(dict.fromkeys(key for fact in facts for key in fact))
    return [key for key in keys if len({fact.get(key) for fact in facts}) > 1]


def listed(words: Sequence[str]) -> str:
    """Words with an "and" before the last.

    >>> listed(["GAN", "VAE", "DDPM"])
    'GAN, VAE and DDPM'
    """
    return " and ".join([", ".join(words[:-1]), words[-1]]) if len(words) > 1 else words[0]
