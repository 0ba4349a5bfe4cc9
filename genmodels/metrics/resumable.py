"""Results of a long evaluation, stored as they are computed, so that a killed evaluation can resume."""

from __future__ import annotations

import hashlib
import json
import os
import secrets
from pathlib import Path
from typing import Any

from genmodels.core.processes import broadcast, is_rank_zero, rank_and_world
from genmodels.errors import UserError
from genmodels.files import write_whole
from genmodels.untrusted import read_text

KEY = ".key"  # in the user's folder of data


class ResumableResults:
    """A dictionary of named results on disk, in ``<name>-<hash>-<rank>.jsonl``, one line per result.

    Each process appends to its own file and starts from the results of all processes. The hash is a signature: results
    that somebody else has put into a run folder are not found, and are therefore not reported as measured.

    Args:
        folder: folder of the files; created with the first result.
        name: name of the evaluation.
        settings: everything the results depend on, JSON serializable, so that results of other settings are not used.

    Raises:
        UserError: if a file of results cannot be read.
    """

    def __init__(self, folder: Path, name: str, settings: object) -> None:
        signed = json.dumps([broadcast(own_key() if is_rank_zero() else ""), settings], sort_keys=True)
        digest = hashlib.sha256(signed.encode()).hexdigest()[:12]
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
        """Store ``value``, which must be JSON serializable, in memory and on disk.

        Raises:
            OSError: naming the file, if it cannot be written.
        """
        self._known[name] = value
        self._file.parent.mkdir(parents=True, exist_ok=True)
        try:
            with self._file.open("a") as file:
                file.write(json.dumps({name: value}) + "\n")
        except OSError as error:
            raise OSError(error.errno, error.strerror, str(self._file)) from error


def own_key() -> str:
    """Random text that only this user knows, kept in the user's folder of data; new every time if that is read-only."""
    from genmodels.data import data_root  # imports Lightning

    file = data_root() / KEY
    try:
        return read_text(file, most=1000)
    except UserError:  # the first time
        key = secrets.token_hex(16)
    try:
        file.parent.mkdir(parents=True, exist_ok=True)
        write_whole(file, key)
        os.chmod(file, 0o600)
    except OSError:
        pass
    return key


def parsed(line: str) -> dict[str, Any]:
    """The entry in ``line``; empty if the process was killed before the line was complete."""
    try:
        return dict(json.loads(line))
    except (ValueError, TypeError, RecursionError):
        return {}
