"""The machine: its processor, and the memory that a run has taken."""

from __future__ import annotations

import platform
from contextlib import suppress
from pathlib import Path

import psutil
import torch

STATUS, CLEAR_REFS = Path("/proc/self/status"), Path("/proc/self/clear_refs")  # of Linux
KIB = 1024


def cpu_name() -> str:
    """Model of the processor."""
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
        return next(line.split(":", 1)[1].strip() for line in lines if line.startswith("model name"))
    except (OSError, StopIteration):
        return platform.processor() or platform.machine()


def forget_peak_memory() -> None:
    """Reset the peak, since the jobs of a sweep share a process; possible on Linux and on GPUs."""
    if torch.cuda.is_initialized():
        torch.cuda.reset_peak_memory_stats()
    with suppress(OSError):
        CLEAR_REFS.write_text("5")  # sets VmHWM to what is held now


def peak_memory(device: torch.device) -> int:
    """Largest number of bytes held at a time: on the GPU if training was there, else in this process's memory.

    On a GPU and on Linux it is the peak since :func:`forget_peak_memory`; on Windows the peak since the process began,
    which in a sweep includes earlier jobs; on macOS, where psutil knows no peak, what is held at the time of the call.
    """
    if device.type == "cuda":
        return torch.cuda.max_memory_allocated(device)
    with suppress(OSError, StopIteration):
        lines = STATUS.read_text().splitlines()
        return int(next(line.split()[1] for line in lines if line.startswith("VmHWM:"))) * KIB
    held = psutil.Process().memory_info()
    return int(getattr(held, "peak_wset", held.rss))
