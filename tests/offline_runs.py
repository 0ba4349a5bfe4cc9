"""Reader of the files that wandb writes offline: records of a protocol buffer in LevelDB's log format."""

from __future__ import annotations

import json
import struct
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from wandb.proto.wandb_internal_pb2 import Record

HEADER = b":W&B\xe1\xbe\x00"
BLOCK = 2**15  # bytes, within which a fragment lies
FULL, FIRST, LAST = 1, 2, 4


@dataclass
class OfflineRun:
    """What one offline run would upload."""

    id: str = ""
    project: str = ""
    entity: str = ""
    sweep: str = ""
    group: str = ""
    name: str = ""
    job_type: str = ""
    notes: str = ""
    tags: list[str] = field(default_factory=list)
    config: dict[str, Any] = field(default_factory=dict)
    summary: dict[str, Any] = field(default_factory=dict)
    history: list[dict[str, Any]] = field(default_factory=list)
    axes: dict[str, str] = field(default_factory=dict)
    artifacts: list[tuple[str, str, list[str]]] = field(default_factory=list)
    exit_code: int | None = None

    def column(self, name: str) -> dict[int, Any]:
        """The values of one name by step."""
        return {row["_step"]: row[name] for row in self.history if name in row}


def offline_runs(folder: Path) -> list[OfflineRun]:
    """The offline runs in and under a folder, in the order of their paths, and so of their beginnings."""
    files = [file for file in folder.rglob("*.wandb") if "latest-run" not in file.parts]
    return [read(file) for file in sorted(files)]


def read(file: Path) -> OfflineRun:
    """One file."""
    run = OfflineRun()
    for record in records(file.read_bytes()):
        kind = record.WhichOneof("record_type")
        if kind == "run":
            found = record.run
            run.id, run.project, run.entity, run.sweep = found.run_id, found.project, found.entity, found.sweep_id
            run.group, run.name, run.job_type = found.run_group, found.display_name, found.job_type
            run.notes, run.tags = found.notes, list(found.tags)
            run.config |= items(found.config.update)
        elif kind == "config":
            run.config |= items(record.config.update)
        elif kind == "summary":
            run.summary |= items(record.summary.update)
        elif kind == "history":
            run.history.append(items(record.history.item))
        elif kind == "metric":
            name = record.metric.name or record.metric.glob_name
            run.axes[name] = record.metric.step_metric
        elif kind == "artifact":
            found = record.artifact
            run.artifacts.append((found.name, found.type, sorted(entry.path for entry in found.manifest.contents)))
        elif kind == "request" and record.request.WhichOneof("request_type") == "log_artifact":
            found = record.request.log_artifact.artifact
            run.artifacts.append((found.name, found.type, sorted(entry.path for entry in found.manifest.contents)))
        elif kind == "exit":
            run.exit_code = record.exit.exit_code
    return run


def items(found: Any) -> dict[str, Any]:
    """Keys and values of items."""
    return {item.key or ".".join(item.nested_key): json.loads(item.value_json) for item in found}


def records(content: bytes) -> list[Record]:
    """All records."""
    assert content.startswith(HEADER)
    found, held, at = [], b"", len(HEADER)
    while at + 7 <= len(content):
        if BLOCK - at % BLOCK < 7:  # the rest of a block is empty
            at += BLOCK - at % BLOCK
            continue
        _, length, kind = struct.unpack_from("<IHB", content, at)
        held = (b"" if kind in (FULL, FIRST) else held) + content[at + 7 : at + 7 + length]
        at += 7 + length
        if kind in (FULL, LAST):
            record = Record()
            record.ParseFromString(held)
            found.append(record)
    return found
