"""Pictures of samples: from the same latents all through training, so that one sees them change."""

from __future__ import annotations

from pathlib import Path

import torch
from lightning import Callback, Trainer
from torch import Tensor

from genmodels import plots
from genmodels.core.randomness import fixed_randomness
from genmodels.models.base import Denoises, Encodes, Laboratory, Samples


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
        """Samples, and of the finished model what else there is to see of them, on disk and in the loggers."""
        pictures = {}
        with fixed_randomness(0, model.device), torch.no_grad():
            if isinstance(model, Samples):
                pictures["samples"] = plots.picture(model.sample(self.n), model.spec)
            if name == "final":
                ways = paths(model, n=8, frames=12)
                pictures |= {title: plots.strip(path, model.spec) for title, path in ways.items()}
        self.folder.mkdir(parents=True, exist_ok=True)
        for title, image in pictures.items():
            image.save(self.folder / (f"{name}.png" if title == "samples" else f"{title}.png"))
            model.log_image(title, image)


@torch.no_grad()
def paths(model: Laboratory, n: int, frames: int) -> dict[str, Tensor]:
    """Ways through the space of images that a model knows, each raw data ``[frames, n, *shape]``, by their titles.

    ``denoising`` leads from noise to samples; ``interpolation`` along straight lines between the codes of two samples.
    """
    found = {}
    if isinstance(model, Denoises) and model.spec.is_image:
        found["denoising"] = model.denoising_strip(n, frames)
    if isinstance(model, Encodes) and isinstance(model, Samples) and model.spec.is_image:
        start, end = model.encode(model.sample(2 * n)).chunk(2)
        steps = torch.linspace(0, 1, frames).tolist()
        found["interpolation"] = torch.stack([model.decode(torch.lerp(start, end, step)) for step in steps])
    return found
