"""Results of a comparison: runs that differ only in their seed form one row, comparable scores one column."""

from __future__ import annotations

import math
import statistics
from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import Any, NamedTuple

from genmodels.compare.ranking import Place, places, standing
from genmodels.compare.records import Run
from genmodels.core.likelihood import Kind
from genmodels.core.score import UNITS_OF_LIKELIHOOD, Score

NOT_RECORDED = "not recorded"
NOT_IN_LABEL = ("model=", "data=", "seed=", "logger", "hydra.", "run_dir=", "data.", "metrics",
                "objective=", "trial.", "test=", "sweep=", "retry=")  # fmt: skip


@dataclass(frozen=True)
class Group:
    """Runs of one model, data set and config, which differ only in their seed.

    Attributes:
        runs: one per seed.
        label: the model, and the overrides that distinguish the group from others of that model.
    """

    runs: tuple[Run, ...]
    label: str

    @property
    def title(self) -> str:
        """Label and data."""
        return f"{self.label} on {self.data}"

    @property
    def model(self) -> str:
        """Class name of the model."""
        return self.runs[0].model

    @property
    def family(self) -> str:
        """The kind of models that it is one of, or ``""``."""
        return self.runs[0].family

    @property
    def data(self) -> str:
        """Name of the data set that its runs were trained on."""
        return self.runs[0].data

    def cost(self, name: str) -> float | None:
        """Mean of the entry ``name`` of the cost over the runs that recorded it."""
        values = [run.cost[name] for run in self.runs if name in run.cost]
        return statistics.fmean(values) if values else None

    def speed(self, name: str) -> float | None:
        """Mean over runs of an entry of the sampling protocol, taken from each run's score on the most samples."""
        found = [
            max((score for score in run.scores.values() if name in score.protocol), key=lambda s: s.n, default=None)
            for run in self.runs
        ]
        values = [score.protocol[name] for score in found if score is not None]
        return statistics.fmean(values) if values else None

    @property
    def devices(self) -> str:
        """The devices that its runs were trained on."""
        return ", ".join(sorted({str(run.cost["device"]) for run in self.runs if "device" in run.cost}))

    @property
    def refusals(self) -> dict[str, Any]:
        """Metrics that do not apply to the model, with the reasons."""
        return {name: reason for run in self.runs for name, reason in run.refusals.items()}

    @property
    def expected(self) -> list[Any]:
        """The results that the recipe of the runs expects, each with its source."""
        return self.runs[0].expected


@dataclass(frozen=True)
class Column:
    """The properties that two scores must share to be in one column.

    Attributes:
        data: data set that the models were trained on and are measured against.
        name: name of the score.
        unit: unit of the score.
        n: number of examples or samples; ``None`` for likelihoods, whose expectation does not depend on it.
        better: ``lower``, ``higher`` or ``None``.
        conditions: entries of the protocol, see :attr:`genmodels.core.Score.conditions`.
        quantity: see :class:`genmodels.core.Score`.
        distance: see :class:`genmodels.core.Score`.
    """

    data: str
    name: str
    unit: str
    n: int | None
    better: str | None
    conditions: tuple[tuple[str, str], ...]
    quantity: str = field(compare=False)
    distance: bool = field(compare=False)

    @classmethod
    def of(cls, data: str, score: Score) -> Column:
        """The column of a score."""
        n = None if score.unit in UNITS_OF_LIKELIHOOD else score.n
        conditions = dict(score.conditions)
        if "samples_sha256" in score.protocol:  # of samples whose weights nobody told
            conditions.setdefault("weights", "ema")
        declared = (tuple(sorted(conditions.items())), score.quantity, score.distance)
        return cls(data, score.name, score.unit, n, score.better, *declared)

    def fields(self) -> dict[str, str]:
        """Fields that distinguish this column from others of its quantity."""
        n = {} if self.n is None else {"n": str(self.n)}
        return {**n, "unit": self.unit, "name": self.name, **dict(self.conditions)}

    @property
    def order(self) -> tuple[object, ...]:
        """Sort key: likelihoods first, plain ones before special ones; scores that are not ranked last."""
        special = (self.unit not in UNITS_OF_LIKELIHOOD, self.quantity not in ("bits_per_dim", "nats"))
        return (self.better is None, *special, self.quantity, -(self.n or 0), self.name)

    @staticmethod
    def ranks(cells: Mapping[str, Cell]) -> bool:
        """Whether any of the column's cells has a place."""
        return any(cell.place for cell in cells.values())

    def sort_key(self, cell: Cell | None) -> tuple[float, float]:
        """Sort key of a row by its cell in this column: places, then printed values; cells without a place last."""
        if cell is None or cell.place is None:
            return (math.inf, 0.0)
        return (cell.place.rank, cell.score.value if self.better == "lower" else -cell.score.value)


@dataclass(frozen=True)
class Cell:
    """One group's score in one column.

    Attributes:
        score: mean over seeds; its standard error is that over seeds, or that of a single run.
        error: standard error used for ranking: the larger of the error over seeds and the mean of the runs' own, which
            further seeds on the same test set do not reduce.
        own: the scores of the individual runs.
        place: its place in the column, if it has one.
    """

    score: Score
    error: float | None
    own: tuple[Score, ...]
    place: Place[str] | None = None


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
    for key, words in first.baselines.items():
        if measured := [score.beside[words] for score in scores if words in score.beside]:
            protocol[key] = statistics.fmean(measured)
    flags = {str(score.protocol["flag"]) for score in scores if "flag" in score.protocol}
    flags |= {"of different kinds"} if len(kinds) > 1 else set()
    protocol |= {"flag": "; ".join(sorted(flags))} if flags else {}
    kind = first.kind if len(kinds) == 1 else Kind.ESTIMATE
    mean = replace(first, value=sum(values) / m, se=se, kind=kind, protocol=protocol)
    return Cell(mean, error, tuple(scores))


class Unfinished(NamedTuple):
    """A run that did not finish, or a job that left none.

    Attributes:
        name: its name, or those of several.
        status: see :attr:`Run.status`.
        reason: why.
    """

    name: str
    status: str
    reason: str

    @property
    def line(self) -> str:
        """Status and reason."""
        return f"{self.status}: {self.reason}"


@dataclass(frozen=True)
class Results:
    """The comparison.

    Attributes:
        groups: finished runs, with or without scores, and unfinished ones with scores; in the order they were found,
            see also :meth:`of`.
        unfinished: runs that failed, were interrupted, are running or are unreadable, and jobs that left no run.
        refusals: group and reason, for metrics that do not apply.
        remarks: notes on runs that were left out, and on groups of several commits.
    """

    groups: tuple[Group, ...]
    unfinished: tuple[Unfinished, ...] = ()
    refusals: tuple[tuple[str, str], ...] = ()
    remarks: tuple[str, ...] = ()

    def __repr__(self) -> str:
        """The tables in Markdown, for a terminal."""
        from genmodels.compare.output import markdown

        return markdown(self)

    def _repr_html_(self) -> str:
        from genmodels.compare.notebook import shown

        return shown(self)

    @property
    def summary(self) -> str:
        """The number of runs that are compared, and how many others there are of each status."""
        count = len(self.runs)
        others = "".join(f", {number} {status}" for status, number in sorted(self.statuses.items()))
        return f"Comparison of {count} run{'s' * (count != 1)}{others}"

    @property
    def statuses(self) -> Counter[str]:
        """The number of unfinished runs of each status."""
        return Counter(each.status for each in self.unfinished)

    @property
    def told(self) -> list[Unfinished]:
        """The unfinished runs, those of one reason together."""
        names: dict[tuple[str, str], list[str]] = defaultdict(list)
        for name, status, reason in self.unfinished:
            names[status, reason].append(name)
        return [Unfinished(listed(own), *why) for why, own in names.items()]

    @property
    def unreadable(self) -> list[Unfinished]:
        """The unfinished runs whose run.json is missing or cannot be read."""
        return [each for each in self.unfinished if each.status == "unreadable"]

    @property
    def runs(self) -> list[Run]:
        """The runs of all groups."""
        return [run for group in self.groups for run in group.runs]

    @property
    def without_scores(self) -> list[tuple[str, str]]:
        """The refusals of groups that have no score at all, each with the group's name."""
        silent = {group.title for group in self.groups if not any(run.scores for run in group.runs)}
        return [(title, reason) for title, reason in self.refusals if title in silent]

    @cached_property
    def data(self) -> list[str]:
        """The data sets, each of which has its own tables."""
        return sorted({group.data for group in self.groups})

    def of(self, data: str) -> list[Group]:
        """The groups trained on ``data``, ordered by the first column that ranks them, a likelihood if any is ranked.

        Groups without a place in it follow, ordered by the next column.
        """
        columns = [(column, cells) for column, cells in self.columns_of(data).items() if column.ranks(cells)]
        groups = [group for group in self.groups if group.data == data]
        return sorted(groups, key=lambda group: [column.sort_key(cells.get(group.label)) for column, cells in columns])

    def pictured(self, data: str) -> list[tuple[Group, Run]]:
        """The groups of :meth:`of`, and the run of each whose pictures are shown: of a seed that all have, if any."""
        groups = self.of(data)
        common = sorted(set.intersection(*({run.seed for run in group.runs} for group in groups)))[:1]
        return [(group, next((run for run in group.runs if run.seed in common), group.runs[0])) for group in groups]

    @property
    def ordered(self) -> list[Group]:
        """The groups of all data sets, in the order of :meth:`of`."""
        return [group for data in self.data for group in self.of(data)]

    @cached_property
    def columns(self) -> dict[Column, dict[str, Cell]]:
        """The ranked cells of every column, by the label of the group."""
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


def by_family(groups: Sequence[Group]) -> dict[str, list[int]]:
    """Indices of ``groups`` by family; families, and the groups in each, stand in the order of ``groups``."""
    found: dict[str, list[int]] = {}
    for index, group in enumerate(groups):
        found.setdefault(group.family, []).append(index)
    return found


def ranked(column: Column, cells: Mapping[str, Cell]) -> dict[str, Cell]:
    """The cells with their places, if the column is ranked and has several cells that can be."""
    known = {label: standing(cell.score, cell.error) for label, cell in cells.items()}
    comparable = {label: each for label, each in known.items() if each is not None}
    if column.better is None or len(comparable) < 2:
        return dict(cells)
    found = places(comparable, column.better)
    return {label: replace(cell, place=found.get(label)) for label, cell in cells.items()}


def compared(runs: Iterable[Run], failures: Iterable[tuple[str, str]] = ()) -> Results:
    """The comparison of ``runs``.

    A finished run without any score is compared by its cost; its refusals are the reasons why it has none.

    Args:
        runs: runs of one or more sweeps.
        failures: names and reasons of failed jobs, which may have left no run folder.
    """
    runs = list(runs)
    by_config: dict[tuple[object, ...], dict[str, Run]] = defaultdict(dict)
    remarks = []
    for run in runs:
        if not run.scores and run.status != "finished":
            continue
        seeds = by_config[run.config_hash, run.data, run.model, run.status == "finished"]
        if run.seed in seeds:
            other, run = sorted((seeds[run.seed], run), key=precedence)
            remarks.append(f"{other.path} repeats the seed of {run.path} and is left out.")
        seeds[run.seed] = run
    groups = labeled([tuple(seeds.values()) for seeds in by_config.values()])
    for group in groups:
        if len(commits := sorted({commit(run) for run in group.runs})) > 1:
            remarks.append(f"the runs of {group.label} on {group.data} are of different commits: {', '.join(commits)}.")
    unfinished = [Unfinished(run.name, run.status, run.reason) for run in runs if run.status != "finished"]
    known = {each.name for each in unfinished}
    unfinished += [Unfinished(name, "failed", reason) for name, reason in failures if name not in known]
    refusals = [(group.title, f"no {name}: {why}") for group in groups for name, why in group.refusals.items()]
    return Results(tuple(groups), tuple(unfinished), tuple(refusals), tuple(remarks))


def precedence(run: Run) -> tuple[bool, str]:
    """Sort key of runs of one config and seed, of which the last is kept: with scores if possible, then the newest."""
    return bool(run.scores), str(run.record.get("started", ""))


def labeled(groups: Iterable[tuple[Run, ...]]) -> list[Group]:
    """The groups, labeled by model, what it is given, and the overrides that not all of that model and data share."""
    groups = list(groups)
    found = []
    for runs in groups:
        siblings = [other[0] for other in groups if (other[0].model, other[0].data) == (runs[0].model, runs[0].data)]
        own = short(runs[0].overrides, [run.overrides for run in siblings])
        status = [] if runs[0].status == "finished" else [f"({runs[0].status})"]
        status += ["(continued)"] if runs[0].continued else []
        status += ["(external)"] if runs[0].record.get("external") else []
        given = [f"given {runs[0].given}"] if runs[0].given else []
        found.append(" ".join([runs[0].model, *given, *own, *status]))
    taken: dict[tuple[str, str], int] = defaultdict(int)
    for runs, label in zip(groups, found, strict=True):
        taken[runs[0].data, label] += 1
    return [
        Group(runs, f"{label} [{runs[0].config_hash[-6:]}]" if taken[runs[0].data, label] > 1 else label)
        for runs, label in zip(groups, found, strict=True)
    ]


def short(own: Sequence[str], all_own: Sequence[Sequence[str]]) -> list[str]:
    """The overrides that not all have, with the last part of their keys and four digits of their numbers.

    Whatever would make two different overrides look the same is left as it is.

    >>> short(["model.lr=0.00123456", "x=1"], [["model.lr=0.00123456", "x=1"], ["model.lr=0.5", "x=1"]])
    ['lr=0.001235']
    >>> short(["model.net.width=8"], [["model.net.width=8"], ["model.head.width=8"]])
    ['model.net.width=8']
    """
    words = sorted({word for each in all_own for word in each})
    shared = set.intersection(*map(set, all_own))

    def unique(change: Callable[[str], str], things: Iterable[str]) -> dict[str, str]:
        counts = Counter(map(change, things := sorted(set(things))))
        return {thing: change(thing) if counts[change(thing)] == 1 else thing for thing in things}

    keys = unique(lambda key: key.rpartition(".")[2], (word.partition("=")[0] for word in words))
    values = unique(rounded, words)
    found = []
    for word in own:
        if word not in shared and not word.startswith(NOT_IN_LABEL):
            key, *value = values[word].split("=", 1)
            found.append("=".join([keys[key], *value]))
    return found


def rounded(word: str) -> str:
    """An override whose value, if it is a number with a fraction, has four significant digits."""
    key, _, value = word.partition("=")
    try:
        return f"{key}={float(value):.4g}" if len(value) > 6 and not value.isdecimal() else word
    except ValueError:
        return word


def commit(run: Run) -> str:
    """First eight digits of the commit of its source tree."""
    git = run.record.get("git")
    return str(git.get("commit"))[:8] if isinstance(git, Mapping) else "unknown"


def sentences(results: Results, data: str) -> list[str]:
    """Notes below a table, on columns of one quantity that do not compare and on scores that cannot be ranked."""
    columns = results.columns_of(data)
    families: dict[str, list[Column]] = defaultdict(list)
    for column in columns:
        families[column.quantity].append(column)
    found = [apart(quantity, family, columns) for quantity, family in families.items() if len(family) > 1]
    for column, cells in columns.items():
        lacking = [label for label, cell in cells.items() if cell.error is None]
        if lacking and column.better and len(cells) > 1:
            found.append(
                f"{column.name} of {listed(lacking)} has no standard error and therefore no place; more seeds, or more "
                f"repeats of the metric, give one."
            )
    return found


def apart(quantity: str, family: Sequence[Column], columns: Mapping[Column, Mapping[str, Cell]]) -> str:
    """The note on the columns ``family`` of one quantity, which do not compare, and their differences."""
    fields = [column.fields() for column in family]
    keys = [key for key in differences(fields) if key != "name"]

    def describe(column: Column, own: Mapping[str, str]) -> str:
        words = [f"{key} {own.get(key, NOT_RECORDED)}" for key in keys]
        return f"{column.name} of {listed(list(columns[column]))}" + (f" has {', '.join(words)}" if words else "")

    each = [describe(column, own) for column, own in zip(family, fields, strict=True)]
    return f"{quantity} is kept in {len(family)} columns that do not compare: {'; '.join(each)}."


def differences(fields: Sequence[Mapping[str, str]]) -> list[str]:
    """The keys whose values differ between the mappings."""
    keys = list(dict.fromkeys(key for own in fields for key in own))
    return [key for key in keys if len({own.get(key) for own in fields}) > 1]


def listed(words: Sequence[str]) -> str:
    """Words with an "and" before the last.

    >>> listed(["GAN", "VAE", "DDPM"])
    'GAN, VAE and DDPM'
    """
    return " and ".join([", ".join(words[:-1]), words[-1]]) if len(words) > 1 else words[0]
