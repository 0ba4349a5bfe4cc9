"""Random numbers that differ between processes, and that a resumed run draws exactly as an uninterrupted one."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch
from lightning import Callback, LightningModule, Trainer


def seed_process(seed: int, rank: int, purpose: int) -> None:
    """Seed torch from (seed, rank, purpose): streams that never overlap between processes or between purposes."""
    value = 0
    for part in (seed, rank, purpose):  # a fixed mixing of three small integers into 63 bits (SplitMix64's constants)
        value = (value + part + 0x9E3779B97F4A7C15) & (2**64 - 1)
        value = ((value ^ (value >> 30)) * 0xBF58476D1CE4E5B9) & (2**64 - 1)
        value = ((value ^ (value >> 27)) * 0x94D049BB133111EB) & (2**64 - 1)
        value ^= value >> 31
    torch.manual_seed(value >> 1)


TRAINING, EVALUATION = 1, 2


@contextmanager
def fixed_randomness(seed: int, device: torch.device) -> Iterator[None]:
    """Draw from a fixed seed inside, and leave the stream outside untouched."""
    devices = [device] if device.type == "cuda" else []
    with torch.random.fork_rng(devices=devices):
        torch.manual_seed(seed)
        yield


class Randomness(Callback):
    """Seeds each process its own stream for training and for the test, and keeps the stream in the checkpoint.

    Args:
        seed: the run's seed.
    """

    def __init__(self, seed: int) -> None:
        self.seed = seed
        self._restored: dict[str, Any] = {}

    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """A fresh stream, or the checkpoint's."""
        seed_process(self.seed, trainer.global_rank, TRAINING)
        if self._restored:
            torch.set_rng_state(self._restored["cpu"])
            if self._restored["cuda"] and torch.cuda.is_available():
                torch.cuda.set_rng_state_all(self._restored["cuda"])

    def on_test_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """The same draws whether the test follows training or comes a week later."""
        seed_process(self.seed, trainer.global_rank, EVALUATION)

    def state_dict(self) -> dict[str, Any]:
        """State of torch's generators."""
        cuda = torch.cuda.get_rng_state_all() if torch.cuda.is_available() else []
        return {"cpu": torch.get_rng_state(), "cuda": cuda}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Keep for the start of training."""
        self._restored = state_dict
