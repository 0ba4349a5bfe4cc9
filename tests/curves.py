"""What a run has logged, without what no two runs share."""

from __future__ import annotations

import csv

OF_THE_MACHINE = ("train/examples_per_second", "train/memory_bytes")


def curves(run):
    """The rows of metrics.csv in the folder ``run``, without speed and memory."""
    with (run / "metrics.csv").open() as file:
        return [{k: v for k, v in row.items() if k not in OF_THE_MACHINE} for row in csv.DictReader(file)]
