"""Sample grids, drawn from the same random numbers throughout training so that they show its progress."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import torch
from lightning import Callback, Trainer
from PIL import Image
from torch import Tensor

from genmodels import plots
from genmodels.core.abilities import Denoises, Encodes, HasDensity, HasLikelihood, Samples
from genmodels.core.processes import is_rank_zero
from genmodels.core.randomness import fixed_seed
from genmodels.errors import ensure_counts
from genmodels.hardware import require_memory
from genmodels.loggers import log_image
from genmodels.models.base import BaseModel

PIXELS, HALF_WIDTH, DRAWS = 128, 4.0, 16  # for pictures of densities on the plane


class SampleGrid(Callback):
    """Writes ``samples/<batch>.png`` at every validation, and sends it to the loggers that take images.

    For a model that encodes but cannot be sampled from, it shows reconstructions of validation examples.

    Args:
        folder: folder of the pictures.
        n: number of images in the grid.

    Raises:
        ValueError: if n is less than 1 or more than 10 000.
    """

    def __init__(self, folder: str | Path, n: int = 64) -> None:
        ensure_counts(1, 10_000, n=n)
        self.folder = Path(folder)
        self.n = n

    def on_fit_start(self, trainer: Trainer, pl_module: BaseModel) -> None:  # type: ignore[override]
        """Refuse, before training, more images than fit into memory.

        Raises:
            UserError: if they do not.
        """
        require_memory(plots.picture_bytes(self.n, pl_module.spec), f"callbacks.samples.n={self.n}")

    def on_validation_epoch_end(self, trainer: Trainer, pl_module: BaseModel) -> None:  # type: ignore[override]
        """Draw with the weights that are validated, in the first process."""
        if is_rank_zero():
            self.draw(trainer, pl_module, f"{pl_module.batches:07d}")

    def on_test_start(self, trainer: Trainer, pl_module: BaseModel) -> None:  # type: ignore[override]
        """Draw the pictures of the trained model, in the first process."""
        if is_rank_zero():
            self.draw(trainer, pl_module, "final")
            source = trainer.datamodule.source  # type: ignore[attr-defined]
            picture = density(pl_module, source.log_prob if isinstance(source, HasDensity) else None)
            if picture is not None:
                plots.save(picture, self.folder / "density.png")
                log_image(trainer, "density", picture)

    def draw(self, trainer: Trainer, model: BaseModel, name: str) -> None:
        """Save and log samples or reconstructions, and :func:`paths` if ``name`` is ``final``."""
        pictures: dict[str, tuple[str, Image.Image]] = {}  # file and image by title
        low = torch.autocast(model.device.type, torch.bfloat16, enabled=trainer.precision == "bf16-mixed")
        with fixed_seed(0, model.device), torch.no_grad(), low:
            if isinstance(model, Samples):
                pictures["samples"] = (name, plots.picture(model.sample(self.n), model.spec))
            elif isinstance(model, Encodes):
                x: Tensor = trainer.datamodule.split("val")[: self.n // 2].to(model.device)  # type: ignore[attr-defined]
                file = "reconstructions" if name == "final" else name
                pictures["reconstructions"] = (file, plots.pairs(x, model.decode(model.encode(x)), model.spec))
            if name == "final":
                ways = paths(model, n=8, frames=12)
                pictures |= {title: (title, plots.strip(path, model.spec)) for title, path in ways.items()}
        self.folder.mkdir(parents=True, exist_ok=True)
        for title, (file, image) in pictures.items():
            plots.save(image, self.folder / f"{file}.png")
            log_image(trainer, title, image)


@torch.no_grad()
def density(model: BaseModel, truth: Callable[[Tensor], Tensor] | None) -> Image.Image | None:
    """Picture of the model's density on the plane (a bound is tightened by 16 draws), next to the true one if known.

    ``None`` for data that are not points of the plane, and for models that need several network passes per example.

    Args:
        model: any model.
        truth: log-density ``[N]`` of the data, in nats, at points ``[N, 2]``; ``None`` if it is unknown.
    """
    if model.spec.shape != (2,) or model.spec.is_discrete or not isinstance(model, HasLikelihood):
        return None
    if model.passes_per_example > 1:
        return None
    line = (torch.arange(PIXELS, device=model.device) + 0.5) * (2 * HALF_WIDTH / PIXELS) - HALF_WIDTH
    grid = torch.cartesian_prod(line, line).flip(1)  # rows run along the second dimension
    with fixed_seed(0, model.device):
        found = torch.cat([model.log_likelihood(part, samples=DRAWS).nats for part in grid.split(1024)])
    panels = {} if truth is None else {"truth": truth(grid.cpu())}
    panels[type(model).__name__] = found
    return plots.densities({title: log_p.view(PIXELS, PIXELS) for title, log_p in panels.items()}, HALF_WIDTH)


@torch.no_grad()
def paths(model: BaseModel, n: int, frames: int) -> dict[str, Tensor]:
    """Paths through image space, each raw data ``[frames, n, *shape]``, by title; empty if the model has none.

    ``denoising`` leads from noise to samples; ``interpolation`` follows straight lines between codes of samples.
    """
    found = {}
    if isinstance(model, Denoises) and model.spec.is_image:
        found["denoising"] = model.denoising_strip(n, frames)
    if isinstance(model, Encodes) and isinstance(model, Samples) and model.spec.is_image:
        start, end = model.encode(model.sample(2 * n)).chunk(2)
        steps = torch.linspace(0, 1, frames).tolist()
        found["interpolation"] = torch.stack([model.decode(torch.lerp(start, end, step)) for step in steps])
    return found
