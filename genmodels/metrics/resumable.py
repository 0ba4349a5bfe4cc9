"""What a long evaluation has finished, kept line by line, so that one that was killed goes on from there."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from typing import Any

from genmodels.core.processes import rank_and_world


class ResumableResults:
    """Named results in ``<name>-<hash>*.jsonl``, one file a process, each line written when it is known.

    Args:
        folder: where the files lie; made with the first result.
        name: of the evaluation.
        settings: all that the results depend on; under others nothing is found.
    """

    def __init__(self, folder: Path, name: str, settings: object) -> None:
        digest = hashlib.sha256(json.dumps(settings, sort_keys=True).encode()).hexdigest()[:12]
        self._file = folder / f"{name}-{digest}-{rank_and_world()[0]}.jsonl"
        self._known: dict[str, Any] = {}
        for file in sorted(folder.glob(f"{name}-{digest}-*.jsonl")):
            for line in file.read_text().splitlines():
                self._known |= parsed(line)

    def __contains__(self, name: str) -> bool:
        return name in self._known

    def __getitem__(self, name: str) -> Any:
        return self._known[name]

    def __setitem__(self, name: str, value: Any) -> None:
        """Keep ``value``, of plain types."""
        self._known[name] = value
        self._file.parent.mkdir(parents=True, exist_ok=True)
        with self._file.open("a") as file:
            file.write(json.dumps({name: value}) + "\n")


def parsed(line: str) -> dict[str, Any]:
    """One entry; none of a line that a kill cut short."""
    try:
        return dict(json.loads(line))
    except ValueError:
        return {}
