"""Random numbers that differ between processes, and are the same in a resumed as in an uninterrupted run."""

from __future__ import annotations

from typing import Any

import torch
from lightning import Callback, LightningModule, Trainer

from genmodels.console import tell
from genmodels.core.processes import gather
from genmodels.core.randomness import EVALUATION, TRAINING, seed_stream


class Randomness(Callback):
    """Seeds one stream per process for training and one for the test, and stores its state in the checkpoint.

    Args:
        seed: the run's seed.
    """

    def __init__(self, seed: int) -> None:
        self.seed = seed
        self._restored: list[dict[str, torch.Tensor]] = []

    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Seed the training stream, or restore its state from a checkpoint."""
        seed_stream(self.seed, trainer.global_rank, TRAINING)
        states, rank = self._restored, trainer.global_rank
        if states and len(states) != trainer.world_size:
            seed_stream(self.seed, rank, TRAINING, trainer.fit_loop.total_batch_idx)
            if rank == 0:
                tell(
                    f"trained by {len(states)} processes so far and by {trainer.world_size} from here on: "
                    "the random numbers, and with them the result, differ from those of an uninterrupted run."
                )
        elif states:
            torch.set_rng_state(states[rank]["cpu"])
            if "cuda" in states[rank] and torch.cuda.is_available():
                torch.cuda.set_rng_state(states[rank]["cuda"])

    def on_test_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Seed the test stream, which makes the test independent of the training before it."""
        seed_stream(self.seed, trainer.global_rank, EVALUATION)

    def state_dict(self) -> dict[str, Any]:
        """The states of torch's generators in every process, for the checkpoint."""
        cuda = {"cuda": torch.cuda.get_rng_state()} if torch.cuda.is_available() else {}
        return {"states": gather({"cpu": torch.get_rng_state()} | cuda)}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Keep the state until training starts."""
        self._restored = state_dict["states"]
