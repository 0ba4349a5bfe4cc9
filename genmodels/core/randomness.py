"""Streams of random numbers that are named by a few integers, so that anyone can open the same one again."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import torch

TRAINING, EVALUATION, SAMPLING = 1, 2, 3  # purposes


def seed_stream(*parts: int) -> None:
    """Seed torch from a few small integers (seed, rank, purpose, ...): streams of different names never overlap."""
    value = 0
    for part in parts:  # a fixed mixing into 63 bits (SplitMix64's constants)
        value = (value + part + 0x9E3779B97F4A7C15) & (2**64 - 1)
        value = ((value ^ (value >> 30)) * 0xBF58476D1CE4E5B9) & (2**64 - 1)
        value = ((value ^ (value >> 27)) * 0x94D049BB133111EB) & (2**64 - 1)
        value ^= value >> 31
    torch.manual_seed(value >> 1)


@contextmanager
def stream(*parts: int, device: torch.device) -> Iterator[None]:
    """Draw from the stream of this name inside, and leave the stream outside untouched."""
    with torch.random.fork_rng(devices=[device] if device.type == "cuda" else []):
        seed_stream(*parts)
        yield


@contextmanager
def fixed_randomness(seed: int, device: torch.device) -> Iterator[None]:
    """As :func:`stream`, from torch's own seeding."""
    with torch.random.fork_rng(devices=[device] if device.type == "cuda" else []):
        torch.manual_seed(seed)
        yield
