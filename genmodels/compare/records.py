"""Run folders as they are found: anybody's, so that nothing in them is believed before it is looked at."""

from __future__ import annotations

import glob
import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from genmodels.core.score import Score
from genmodels.errors import UserError, require
from genmodels.runs import expectations

OF_THE_DATA = ("data.source", "data.spec", "data.limit")  # overrides that make other data of the same name
COSTS = ("parameters", "examples", "batches", "train_seconds", "peak_memory_bytes")


@dataclass(frozen=True)
class Run:
    """One run folder's record.

    Attributes:
        path: the folder.
        record: run.json, its strings freed of what is not printable.
        scores: by name.
    """

    path: Path
    record: Mapping[str, Any]
    scores: Mapping[str, Score]

    @classmethod
    def read(cls, file: Path) -> Run:
        """The run of a run.json; one that cannot be read is a run without scores, whose ``error`` says why."""
        try:
            record = printable(json.loads(file.read_text()))
            run = cls(file.parent, record, scores_by_name(record))
            run.check()
        except (
            OSError,
            ValueError,
            TypeError,
            KeyError,
            AttributeError,
            RecursionError,
            OverflowError,
            UserError,
        ) as error:
            reason = f"its run.json cannot be read ({type(error).__name__}: {str(error)[:200]})"
            return cls(file.parent, {"status": "unreadable", "error": printable(reason)}, {})
        return run

    def check(self) -> None:
        """Hold what tables and charts count on against its type.

        Raises:
            TypeError: naming what is not what it should be.
        """
        check_types({"metrics": self.record["metrics"], "cost": self.cost, "refusals": self.refusals}, dict)
        check_types({name: self.cost.get(name, 0) for name in COSTS}, (int, float))
        check_types({"overrides": self.record.get("overrides", [])}, list)
        check_types({"expected": self.expected}, list)
        check_types({f"entry {i} of expected": entry for i, entry in enumerate(self.expected)}, dict)
        check_types({name: score.value for name, score in self.scores.items()}, (int, float))
        check_types({name: score.n for name, score in self.scores.items()}, int)
        for score in self.scores.values():
            assert score.line  # a TypeError for an error, a floor or a gap that is no number
            check_types({f"{score.name}'s {key}": score.protocol.get(key, 0) for key in SPEEDS}, (int, float))

    @property
    def name(self) -> str:
        """Of the folder."""
        return printable(self.path.name)

    @property
    def model(self) -> str:
        """Class of the model."""
        return str(self.record.get("model", self.name))

    @property
    def data(self) -> str:
        """Name of the data, and whatever else was overridden that makes them other data."""
        changed = [word for word in self.overrides if word.lstrip("+~").startswith(OF_THE_DATA)]
        return " ".join([str(self.record.get("data", "")), *changed])

    @property
    def expected(self) -> list[Any]:
        """What its recipe says of scores it should reach."""
        return expectations(self.record.get("expected"))

    @property
    def overrides(self) -> list[str]:
        """What was said on the command line."""
        return [str(word) for word in self.record.get("overrides", [])]

    @property
    def config_hash(self) -> str:
        """What runs share that differ in nothing but their seed; a run that does not say is alone."""
        return str(self.record.get("config_hash", self.path))

    @property
    def seed(self) -> str:
        """As text."""
        return str(self.record.get("seed", ""))

    @property
    def status(self) -> str:
        """``finished``, ``failed``, ``interrupted``, ``running`` or ``unreadable``."""
        return str(self.record.get("status", "finished"))

    @property
    def reason(self) -> str:
        """Why it is not finished, as far as the record says."""
        killed = "its run.json still says so: it is under way, or was killed"
        return str(self.record.get("error") or (killed if self.status == "running" else "no reason was recorded"))

    @property
    def cost(self) -> Mapping[str, Any]:
        """Of training; empty while it is under way."""
        return self.record.get("cost", {})

    @property
    def refusals(self) -> Mapping[str, Any]:
        """Metrics that do not exist for the model, and why."""
        return self.record.get("refusals", {})


SPEEDS = ("passes_per_sample", "samples_per_second")


def check_types(values: Mapping[str, Any], types: Any) -> None:
    """Raise a TypeError for the first of the values that is of none of the types, or an OverflowError."""
    for name, value in values.items():
        if not isinstance(value, types) or isinstance(value, bool):
            raise TypeError(f"{name} is {str(value)[:50]!r}")
        if isinstance(value, int):
            float(value)  # an OverflowError for one that has no end


def printable(node: Any) -> Any:
    r"""Strings without control characters, which steer terminals, anywhere in nested lists and mappings.

    >>> printable({"a": ["red \x1b[31m"]})
    {'a': ['red �[31m']}
    """
    if isinstance(node, dict):
        return {printable(key): printable(value) for key, value in node.items()}
    if isinstance(node, list):
        return [printable(value) for value in node]
    if isinstance(node, str):
        return "".join(c if c.isprintable() else " " if c.isspace() else "\ufffd" for c in node)
    return node


def scores_by_name(record: Mapping[str, Any]) -> dict[str, Score]:
    """The scores of one run.json."""
    return {name: Score.from_dict(name, entry) for name, entry in record["metrics"].items()}


def find_runs(*places: str | Path) -> list[Run]:
    """The runs in and under folders, or whatever globs stand for, each once, in the order of their folders' numbers.

    Raises:
        UserError: for a place that is not there.
    """
    files = {file.resolve(): file for place in places for file in sorted(records(place), key=number)}
    return [Run.read(file) for file in files.values()]


def records(place: str | Path) -> Iterator[Path]:
    """The run.json files in and under ``place``."""
    found = [Path(place)] if Path(place).exists() else [Path(path) for path in glob.glob(str(place), recursive=True)]
    require(bool(found), f"there is no {place}.")
    for path in found:
        if path.is_dir():
            yield from path.rglob("run.json")
        elif path.name == "run.json":
            yield path


def number(file: Path) -> tuple[int, str]:
    """Sorts the second job of a sweep before the tenth."""
    first = file.parent.name.partition("_")[0]
    return (int(first) if first.isdecimal() else 0, str(file))
