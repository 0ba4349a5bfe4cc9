"""Loggers that suit a run folder: one metrics.csv that survives a resume, and wandb with a stable identity."""

from __future__ import annotations

import csv
import hashlib
import os
from argparse import Namespace
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from lightning.pytorch.loggers import Logger, WandbLogger
from lightning.pytorch.utilities import rank_zero_only


class MetricsCsv(Logger):
    """``metrics.csv``: one row per step, one column per metric; a resumed run goes on where its checkpoint stands.

    Args:
        folder: run folder.
    """

    def __init__(self, folder: str | Path) -> None:
        super().__init__()
        self.path = Path(folder) / "metrics.csv"
        self.rows: dict[int, dict[str, str]] = {}
        self._opened = False
        self._save_at = 0

    name = "csv"
    version = ""
    experiment = None

    @rank_zero_only
    def log_metrics(self, metrics: Mapping[str, float], step: int | None = None) -> None:
        """Merge ``metrics`` into the row of ``step``, forgetting rows that a resumed run is about to write again."""
        step = step or 0
        if not self._opened:
            self.rows = {n: row for n, row in self._read().items() if n < step}
            self._opened = True
        self.rows.setdefault(step, {}).update({name: f"{float(value):.8g}" for name, value in metrics.items()})
        if len(self.rows) > self._save_at:
            self.save()
            self._save_at = len(self.rows) + 20 + len(self.rows) // 10

    def log_hyperparams(self, params: dict[str, Any] | Namespace, *args: Any, **kwargs: Any) -> None:
        """Nothing: config.yaml holds them."""

    @rank_zero_only
    def save(self) -> None:
        """Write the whole table beside, then rename over the old one."""
        if not self.rows:
            return
        columns = sorted({name for row in self.rows.values() for name in row})
        part = self.path.with_suffix(".part")
        part.parent.mkdir(parents=True, exist_ok=True)
        with part.open("w", newline="") as file:
            writer = csv.DictWriter(file, ["step", *columns])
            writer.writeheader()
            writer.writerows({"step": str(step), **row} for step, row in sorted(self.rows.items()))
        os.replace(part, self.path)

    @rank_zero_only
    def finalize(self, status: str) -> None:
        """Write what is left."""
        self.save()

    def _read(self) -> dict[int, dict[str, str]]:
        if not self.path.exists():
            return {}
        with self.path.open(newline="") as file:
            rows = csv.DictReader(file)
            return {int(row.pop("step")): {name: v for name, v in row.items() if v} for row in rows}


class Wandb(WandbLogger):
    """Weights & Biases, with one run per run folder: its id follows from the folder, so that a resume goes on in it.

    Args:
        folder: run folder.
        project: wandb project.
        entity: user or team, or ``None``.
        group: groups runs on the dashboard, or ``None``.
        tags: labels.
        offline: keep the run in the folder, for ``wandb sync`` later.
    """

    def __init__(
        self,
        folder: str | Path,
        project: str = "genmodels",
        entity: str | None = None,
        group: str | None = None,
        tags: list[str] | None = None,
        offline: bool = False,
    ) -> None:
        folder = Path(folder).resolve()
        super().__init__(
            name=folder.name,
            id=hashlib.sha256(str(folder).encode()).hexdigest()[:16],
            save_dir=str(folder),
            project=project,
            entity=entity,
            group=group,
            tags=tags,
            offline=offline,
            resume="allow",
        )

    @property
    def experiment(self) -> Any:
        """The wandb run; best values, not only last ones, go to its summary."""
        fresh = self._experiment is None
        run = super().experiment
        if fresh and hasattr(run, "define_metric"):
            for name in ("val/bits_per_dim", "val/nats", "train/loss"):
                run.define_metric(name, step_metric="trainer/global_step", summary="min,last")
        return run
