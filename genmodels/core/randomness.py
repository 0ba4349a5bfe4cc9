"""Reproducible streams of random numbers, each identified by a few integers."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import numpy as np
import torch
from torch import Tensor

LARGEST_SEED = 2**32 - 1  # the largest that NumPy takes
TRAINING, EVALUATION, SAMPLING = 1, 2, 3  # purposes


def mixed_seed(*parts: int) -> int:
    """A 64-bit seed mixed from nonnegative integers by NumPy's ``SeedSequence``.

    Trailing zeros change nothing: ``(1,)`` and ``(1, 0)`` give the same seed.
    """
    return int(np.random.SeedSequence(parts).generate_state(1, np.uint64)[0])


def seed_stream(*parts: int) -> None:
    """Seed torch by nonnegative integers (seed, rank, purpose, ...); different tuples give different streams."""
    torch.manual_seed(mixed_seed(len(parts), *parts))  # the length distinguishes (1,) from (1, 0)


@contextmanager
def stream(*parts: int, device: torch.device) -> Iterator[None]:
    """Context that draws from the stream of ``parts`` and restores torch's generators afterward."""
    with torch.random.fork_rng(devices=[device] if device.type == "cuda" else []):
        seed_stream(*parts)
        yield


@contextmanager
def fixed_seed(seed: int, device: torch.device) -> Iterator[None]:
    """Like :func:`stream`, seeded by ``torch.manual_seed(seed)``."""
    with torch.random.fork_rng(devices=[device] if device.type == "cuda" else []):
        torch.manual_seed(seed)
        yield


def stratified_uniform(n: int, device: torch.device) -> Tensor:
    """Numbers ``[n]``, each uniform on [0, 1), that together fill it evenly: an even grid with one random shift.

    The mean of a function over them varies far less than over independent ones (Kingma et al. 2021, appendix I.1,
    arXiv:2107.00630).
    """
    return (torch.arange(n, device=device) / n + torch.rand(1, device=device)) % 1.0
