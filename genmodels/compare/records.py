"""Records of run folders, which are untrusted and therefore checked before anything else uses them."""

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

OF_THE_DATA = ("data.source", "data.spec", "data.limit")  # overrides that change the data but not their name
COSTS = ("parameters", "examples", "batches", "train_seconds", "peak_memory_bytes")
RECORD = "run.json"
SPEEDS = ("passes_per_sample", "samples_per_second")


@dataclass(frozen=True)
class Run:
    """The record of one run folder.

    Attributes:
        path: the folder.
        record: content of run.json, without unprintable characters.
        scores: scores by name.
    """

    path: Path
    record: Mapping[str, Any]
    scores: Mapping[str, Score]

    @classmethod
    def read(cls, file: Path) -> Run:
        """The run of a run.json; if it cannot be read, a run without scores whose ``error`` is the reason."""
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
            return cls.unreadable(
                file.parent, f"its run.json cannot be read ({type(error).__name__}: {str(error)[:200]})"
            )
        return run

    @classmethod
    def unreadable(cls, path: Path, reason: str) -> Run:
        """A run whose record is missing or cannot be read, with the reason."""
        return cls(path, {"status": "unreadable", "error": printable(reason)}, {})

    def check(self) -> None:
        """Check the types that tables and charts rely on.

        Raises:
            TypeError: naming an entry of the wrong type.
            OverflowError: for an integer that is too large for a float.
        """
        check_types({"metrics": self.record["metrics"], "cost": self.cost, "refusals": self.refusals}, dict)
        check_types({name: self.cost.get(name, 0) for name in COSTS}, (int, float))
        check_types({"overrides": self.record.get("overrides", [])}, list)
        check_types({"expected": self.expected}, list)
        check_types({f"entry {i} of expected": entry for i, entry in enumerate(self.expected)}, dict)
        check_types({name: score.value for name, score in self.scores.items()}, (int, float))
        check_types({name: score.n for name, score in self.scores.items()}, int)
        for name, score in self.scores.items():
            protocol = score.protocol
            numbers = {"se": 0 if score.se is None else score.se, "of": protocol.get("of", 0)} | score.beside
            numbers |= {key: protocol.get(key, 0) for key in SPEEDS}
            check_types({f"{name}'s {key}": number for key, number in numbers.items()}, (int, float))
            check_types({f"{name}'s flag": protocol.get("flag", "")}, str)

    @property
    def name(self) -> str:
        """Name of the folder."""
        return printable(self.path.name)

    @property
    def model(self) -> str:
        """Class name of the model."""
        return str(self.record.get("model", self.name))

    @property
    def data(self) -> str:
        """Name of the data, and the overrides that change the data but not their name."""
        changed = [word for word in self.overrides if word.lstrip("+~").startswith(OF_THE_DATA)]
        return " ".join([str(self.record.get("data", "")), *changed])

    @property
    def expected(self) -> list[Any]:
        """The results that its recipe expects."""
        return expectations(self.record.get("expected"))

    @property
    def overrides(self) -> list[str]:
        """Its overrides on the command line."""
        return [str(word) for word in self.record.get("overrides", [])]

    @property
    def config_hash(self) -> str:
        """Hash that runs share if they differ only in their seed; a run without one is a group of its own."""
        return str(self.record.get("config_hash", self.path))

    @property
    def seed(self) -> str:
        """The seed as text."""
        return str(self.record.get("seed", ""))

    @property
    def status(self) -> str:
        """``finished``, ``failed``, ``interrupted``, ``running`` or ``unreadable``."""
        return str(self.record.get("status", "finished"))

    @property
    def reason(self) -> str:
        """The recorded reason why it is not finished."""
        killed = "it is still running, or was killed"
        return str(self.record.get("error") or (killed if self.status == "running" else "no reason was recorded"))

    @property
    def cost(self) -> Mapping[str, Any]:
        """Cost of training; empty while the run is running."""
        return self.record.get("cost", {})

    @property
    def refusals(self) -> Mapping[str, Any]:
        """Metrics that do not apply to the model, with the reason."""
        return self.record.get("refusals", {})


def check_types(values: Mapping[str, Any], types: Any) -> None:
    """Check that each value is of one of the types.

    Raises:
        TypeError: naming the first value of another type.
        OverflowError: for an integer that is too large for a float.
    """
    for name, value in values.items():
        if not isinstance(value, types) or isinstance(value, bool):
            raise TypeError(f"{name} is {str(value)[:50]!r}")
        if isinstance(value, int):
            float(value)


def printable(node: Any) -> Any:
    r"""Nested lists and mappings with control characters, which a terminal would interpret, replaced.

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
    """The scores in one run.json."""
    return {name: Score.from_dict(name, entry) for name, entry in record["metrics"].items()}


def find_runs(*places: str | Path) -> list[Run]:
    """The runs in and under folders or globs, each once, in the order of their folders' numbers.

    A run folder without run.json counts as a run whose status is ``unreadable``, and so does a place without any run,
    unless no place has one.

    Raises:
        UserError: for a place that does not exist.
    """
    found: dict[Path, Run] = {}
    empty = []
    for place in places:
        runs = sorted((run for path in existing(place) for run in runs_under(path)), key=number)
        found = {run.path.resolve(): run for run in runs} | found
        empty += [] if runs else [Run.unreadable(Path(place), "there is no run.json in or under it")]
    return [*found.values(), *empty] if found else []


def existing(place: str | Path) -> list[Path]:
    """The path ``place``, or the paths that match it as a glob.

    Raises:
        UserError: if there is none.
    """
    found = [Path(place)] if Path(place).exists() else [Path(path) for path in glob.glob(str(place), recursive=True)]
    require(bool(found), f"there is no {place}.")
    return found


def runs_under(path: Path) -> Iterator[Run]:
    """The runs in and under a folder, or the run of a run.json."""
    if path.is_dir():
        yield from (Run.read(file) for file in path.rglob(RECORD))
        folders = (config.parent for config in path.rglob("config.yaml"))
        yield from (Run.unreadable(folder, "it has no run.json") for folder in folders if is_run_folder(folder))
    elif path.name == RECORD:
        yield Run.read(path)


def is_run_folder(path: Path) -> bool:
    """Whether ``path`` is a run folder without its run.json."""
    return (path / "config.yaml").is_file() and (path / "checkpoints").is_dir() and not (path / RECORD).exists()


def number(run: Run) -> tuple[int, str]:
    """Sort key that puts the second job of a sweep before the tenth."""
    first = run.path.name.partition("_")[0]
    return (int(first) if first.isdecimal() else 0, str(run.path))
