"""The record of a run, run.json: it may come from a stranger, and is checked before anything uses it."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from genmodels.core.score import Score
from genmodels.errors import UserError, require
from genmodels.runs.identity import expectations
from genmodels.settings import EXPECTED, PRECISIONS, SWITCH, TEXT, is_integer, one_of
from genmodels.untrusted import read_json

COSTS = (
    "parameters", "examples", "batches", "train_seconds", "fit_seconds", "evaluation_seconds", "peak_memory_bytes",
)  # fmt: skip
SPEEDS = ("passes_per_sample", "samples_per_second", "speed_batch")
TEXTS = (
    "status", "model", "given", "family", "data", "data_sha256", "samples_sha256", "config_hash", "started", "ended",
)  # fmt: skip
MAPPINGS = (
    "cost", "refusals", "checkpoints", "computing", "hardware", "wandb", "mlflow", "validation", "trial", "external",
    "exported",
)  # fmt: skip
MIRRORS = {"wandb": ("id", "project", "entity", "sweep", "group"), "mlflow": ("id",)}  # names of runs on dashboards
NO_NAME = re.compile(r"[^\w .~@-]")
LISTS = ("overrides", "config_sha256", "continued")
FIELDS = ("value", "unit", "kind", "se", "n", "better", "protocol")
COMPUTING = {"precision": one_of(*PRECISIONS), "channels_last": SWITCH, "why": TEXT}
NUMBER, WORDS = (int, float), {dict: "a mapping", list: "a list", str: "text", int: "an integer"}


def read_record(file: Path) -> dict[str, Any]:
    """The content of a run.json, whose texts are safe to print.

    Raises:
        UserError: if it cannot be read, or an entry is missing or of the wrong type.
    """
    record = read_json(file)
    try:
        check_record(record)
    except (UserError, ValueError) as error:
        raise UserError(f"{file} cannot be read: {str(error)[:200].rstrip('.')}.") from error
    return dict(record)


def check_record(record: Any) -> None:
    """Check the types that commands, tables and charts rely on.

    Raises:
        UserError: naming an entry that is missing or of the wrong type.
        ValueError: for a score with a field of the wrong type.
    """
    check_types({"the content": record}, dict)
    check_entries("it", record, ("metrics",))
    check_types({name: record.get(name, "") for name in TEXTS}, str)
    check_types({"error": record.get("error") or ""}, str)
    check_types({name: record.get(name, {}) for name in (*MAPPINGS, "metrics")}, dict)
    check_types({name: record.get(name, []) for name in LISTS}, list)
    check_types({f"{name}[{i}]": word for name in LISTS for i, word in enumerate(record.get(name, []))}, str)
    check_types({f"refusals.{name}": reason for name, reason in record.get("refusals", {}).items()}, str)
    check_types({f"checkpoints.{name}": found for name, found in record.get("checkpoints", {}).items()}, list)
    check_computing(record.get("computing", {}), record.get("hardware", {}).get("threads", 1))
    check_mirrors(record)
    costs = {f"cost.{name}": record.get("cost", {}).get(name, 0) for name in COSTS}
    check_types(costs, NUMBER)
    check_finite(costs)
    check_types({f"validation.{name}": found for name, found in record.get("validation", {}).items()}, NUMBER)
    for entry in expectations(record.get("expected")):
        check_expectation(entry)
    for name, entry in record["metrics"].items():
        check_types({f"metrics.{name}": entry}, dict)
        check_entries(f"metrics.{name}", entry, FIELDS)
        check_score(Score.from_dict(name, entry))


def check_mirrors(record: Any) -> None:
    """Check the names by which a run is found on dashboards, some of which become parts of paths.

    Raises:
        UserError: naming the entry.
    """
    check_types({"the content": record}, dict)
    for mirror, names in MIRRORS.items():
        entry = record.get(mirror, {})
        check_types({mirror: entry, f"{mirror}.place": entry.get("place", {}) if isinstance(entry, dict) else {}}, dict)
        found = {f"{mirror}.{name}": entry[name] for name in names if entry.get(name) is not None}
        check_types(found, str)
        wrong = ", ".join(key for key, name in found.items() if not name or len(name) > 128 or NO_NAME.search(name))
        require(not wrong, f"{wrong} is not the name of a run, project or team")


def check_computing(entry: Mapping[str, Any], threads: Any) -> None:
    """Check how a run computed, which its continuation repeats.

    Raises:
        UserError: naming what is of the wrong type.
    """
    wrong = ", ".join(name for name, kind in COMPUTING.items() if name in entry and not kind.holds(entry[name]))
    require(not wrong, f"computing has a wrong {wrong}")
    require(is_integer(threads) and threads > 0, f"hardware.threads is {str(threads)[:50]!r}, not a positive integer")


def check_expectation(entry: Any) -> None:
    """Check an entry of ``expected``.

    Raises:
        UserError: naming what is missing or of the wrong type.
    """
    check_types({"an entry of expected": entry}, dict)
    check_entries("an entry of expected", entry, EXPECTED)
    numbers = {f"expected.{key}": entry[key] for key in ("value", "tolerance")}
    check_types(numbers, NUMBER)
    check_finite(numbers)
    check_types({f"expected.{key}": entry[key] for key in ("metric", "source")}, str)


def check_score(score: Score) -> None:
    """Check the types of a score's entries that are computed with.

    Raises:
        UserError: naming an entry of the wrong type.
    """
    protocol, where = score.protocol, f"metrics.{score.name}"
    numbers = {"value": score.value, "se": 0 if score.se is None else score.se, "of": protocol.get("of", 0)}
    speeds = {f"{where}.{key}": protocol.get(key, 0) for key in SPEEDS}
    check_types({f"{where}.{key}": number for key, number in (numbers | score.beside).items()} | speeds, NUMBER)
    check_finite(speeds)
    check_types({f"{where}.n": score.n}, int)
    check_types({f"{where}.flag": protocol.get("flag", "")}, str)


def check_entries(where: str, node: Mapping[str, Any], names: tuple[str, ...]) -> None:
    """Check that a mapping has all entries.

    Raises:
        UserError: naming those that it lacks.
    """
    lacking = ", ".join(name for name in names if name not in node)
    require(not lacking, f"{where} lacks {lacking}")


def check_types(values: Mapping[str, Any], types: Any) -> None:
    """Check that each value is of one of the types, and that a float can hold each integer.

    Raises:
        UserError: naming the first value that is not.
    """
    wanted = WORDS.get(types, "a number")
    for name, value in values.items():
        fits = isinstance(value, types) and not isinstance(value, bool)
        require(fits, f"{name} is {str(value)[:50]!r}, not {wanted}")
        require(not isinstance(value, int) or abs(value) < 2**1000, f"{name} is too large")


def check_finite(values: Mapping[str, float]) -> None:
    """Check that each number is finite.

    Raises:
        UserError: naming the first that is not.
    """
    for name, value in values.items():
        require(math.isfinite(value), f"{name} is {value}")


def scores_by_name(record: Mapping[str, Any]) -> dict[str, Score]:
    """The scores in one run.json."""
    return {name: Score.from_dict(name, entry) for name, entry in record["metrics"].items()}
