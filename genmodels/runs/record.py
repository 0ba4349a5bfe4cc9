"""The record of a run, run.json: it may come from a stranger, and is checked before anything uses it."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from genmodels.core.score import Score
from genmodels.errors import UserError
from genmodels.runs.identity import EXPECTED, expectations
from genmodels.untrusted import read_text

COSTS = ("parameters", "examples", "batches", "train_seconds", "peak_memory_bytes")
SPEEDS = ("passes_per_sample", "samples_per_second")
TEXTS = ("status", "model", "data", "data_sha256", "samples_sha256", "config_hash", "started", "ended")
PROBLEMS = (ValueError, TypeError, KeyError, AttributeError, RecursionError, OverflowError)


def read_record(file: Path) -> dict[str, Any]:
    """The content of a run.json.

    Raises:
        UserError: if it cannot be read, or an entry is missing or of the wrong type.
    """
    try:
        record = json.loads(read_text(file))
        check_record(record)
    except PROBLEMS as error:
        raise UserError(f"{file} cannot be read ({type(error).__name__}: {str(error)[:200]}).") from error
    return dict(record)


def check_record(record: Any) -> None:
    """Check the types that commands, tables and charts rely on.

    Raises:
        KeyError: if there is no entry ``metrics``.
        TypeError: naming an entry of the wrong type.
        ValueError: for a score with a field of the wrong type.
        OverflowError: for an integer that is too large for a float.
    """
    check_types({"the record": record}, dict)
    check_types({name: record.get(name, "") for name in TEXTS}, str)
    check_types({"error": record.get("error") or ""}, str)
    check_types({name: record.get(name, {}) for name in ("cost", "refusals", "checkpoints")}, dict)
    check_types({"metrics": record["metrics"]}, dict)
    check_types({"overrides": record.get("overrides", [])}, list)
    check_types({f"override {i}": word for i, word in enumerate(record.get("overrides", []))}, str)
    check_types({f"hash of {name}": found for name, found in record.get("checkpoints", {}).items()}, list)
    check_types({name: record.get("cost", {}).get(name, 0) for name in COSTS}, (int, float))
    for entry in expectations(record.get("expected")):
        check_types({"an entry of expected": entry}, dict)
        check_types({key: entry[key] for key in EXPECTED if key in ("value", "tolerance")}, (int, float))
        check_types({key: entry[key] for key in EXPECTED if key not in ("value", "tolerance")}, str)
    for name, score in scores_by_name(record).items():
        check_score(name, score)


def check_score(name: str, score: Score) -> None:
    """Check the types of a score's entries that are computed with.

    Raises:
        TypeError: naming an entry of the wrong type.
        OverflowError: for an integer that is too large for a float.
    """
    protocol = score.protocol
    numbers = {"value": score.value, "se": 0 if score.se is None else score.se, "of": protocol.get("of", 0)}
    numbers |= {key: protocol.get(key, 0) for key in SPEEDS} | score.beside
    check_types({f"{name}'s {key}": number for key, number in numbers.items()}, (int, float))
    check_types({f"{name}'s n": score.n}, int)
    check_types({f"{name}'s flag": protocol.get("flag", "")}, str)


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


def scores_by_name(record: Mapping[str, Any]) -> dict[str, Score]:
    """The scores in one run.json."""
    return {name: Score.from_dict(name, entry) for name, entry in record["metrics"].items()}
