"""The number of threads of a process: the cores are shared with the other processes of genmodels that compute.

Two trainings that both use all cores wait for one another at the end of every operation and take many times as long as
one after the other. Each process that trains or evaluates therefore holds a lock in a folder of its user, which the
operating system releases when it ends, and counts those of others when it begins. What starts several processes by
itself, as Lightning for ``trainer=ddp`` and joblib for a parallel sweep, divides the cores by ``OMP_NUM_THREADS``,
which always holds, as it does if a user sets it or calls ``torch.set_num_threads``. The number changes the order of
sums, and with it the last digits of results; a run that goes on, or is evaluated, therefore has the number that it
began with.

A process that began earlier keeps its threads. So that it does not suffer, nor do others, GNU's OpenMP is told to let
waiting threads sleep after a fraction of a millisecond of spinning instead of many (``GOMP_SPINCOUNT``, set before
torch is imported): with two threads on one free core a step of the VAE on digits takes 9 times as long as with one
thread, instead of 100 times. This does not change results.
"""

from __future__ import annotations

import getpass
import os
import stat
import tempfile
from contextlib import suppress
from functools import cache
from pathlib import Path

import torch
from filelock import FileLock, Timeout

MOST = torch.get_num_threads()  # PyTorch's own choice for this process: its cores, or OMP_NUM_THREADS
FAILURES = (OSError, NotImplementedError, KeyError, ImportError)  # of locks and user names, on unusual systems


def set_threads(recorded: int | None) -> str:
    """Set the number of threads of this process, and return a warning, or an empty string.

    Args:
        recorded: the number that the run began with; ``None`` for a run that begins.
    """
    number = torch.get_num_threads()
    if "OMP_NUM_THREADS" not in os.environ and number == MOST:  # else the user has chosen, or an earlier job of ours
        number = share(MOST, 1 + others(), recorded)
        torch.set_num_threads(number)
    if recorded in (None, number):
        return ""
    return f"the run began with {recorded} threads, and this is with {number}: the last digits of results may differ."


def share(most: int, processes: int, recorded: int | None) -> int:
    """The number of threads of one of several processes that share ``most`` cores, unless ``recorded`` is possible.

    >>> share(8, 2, None), share(2, 3, None), share(8, 2, 8), share(2, 1, 8)
    (4, 1, 8, 2)
    """
    return recorded if recorded is not None and recorded <= most else max(1, most // processes)


@cache
def others() -> int:
    """The number of other processes of genmodels that compute for this user on this machine.

    It is counted once, so that all jobs of a process have the same number of threads. From then on others count this
    process too.
    """
    with suppress(*FAILURES):
        own = locks() / f"{os.getpid()}.lock"
        held = sum(is_held(file) for file in locks().glob("*.lock") if file != own and file.stem.isdecimal())
        hold(own)
        return held
    return 0


def locks() -> Path:
    """The folder of the user's locks.

    Raises:
        OSError: if it cannot be, or if it is not this user's alone, or a link; in a folder for all, another may have
            made it.
    """
    folder = Path(tempfile.gettempdir()) / f"genmodels-{getpass.getuser()}"
    folder.mkdir(mode=0o700, exist_ok=True)
    found = folder.lstat()
    if stat.S_ISDIR(found.st_mode) and (os.name == "nt" or (found.st_uid, found.st_mode & 0o77) == (os.getuid(), 0)):
        return folder
    raise PermissionError(f"{folder} is not this user's alone")


@cache
def hold(file: Path) -> FileLock:
    """Hold the lock ``file`` to the end of the process, if no other does; ``is_locked`` tells."""
    lock = FileLock(file)
    with suppress(Timeout):
        lock.acquire(timeout=0)
    return lock


def is_held(file: Path) -> bool:
    """Whether a process holds the lock ``file``, which is removed if its process has ended."""
    lock = FileLock(file)
    try:
        lock.acquire(timeout=0)
    except Timeout:
        return True
    file.unlink(missing_ok=True)
    lock.release()
    return False
