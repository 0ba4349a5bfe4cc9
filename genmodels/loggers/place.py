"""Whether a run folder is the one that a dashboard knows: that folder or where it has been moved, but no copy of it."""

from __future__ import annotations

import os
import socket
from collections.abc import Mapping
from pathlib import Path
from typing import Any


def place(folder: Path) -> dict[str, Any]:
    """What tells a folder from its copies: host, path, and on the host the numbers of its disk and of itself."""
    found = folder.stat()
    return {"host": socket.gethostname(), "path": os.path.realpath(folder), "disk": found.st_dev, "file": found.st_ino}


def is_same(known: Any, folder: Path) -> bool:
    """Whether ``folder`` is, or was moved from, the ``known`` :func:`place`.

    A folder that is moved within a disk keeps its number, and one that is moved to another disk is gone from its former
    place; a copy has a number of its own beside the first. What lies on another machine under another path is a copy.
    """
    if not isinstance(known, Mapping):
        return False
    here = place(folder)
    if known.get("path") == here["path"]:
        return True
    if known.get("host") != here["host"]:
        return False
    if known.get("disk") == here["disk"]:
        return known.get("file") == here["file"]
    return not os.path.lexists(str(known.get("path")))
