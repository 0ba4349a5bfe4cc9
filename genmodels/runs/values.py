"""The values of a run by which a sweep judges it: validation values, costs and scores, by name."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

VALIDATION, COST, TEST = "val/", "cost.", "test/"  # beginnings of the names


def value(record: Mapping[str, Any], name: str) -> float | None:
    """The value ``name`` of the run with this run.json, or ``None`` if it has none.

    ``val/bits_per_dim`` is a validation value of the checkpoint that is scored, ``cost.train_seconds`` an entry of the
    cost, ``test/bits_per_dim`` or plainly ``bits_per_dim`` a score.

    >>> record = {"validation": {"val/nats": 2.5}, "cost": {"parameters": 10}, "metrics": {"nats": {"value": 2.6}}}
    >>> [value(record, name) for name in ("val/nats", "cost.parameters", "test/nats", "nats", "fd")]
    [2.5, 10.0, 2.6, 2.6, None]
    """
    if name.startswith(VALIDATION):
        found = record.get("validation", {}).get(name)
    elif name.startswith(COST):
        found = record.get("cost", {}).get(name.removeprefix(COST))
    else:
        found = record.get("metrics", {}).get(name.removeprefix(TEST), {}).get("value")
    return None if found is None else float(found)
