"""Results of a long evaluation, stored as they are computed, so that a killed evaluation can resume."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from typing import Any

from genmodels.core.processes import rank_and_world
from genmodels.untrusted import read_text


class ResumableResults:
    """A dictionary of named results on disk, in ``<name>-<hash>-<rank>.jsonl``, one line per result.

    Each process appends to its own file and starts from the results of all processes.

    Args:
        folder: folder of the files; created with the first result.
        name: name of the evaluation.
        settings: everything the results depend on, JSON serializable; its hash is part of the file name, so that
            results of other settings are not used.
    """

    def __init__(self, folder: Path, name: str, settings: object) -> None:
        digest = hashlib.sha256(json.dumps(settings, sort_keys=True).encode()).hexdigest()[:12]
        self._file = folder / f"{name}-{digest}-{rank_and_world()[0]}.jsonl"
        self._known: dict[str, Any] = {}
        for file in sorted(folder.glob(f"{name}-{digest}-*.jsonl")):
            for line in read_text(file).splitlines():
                self._known |= parsed(line)

    def __contains__(self, name: str) -> bool:
        return name in self._known

    def __getitem__(self, name: str) -> Any:
        return self._known[name]

    def __setitem__(self, name: str, value: Any) -> None:
        """Store ``value``, which must be JSON serializable, in memory and on disk."""
        self._known[name] = value
        self._file.parent.mkdir(parents=True, exist_ok=True)
        with self._file.open("a") as file:
            file.write(json.dumps({name: value}) + "\n")


def parsed(line: str) -> dict[str, Any]:
    """The entry in ``line``; empty if the process was killed before the line was complete."""
    try:
        return dict(json.loads(line))
    except (ValueError, TypeError, RecursionError):
        return {}
