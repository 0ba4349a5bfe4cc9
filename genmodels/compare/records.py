"""Records of run folders, which are untrusted and therefore checked before anything else uses them."""

from __future__ import annotations

import glob
import hashlib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

from genmodels.core.score import Score
from genmodels.errors import UserError, require
from genmodels.runs import expectations, holder, is_claimed, read_record, scores_by_name
from genmodels.untrusted import printable

OF_THE_DATA = ("data.source", "data.spec", "data.limit")  # overrides that change the data but not their name
RECORD = "run.json"


@dataclass(frozen=True)
class Run:
    """The record of one run folder, which stands for the folder wherever a path is taken.

    Attributes:
        path: the folder.
        record: content of run.json, see :func:`genmodels.runs.read_record`.
        scores: scores by name.
    """

    path: Path
    record: Mapping[str, Any] = field(repr=False)
    scores: Mapping[str, Score]

    @classmethod
    def read(cls, file: Path) -> Run:
        """The run of a run.json; if it cannot be read, a run without scores whose ``error`` is the reason."""
        try:
            record = read_record(file)
        except UserError as error:
            return cls.unreadable(file.parent, str(error).replace(f"{file} ", "its run.json ", 1))
        return cls(file.parent, record, scores_by_name(record))

    @classmethod
    def unreadable(cls, path: Path, reason: str) -> Run:
        """A run whose record is missing or cannot be read, with the reason."""
        return cls(path, {"status": "unreadable", "error": printable(reason)}, {})

    def __fspath__(self) -> str:
        return str(self.path)

    def _repr_html_(self) -> str:
        from genmodels.compare.notebook import shown
        from genmodels.compare.results import compared

        return shown(compared([self]))

    @property
    def name(self) -> str:
        """Name of the folder."""
        return printable(self.path.name)

    @property
    def model(self) -> str:
        """Class name of the model."""
        return str(self.record.get("model", self.name))

    @property
    def given(self) -> str:
        """What the model is given with every example, such as ``labels``; ``""`` for nothing."""
        return str(self.record.get("given", ""))

    @property
    def family(self) -> str:
        """The kind of models that it is one of; ``""`` if unknown, or a kind of its own."""
        return str(self.record.get("family", ""))

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
        """Hash that runs share if they differ only in their seed, and changed their config, if at all, likewise.

        A run without one is a group of its own.
        """
        own = str(self.record.get("config_hash", self.path))
        if not self.continued:
            return own
        return hashlib.sha256("\n".join([*self.continued, own]).encode()).hexdigest()[: len(own)]

    @property
    def continued(self) -> list[str]:
        """The hashes of its former configs, each with the batch until which it held."""
        return [str(each) for each in self.record.get("continued", [])]

    @property
    def seed(self) -> str:
        """The seed as text."""
        return str(self.record.get("seed", ""))

    @cached_property
    def status(self) -> str:
        """One word: what run.json records, or ``killed`` or ``unreadable``.

        Recorded are ``finished``, ``running``, ``failed``, ``interrupted``, ``refused`` before training, and
        ``pruned``, stopped early by a search.
        """
        recorded = str(self.record.get("status", "finished"))
        return "killed" if recorded == "running" and not is_claimed(self.path) else recorded

    @property
    def reason(self) -> str:
        """The recorded reason why it is not finished."""
        reasons = {
            "running": holder(self.path),
            "killed": f"its process ended without a word; continue with: genmodels resume run={self.path}",
            "pruned": "the search stopped it early",
            "interrupted": f"continue with: genmodels resume run={self.path}",
        }
        return str(self.record.get("error") or reasons.get(self.status, "no reason was recorded"))

    @property
    def cost(self) -> Mapping[str, Any]:
        """Cost of training; empty while the run is running."""
        return self.record.get("cost", {})

    @property
    def refusals(self) -> Mapping[str, Any]:
        """Metrics that do not apply to the model, with the reason."""
        return self.record.get("refusals", {})


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
    """Whether ``path``, which has a config.yaml, is a run folder without its run.json, rather than Hydra's own."""
    return path.name != ".hydra" and not (path / RECORD).exists()


def number(run: Run) -> tuple[int, str]:
    """Sort key that puts the second job of a sweep before the tenth."""
    first = run.path.name.partition("_")[0]
    return (int(first) if first.isdecimal() else 0, str(run.path))
