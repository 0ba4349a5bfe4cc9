"""The logger of a run folder: metrics.csv."""

from __future__ import annotations

import csv
from argparse import Namespace
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from lightning.pytorch.loggers import Logger

from genmodels.core.processes import is_rank_zero
from genmodels.errors import UserError, ensure
from genmodels.files import atomic
from genmodels.untrusted import MEBIBYTE, read_text


class MetricsCsv(Logger):
    """``metrics.csv``: one row per step, one column per metric.

    Args:
        folder: run folder.
    """

    def __init__(self, folder: str | Path) -> None:
        super().__init__()
        self.path = Path(folder) / "metrics.csv"
        self.rows: dict[int, dict[str, str]] = {}
        self._save_at = 0

    name = "csv"
    version = ""
    experiment = None

    def log_metrics(self, metrics: Mapping[str, float], step: int | None = None) -> None:
        """Merge ``metrics`` into the row of ``step``."""
        if not is_rank_zero():
            return
        self.rows.setdefault(step or 0, {}).update({name: f"{float(value):.8g}" for name, value in metrics.items()})
        if len(self.rows) > self._save_at:
            self.save()
            self._save_at = len(self.rows) + 20 + len(self.rows) // 10

    def rewind(self, step: int) -> None:
        """Continue the table on disk after the row of ``step``; drop later rows, which will be written again.

        Raises:
            UserError: if the table cannot be read.
        """
        self.rows = {number: row for number, row in self._read().items() if number <= step}

    def log_hyperparams(self, params: dict[str, Any] | Namespace, *args: Any, **kwargs: Any) -> None:
        """Do nothing: config.yaml holds them."""

    def save(self) -> None:
        """Write the table, in the first process."""
        if not (self.rows and is_rank_zero()):
            return
        columns = sorted({name for row in self.rows.values() for name in row})
        self.path.parent.mkdir(parents=True, exist_ok=True)
        with atomic(self.path) as part, part.open("w", newline="") as file:
            writer = csv.DictWriter(file, ["step", *columns])
            writer.writeheader()
            writer.writerows({"step": str(step), **row} for step, row in sorted(self.rows.items()))

    def finalize(self, status: str) -> None:
        """Write the rows since the last save."""
        self.save()

    def _read(self) -> dict[int, dict[str, str]]:
        if not self.path.exists():
            return {}
        try:
            rows = csv.DictReader(read_text(self.path, most=256 * MEBIBYTE).splitlines())
            ensure("step" in (rows.fieldnames or ["step"]), "it has no column step.")
            return {int(row.pop("step")): {name: f"{float(v):.8g}" for name, v in row.items() if v} for row in rows}
        except (ValueError, KeyError, TypeError, csv.Error) as error:
            raise UserError(
                f"{self.path} is damaged: it is no table of numbers with a column step; repair or remove it."
            ) from error
