"""Streams of random numbers that are named by a few integers, so that anyone can open the same one again."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import numpy as np
import torch

TRAINING, EVALUATION, SAMPLING = 1, 2, 3  # purposes


def mixed_seed(*parts: int) -> int:
    """One seed of 64 bits from integers of at least 0, by NumPy's ``SeedSequence``.

    Zeros at the end change nothing: ``(1,)`` and ``(1, 0)`` give the same seed.
    """
    return int(np.random.SeedSequence(parts).generate_state(1, np.uint64)[0])


def seed_stream(*parts: int) -> None:
    """Seed torch from integers of at least 0 (seed, rank, purpose, ...), so mixed that no two names share a stream."""
    torch.manual_seed(mixed_seed(len(parts), *parts))  # the length tells (1,) from (1, 0)


@contextmanager
def stream(*parts: int, device: torch.device) -> Iterator[None]:
    """Draw from the stream of this name inside, and leave the stream outside untouched."""
    with torch.random.fork_rng(devices=[device] if device.type == "cuda" else []):
        seed_stream(*parts)
        yield


@contextmanager
def fixed_seed(seed: int, device: torch.device) -> Iterator[None]:
    """As :func:`stream`, from torch's own seeding."""
    with torch.random.fork_rng(devices=[device] if device.type == "cuda" else []):
        torch.manual_seed(seed)
        yield
