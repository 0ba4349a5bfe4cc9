"""The processor of the machine and what it computes fast, the memory that a run needs, and the peak that it reached."""

from __future__ import annotations

import ctypes
import os
import platform
import statistics
import time
from contextlib import suppress
from pathlib import Path
from typing import Any

import psutil
import torch
from torch.nn import functional as F

from genmodels.errors import require

STATUS, CLEAR_REFS = Path("/proc/self/status"), Path("/proc/self/clear_refs")  # on Linux
CGROUPS = Path("/sys/fs/cgroup")  # limits of containers on Linux, in two versions
CONTAINERS = (  # folder, and names of the limit, the usage, and the part of it that is copies of files
    (CGROUPS, "memory.max", "memory.current", "inactive_file"),
    (CGROUPS / "memory", "memory.limit_in_bytes", "memory.usage_in_bytes", "total_inactive_file"),
)
KIB, GIB = 1024, 1024**3
LIMITS = ("ONEDNN_MAX_CPU_ISA", "DNNL_MAX_CPU_ISA")  # environment variables that limit oneDNN's instructions
WITH_BF16 = ("DEFAULT", "ALL", "AVX512_CORE_BF16", "AVX512_CORE_FP16", "AVX512_CORE_AMX", "AVX10")  # beginnings
M_TRIM_THRESHOLD, M_MMAP_THRESHOLD = -1, -3  # of glibc's mallopt(3)
KEPT, MAPPED = 256 * KIB**2, 32 * KIB**2  # bytes; glibc accepts no larger threshold of mapping than 32 MiB


def cpu_name() -> str:
    """Name of the processor model."""
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
        return next(line.split(":", 1)[1].strip() for line in lines if line.startswith("model name"))
    except (OSError, StopIteration):
        return platform.processor() or platform.machine()


def device_for(accelerator: str) -> torch.device:
    """The kind of device that Lightning's ``accelerator`` means on this machine: ``auto`` is a GPU if there is one."""
    if accelerator in ("auto", "gpu", "cuda") and torch.cuda.is_available():
        return torch.device("cuda")
    if accelerator in ("auto", "gpu", "mps") and torch.backends.mps.is_available():
        return torch.device("mps")
    return torch.device("cpu")


def bf16_unit(device: torch.device) -> str | None:
    """What computes in bfloat16 on a device, by name; ``None`` if it emulates bfloat16 or is not known to compute it.

    On a CPU the products of matrices and the convolutions are oneDNN's, whose instructions an environment variable may
    limit. They are not asked of ``torch.ops.mkldnn._is_mkldnn_bf16_supported``, which is also true where AVX-512
    emulates them.
    """
    if device.type == "cuda":
        native = torch.cuda.is_bf16_supported(including_emulation=False)
        return torch.cuda.get_device_name(device) if native else None
    if device.type != "cpu" or not torch.backends.mkldnn.is_available():
        return None
    limit = next((os.environ[name].upper() for name in LIMITS if name in os.environ), "DEFAULT")
    found = capabilities()
    if found.get("architecture") in ("aarch64", "arm64"):
        return "Arm's BF16" if found.get("bf16") else None
    units = {"amx_bf16": "AMX", "avx512_bf16": "AVX512-BF16"}
    return next((name for key, name in units.items() if found.get(key) and limit.startswith(WITH_BF16)), None)


def capabilities() -> dict[str, Any]:
    """Instruction sets of the CPU, under PyTorch's names, by PyTorch's own means, which need no ``/proc``."""
    if hasattr(torch.cpu, "get_capabilities"):
        return dict(torch.cpu.get_capabilities())
    return {"avx512_bf16": torch.cpu._is_avx512_bf16_supported(), "amx_bf16": torch.cpu._is_amx_tile_supported()}


def bf16_factor(device: torch.device, rounds: int = 3) -> float:
    """Measured time of a small convolution with its gradients in bfloat16, divided by that in float32.

    It takes some milliseconds on a CPU and draws no random numbers. The ratio is of medians of runs that alternate.
    """
    x = torch.ones(8, 32, 14, 14, device=device, requires_grad=True)
    weight = torch.ones(32, 32, 3, 3, device=device, requires_grad=True)
    seconds: dict[bool, list[float]] = {False: [], True: []}
    for round_ in range(rounds + 1):
        for low, kept in seconds.items():
            start = time.perf_counter()
            with torch.autocast(device.type, torch.bfloat16, enabled=low):
                y = F.conv2d(x, weight, padding=1)
            torch.autograd.grad(y.float().sum(), (x, weight))[1].sum().item()
            if round_:  # the first is a warm-up
                kept.append(time.perf_counter() - start)
    return statistics.median(seconds[True]) / statistics.median(seconds[False])


def keep_freed_memory() -> bool:
    """Let the C library keep freed memory for the next tensors, up to 256 MiB, and tell whether it does; on glibc.

    A training step frees its tensors and allocates the same sizes again. By default glibc returns large blocks to the
    system in between, which maps and clears every page anew: 1100 of them in a step of a small U-Net on 8x8 images.
    """
    try:
        mallopt = ctypes.CDLL(None).mallopt
    except (AttributeError, OSError, TypeError):  # another C library
        return False
    return bool(mallopt(M_MMAP_THRESHOLD, MAPPED)) and bool(mallopt(M_TRIM_THRESHOLD, KEPT))


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


def available_memory() -> int:
    """Free memory in bytes: of the machine, or of the container if that has less.

    What a container uses includes copies of files, which the system drops when memory is needed.
    """
    free = [psutil.virtual_memory().available]
    for folder, limit, used, reclaimable in CONTAINERS:
        with suppress(OSError, ValueError, KeyError):  # another version, or "max" for no limit
            entries = dict(line.split() for line in (folder / "memory.stat").read_text().splitlines())
            held = int((folder / used).read_text()) - int(entries[reclaimable])
            free.append(int((folder / limit).read_text()) - held)
    return max(0, min(free))


def shortage(needed: int, what: str, available: int | None = None) -> str:
    """One sentence if ``what`` needs more bytes than there are; an empty string if they suffice.

    Args:
        needed: number of bytes, estimated before they are allocated.
        what: what needs them, such as ``"data.limit=1000"``.
        available: bytes at hand; by default :func:`available_memory`.
    """
    free = available_memory() if available is None else available
    place = "memory" if available is None else "disk space"
    if needed <= free:
        return ""
    return f"{what} needs {readable(needed)} of {place}, of which {readable(free)} are available; make it smaller."


def readable(size: int) -> str:
    """A number of bytes in GiB, with two significant digits.

    >>> readable(93 * GIB), readable(GIB // 8)
    ('93 GiB', '0.12 GiB')
    """
    gib = size / GIB
    return f"{gib:.2g} GiB" if gib < 100 else f"{gib:,.0f} GiB"


def require_memory(needed: int, what: str) -> None:
    """Check that ``needed`` bytes of memory are available for ``what``, before they are allocated.

    Raises:
        UserError: if they are not.
    """
    lacking = shortage(needed, what)
    require(not lacking, lacking)
