"""Streams of random numbers that are named by a few integers, so that anyone can open the same one again."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import numpy as np
import torch

TRAINING, EVALUATION, SAMPLING = 1, 2, 3  # purposes


def seed_stream(*parts: int) -> None:
    """Seed torch from integers of at least 0 (seed, rank, purpose, ...), so mixed that no two names share a stream."""
    named = np.random.SeedSequence([len(parts), *parts])  # (1,) and (1, 0) would be one name without the length
    torch.manual_seed(int(named.generate_state(1, np.uint64)[0]))


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
