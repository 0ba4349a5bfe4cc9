"""Random numbers that differ between processes, and that a resumed run draws exactly as an uninterrupted one."""

from __future__ import annotations

from typing import Any

import torch
from lightning import Callback, LightningModule, Trainer

from genmodels.core.randomness import EVALUATION, TRAINING, seed_stream


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
        seed_stream(self.seed, trainer.global_rank, TRAINING)
        if self._restored:
            torch.set_rng_state(self._restored["cpu"])
            if self._restored["cuda"] and torch.cuda.is_available():
                torch.cuda.set_rng_state_all(self._restored["cuda"])

    def on_test_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """The same draws whether the test follows training or comes a week later."""
        seed_stream(self.seed, trainer.global_rank, EVALUATION)

    def state_dict(self) -> dict[str, Any]:
        """State of torch's generators."""
        cuda = torch.cuda.get_rng_state_all() if torch.cuda.is_available() else []
        return {"cpu": torch.get_rng_state(), "cuda": cuda}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Keep for the start of training."""
        self._restored = state_dict
