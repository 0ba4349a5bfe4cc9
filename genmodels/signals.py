"""Signals that ask the program to end: SIGINT (Ctrl-C), SIGTERM and SIGHUP."""

from __future__ import annotations

import signal
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType

SIGNALS = [getattr(signal, name) for name in ("SIGINT", "SIGTERM", "SIGHUP") if hasattr(signal, name)]


RETRY = 0.05  # seconds


class Interrupted(BaseException):
    """A signal asked the program to end. Not an ``Exception``, so that nothing takes it for an error and goes on.

    Attributes:
        name: name of the signal.
        exit_status: 128 plus its number, as shells have it.
        advice: how to go on, printed after it.
        everywhere: whether all processes of a run were interrupted at the same moment.
    """

    advice = ""
    everywhere = False

    def __init__(self, signum: int) -> None:
        super().__init__(signal.Signals(signum).name)
        self.name: str = self.args[0]
        self.exit_status = 128 + signum


class _Hold:
    """Whether interrupts are held back, and the one that waits."""

    held = False
    waiting: int | None = None


@contextmanager
def listening() -> Iterator[None]:
    """Context in which a signal raises :class:`Interrupted`: at once, or not while it is held back, see :func:`hold`.

    A signal that the process was started to ignore, as by ``nohup``, stays ignored. Only the main thread can listen;
    in others the context has no effect.
    """
    main = threading.current_thread() is threading.main_thread()
    heard = [signum for signum in SIGNALS if signal.getsignal(signum) is not signal.SIG_IGN] if main else []
    previous = {signum: signal.signal(signum, _handle) for signum in heard}
    try:
        yield
    finally:
        _Hold.held, _Hold.waiting = False, None
        for signum, handler in previous.items():
            signal.signal(signum, handler)


@contextmanager
def program() -> Iterator[None]:
    """Context of a whole program, which a signal ends with one line and the signal's exit status."""
    try:
        with listening():
            yield
    except Interrupted as interrupted:
        print(f"interrupted by {interrupted}{interrupted.advice}", file=sys.stderr)
        sys.exit(interrupted.exit_status)


def _handle(signum: int, frame: FrameType | None) -> None:
    if _is_importing(frame):  # modules that are half imported take the exception for a fault of theirs
        timer = threading.Timer(RETRY, signal.raise_signal, (signum,))
        timer.daemon = True
        timer.start()
    elif _Hold.held and _Hold.waiting is None:
        _Hold.waiting = signum
    else:  # a second signal does not wait
        raise Interrupted(signum)


def _is_importing(frame: FrameType | None) -> bool:
    while frame is not None:
        if frame.f_code.co_filename.startswith("<frozen importlib"):
            return True
        frame = frame.f_back
    return False


def hold() -> None:
    """Hold interrupts back until :func:`release`."""
    _Hold.held = True


def release() -> int | None:
    """Let interrupts through again; returns the signal that has come since :func:`hold`, if one has."""
    _Hold.held, waiting, _Hold.waiting = False, _Hold.waiting, None
    return waiting
