"""Random numbers that differ between processes, and are the same in a resumed as in an uninterrupted run."""

from __future__ import annotations

from typing import Any

import torch
from lightning import Callback, LightningModule, Trainer

from genmodels.core.randomness import EVALUATION, TRAINING, seed_stream


class Randomness(Callback):
    """Seeds one stream per process for training and one for the test, and stores its state in the checkpoint.

    Args:
        seed: the run's seed.
    """

    def __init__(self, seed: int) -> None:
        self.seed = seed
        self._restored: dict[str, Any] = {}

    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Seed the training stream, or restore its state from a checkpoint."""
        seed_stream(self.seed, trainer.global_rank, TRAINING)
        if self._restored:
            torch.set_rng_state(self._restored["cpu"])
            if self._restored["cuda"] and torch.cuda.is_available():
                torch.cuda.set_rng_state_all(self._restored["cuda"])

    def on_test_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Seed the test stream, which makes the test independent of the training before it."""
        seed_stream(self.seed, trainer.global_rank, EVALUATION)

    def state_dict(self) -> dict[str, Any]:
        """The state of torch's generators, for the checkpoint."""
        cuda = torch.cuda.get_rng_state_all() if torch.cuda.is_available() else []
        return {"cpu": torch.get_rng_state(), "cuda": cuda}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Keep the state until training starts."""
        self._restored = state_dict
