"""Run folders: config.yaml, run.json, metrics.csv, checkpoints/ and samples/, which suffice for everything later."""

from __future__ import annotations

import json
import os
import time
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from omegaconf import DictConfig, OmegaConf

from genmodels.core.score import Score
from genmodels.errors import UserError, require
from genmodels.files import write_whole
from genmodels.runs.identity import moved


class RunFolder:
    """Reads and writes one run folder.

    Args:
        path: the folder.
    """

    def __init__(self, path: str | Path) -> None:
        self.path = Path(path)
        self.record_file = self.path / "run.json"
        self.config_file = self.path / "config.yaml"
        self.checkpoints = self.path / "checkpoints"

    @classmethod
    def open(cls, path: str | Path) -> RunFolder:
        """An existing run folder.

        Raises:
            UserError: if ``path`` holds no run.
        """
        run = cls(path)
        missing = [f.name for f in (run.record_file, run.config_file) if not f.is_file()]
        require(not missing, f"{path} is not a run folder: it has no {' and no '.join(missing)}.")
        return run

    def create(self, config: DictConfig, details: Mapping[str, Any]) -> None:
        """Create the folder, with the resolved config and a record whose status is ``running``.

        Raises:
            UserError: if the folder already holds a run, which is never overwritten, or cannot be written.
        """
        require(
            not self.record_file.exists(),
            f"{self.path} already holds a run; choose another folder, or continue it: genmodels resume run={self.path}",
        )
        try:
            self.path.mkdir(parents=True, exist_ok=True)
            write_whole(self.config_file, OmegaConf.to_yaml(config, resolve=True))
        except OSError as error:
            raise UserError(f"the run folder {self.path} cannot be written ({error}).") from error
        self.write({"status": "running", **details, "started": now(), "metrics": {}, "refusals": {}})

    def read(self) -> dict[str, Any]:
        """The record, run.json."""
        return dict(json.loads(self.record_file.read_text()))

    def write(self, record: Mapping[str, Any]) -> None:
        """Replace run.json as a whole."""
        write_whole(self.record_file, json.dumps(record, indent=2) + "\n")

    def update(self, **entries: Any) -> None:
        """Set top-level entries of run.json and leave the others."""
        self.write(self.read() | entries)

    def add_scores(self, scores: Iterable[Score], refusals: Mapping[str, str]) -> None:
        """Add scores, by name, and refusals to run.json.

        Raises:
            UserError: for anything that is not a :class:`Score`.
        """
        record = self.read()
        for score in scores:
            require(isinstance(score, Score), f"only a Score, with kind, n and protocol, is recorded, got {score!r}.")
            record["metrics"][score.name] = score.to_dict()
        record["refusals"] |= refusals
        self.write(record)

    @property
    def config(self) -> DictConfig:
        """The resolved config, with ``run_dir`` and the paths below it as the folder lies now."""
        written = OmegaConf.to_container(OmegaConf.load(self.config_file))
        assert isinstance(written, dict)
        return OmegaConf.create(moved(written, str(written["run_dir"]), os.path.abspath(self.path)))

    def checkpoint(self, name: str | None = None) -> Path:
        """Path of the checkpoint ``name``; by default ``best.ckpt`` if it exists, else ``last.ckpt``.

        Raises:
            UserError: if there is no such file.
        """
        names = [name] if name else ["best.ckpt", "last.ckpt"]
        for candidate in names:
            if (self.checkpoints / candidate).is_file():
                return self.checkpoints / candidate
        raise UserError(f"{self.checkpoints} holds no {' or '.join(names)}; the run was stopped before its first save.")


def now() -> str:
    """Local time to the second, with its offset from UTC."""
    return time.strftime("%Y-%m-%dT%H:%M:%S%z")
