"""One GPU for each of several processes that share a machine, as the jobs of a parallel sweep do.

Each process holds a lock for the GPU that it has taken, which the operating system releases when it ends. The others
are hidden from it by ``CUDA_VISIBLE_DEVICES``, which CUDA reads when it is first used.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from contextlib import suppress
from functools import cache

import torch

from genmodels.runs.threads import FAILURES, hold, locks

VISIBLE = "CUDA_VISIBLE_DEVICES"


@cache
def take_gpu(count: Callable[[], int] = torch.cuda.device_count) -> str | None:
    """Take one of the visible GPUs for the rest of the process, and hide the others; returns its name.

    It does nothing where there are fewer than two, or if all are taken: then the process has all, and uses the first.
    """
    names = visible(count)
    if len(names) < 2:
        return None
    with suppress(*FAILURES):
        free = (name for name in names if hold(locks() / f"gpu-{name}.lock").is_locked)
        if name := next(free, None):
            os.environ[VISIBLE] = name
            return name
    return None


def visible(count: Callable[[], int]) -> list[str]:
    """Names of the GPUs that this process may use, as ``CUDA_VISIBLE_DEVICES`` has them."""
    given = os.environ.get(VISIBLE)
    return [name for name in given.split(",") if name] if given is not None else [str(i) for i in range(count())]
