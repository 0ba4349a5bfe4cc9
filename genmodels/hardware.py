"""The processor of the machine, and the peak memory of a run."""

from __future__ import annotations

import platform
from contextlib import suppress
from pathlib import Path

import psutil
import torch

STATUS, CLEAR_REFS = Path("/proc/self/status"), Path("/proc/self/clear_refs")  # on Linux
KIB = 1024


def cpu_name() -> str:
    """Name of the processor model."""
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
        return next(line.split(":", 1)[1].strip() for line in lines if line.startswith("model name"))
    except (OSError, StopIteration):
        return platform.processor() or platform.machine()


def forget_peak_memory() -> None:
    """Reset the peak memory, since the jobs of a sweep share a process; possible on Linux and on GPUs."""
    if torch.cuda.is_initialized():
        torch.cuda.reset_peak_memory_stats()
    with suppress(OSError):
        CLEAR_REFS.write_text("5")  # sets VmHWM to the current usage


def peak_memory(device: torch.device) -> int:
    """Peak memory in bytes: on the GPU if ``device`` is one, else of this process.

    On a GPU and on Linux it is the peak since :func:`forget_peak_memory`; on Windows it is the peak since the process
    began, which in a sweep includes earlier jobs; on macOS, where psutil has no peak, it is the current usage.
    """
    if device.type == "cuda":
        return torch.cuda.max_memory_allocated(device)
    with suppress(OSError, StopIteration):
        lines = STATUS.read_text().splitlines()
        return int(next(line.split()[1] for line in lines if line.startswith("VmHWM:"))) * KIB
    held = psutil.Process().memory_info()
    return int(getattr(held, "peak_wset", held.rss))
