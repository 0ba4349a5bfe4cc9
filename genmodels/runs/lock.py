"""One writer per run folder: a lock that names its process, and dies with it."""

from __future__ import annotations

import json
import os
import socket
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from filelock import FileLock, Timeout

from genmodels.errors import UserError
from genmodels.files import PART
from genmodels.untrusted import printable, read_text

NAME = ".lock"
PATIENCE = 1.0  # seconds; longer than a reader needs to ask whether the lock is held


class InUse(UserError):
    """Another process writes to the run folder."""


@contextmanager
def claimed(folder: Path) -> Iterator[None]:
    """Context in which no other process changes the run folder ``folder``, which is created if it is missing.

    The operating system releases the lock when the process ends, however it ends. A folder that is still empty at the
    end of the context is removed.

    Raises:
        InUse: if another process holds the lock, naming it.
        OSError: if the folder cannot be written.
    """
    path = folder / NAME
    lock = FileLock(path)
    try:
        folder.mkdir(parents=True, exist_ok=True)
        lock.acquire(timeout=PATIENCE)
        with suppress(OSError):  # a full disk; the lock holds without the name of its process
            path.write_text(json.dumps(this_process()))
    except Timeout:
        raise InUse(f"{folder} is in use by {holder(folder)}; wait for its end, or choose another folder.") from None
    except OSError as error:
        raise OSError(error.errno, error.strerror, str(folder)) from error  # of the folder, not of the lock
    for stale in folder.rglob(f"{PART}*"):  # of a process that was killed, since no other is writing
        stale.unlink(missing_ok=True)
    try:
        yield
    finally:
        with suppress(OSError):  # unlinked while it is held, so that a refused command leaves nothing behind
            path.unlink()
            folder.rmdir()
        lock.release()


def is_claimed(folder: Path) -> bool:
    """Whether a process holds the lock of the run folder ``folder``; false if that cannot be found out."""
    path = folder / NAME
    if not path.is_file():
        return False
    lock = FileLock(path)
    try:
        lock.acquire(timeout=0)
    except Timeout:
        return True
    except (OSError, NotImplementedError):
        return False
    lock.release()
    return False


def this_process() -> dict[str, str]:
    """Host, number and time of this process."""
    return {"host": socket.gethostname(), "process": str(os.getpid()), "since": time.strftime("%Y-%m-%dT%H:%M:%S%z")}


def holder(folder: Path) -> str:
    """The process that holds the lock, in words."""
    try:
        found = json.loads(read_text(folder / NAME, most=1000))
        return str(printable(f"process {found['process']} on {found['host']} since {found['since']}"))
    except (UserError, ValueError, KeyError, TypeError):
        return "another process"
