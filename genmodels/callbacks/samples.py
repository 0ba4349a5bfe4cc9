"""Pictures of samples: from the same latents all through training, so that one sees them change."""

from __future__ import annotations

from pathlib import Path

import torch
from lightning import Callback, Trainer

from genmodels import plots
from genmodels.core.randomness import fixed_randomness
from genmodels.models.base import Denoises, Laboratory, Samples


class SampleGrid(Callback):
    """Writes ``samples/<batch>.png`` at every validation and hands it to the loggers that show images.

    Args:
        folder: where the pictures go.
        n: images in the grid.
    """

    def __init__(self, folder: str | Path, n: int = 64) -> None:
        self.folder = Path(folder)
        self.n = n

    def on_validation_epoch_end(self, trainer: Trainer, pl_module: Laboratory) -> None:  # type: ignore[override]
        """Draw with the weights that validation sees."""
        if trainer.is_global_zero and isinstance(pl_module, Samples):
            self.draw(pl_module, f"{pl_module.batches:07d}")

    def on_test_start(self, trainer: Trainer, pl_module: Laboratory) -> None:  # type: ignore[override]
        """The picture of the finished model."""
        if trainer.is_global_zero and isinstance(pl_module, Samples):
            self.draw(pl_module, "final")

    def draw(self, model: Laboratory, name: str) -> None:
        """Samples, and for models that denoise the way there, on disk and in the loggers."""
        pictures = {}
        with fixed_randomness(0, model.device), torch.no_grad():
            if isinstance(model, Samples):
                pictures["samples"] = plots.picture(model.sample(self.n), model.spec)
            if isinstance(model, Denoises) and model.spec.is_image and name == "final":
                strip = model.denoising_strip(8, 12)
                pictures["denoising"] = plots.image_grid(strip.transpose(0, 1).flatten(0, 1), model.spec, columns=12)
        self.folder.mkdir(parents=True, exist_ok=True)
        for title, image in pictures.items():
            image.save(self.folder / (f"{name}.png" if title == "samples" else f"{title}.png"))
            model.log_image(title, image)
