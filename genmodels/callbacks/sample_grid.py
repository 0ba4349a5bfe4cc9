"""Sample grids, drawn from the same random numbers throughout training so that they show its progress."""

from __future__ import annotations

import math
from pathlib import Path

import torch
from lightning import Callback, Trainer
from PIL import Image
from torch import Tensor

from genmodels import plots
from genmodels.callbacks.plane import PIXELS, Scene, of_model, on_the_plane
from genmodels.core import DataSpec
from genmodels.core.abilities import Denoises, Encodes, HasDensity, Samples
from genmodels.core.processes import is_rank_zero
from genmodels.core.randomness import fixed_seed
from genmodels.data import DataModule
from genmodels.errors import ensure_counts
from genmodels.hardware import require_memory
from genmodels.loggers import log_animation, log_image
from genmodels.models.base import BaseModel
from genmodels.models.base.model import in_bf16

FRAMES = 12  # of a path
ON_PATHS = 8  # samples at the end of paths


class SampleGrid(Callback):
    """Writes ``samples/<batch>.png`` at every validation, and sends it to the loggers that take images.

    The grid of a model that is given labels has a column for each, if there are no more of them than images.
    Beside the samples of a finished model of images it writes ``data.png``, a grid of as many test images.
    For a model that encodes but cannot be sampled from, it shows reconstructions of validation examples. Of a finished
    model of points on the plane it writes ``plane.png``, many samples and the density, on the axes and in the colors of
    ``plane_data.png``, the same of the data; ``plane.npz`` has the arrays of both.

    Args:
        folder: folder of the pictures.
        n: number of images in the grid, of rows of integers, or of points on the plane.
        points: number of points in ``plane.png``.
        pixels: number of pixels on a side of the density in ``plane.png``.

    Raises:
        ValueError: if n is less than 1 or more than 10 000, points is less than 1 or more than a million, or
            pixels is less than 3 or more than 1000.
    """

    def __init__(self, folder: str | Path, n: int = 64, points: int = 5000, pixels: int = PIXELS) -> None:
        ensure_counts(1, 10_000, n=n)
        ensure_counts(1, 1_000_000, points=points)
        ensure_counts(3, 1000, pixels=pixels)
        self.folder = Path(folder)
        self.n = n
        self.points = points
        self.pixels = pixels
        self._scene: Scene | None = None

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
            self.draw_data(trainer, pl_module)
            self.draw_plane(trainer, pl_module)

    def scene(self, data: DataModule) -> Scene | None:
        """What the pictures of ``data`` share if they are on the plane."""
        if self._scene is None and on_the_plane(data.spec):
            log_density = data.source.log_prob if isinstance(data.source, HasDensity) else None
            self._scene = Scene(data.train_and_val(), log_density, self.points, self.pixels)
        return self._scene

    def draw_plane(self, trainer: Trainer, model: BaseModel) -> None:
        """Save samples and density of a model on the plane, as pictures and as arrays, and log the picture."""
        scene = self.scene(trainer.datamodule)  # type: ignore[attr-defined]
        found = of_model(model, scene.window, self.points, self.pixels) if scene else None
        if scene is not None and found is not None:
            picture = scene.draw(found)
            plots.save(picture, self.folder / "plane.png")
            plots.save(scene.draw(scene.data), self.folder / "plane_data.png")
            scene.save_arrays(self.folder / "plane.npz", found)
            log_image(trainer, "plane", picture)

    def draw_data(self, trainer: Trainer, model: BaseModel) -> None:
        """Save images of the test split at the scale and in the columns of the grid of samples, if there is one."""
        if isinstance(model, Samples) and model.spec.is_image:
            data: DataModule = trainer.datamodule  # type: ignore[attr-defined]
            n, columns = grid_of_classes(self.n, model.spec)
            y = data.given_labels("test")
            x = data.split("test", n) if y is None else data.split("test")[examples_by_class(y, n, model.spec)]
            grid = plots.image_grid(x, model.spec, columns or math.ceil(math.sqrt(self.n)))
            plots.save(grid, self.folder / "data.png")

    def draw(self, trainer: Trainer, model: BaseModel, name: str) -> None:
        """Save and log samples or reconstructions, and :func:`paths` if ``name`` is ``final``, also as GIFs."""
        pictures: dict[str, tuple[str, Image.Image]] = {}  # file and image by title
        ways: dict[str, Tensor] = {}
        low = torch.autocast(model.device.type, torch.bfloat16, enabled=in_bf16(trainer))
        with fixed_seed(0, model.device), torch.no_grad(), low:
            if isinstance(model, Samples):
                n, columns = grid_of_classes(self.n, model.spec)
                with model.given(model.even_labels(n)):
                    x = model.sample(n)
                scene = self.scene(trainer.datamodule)  # type: ignore[attr-defined]
                pictures["samples"] = (name, scene.grid(x) if scene else plots.picture(x, model.spec, columns))
            elif isinstance(model, Encodes):
                x = trainer.datamodule.split("val")[: self.n // 2].to(model.device)  # type: ignore[attr-defined]
                file = "reconstructions" if name == "final" else name
                pictures["reconstructions"] = (file, plots.pairs(x, model.decode(model.encode(x)), model.spec))
            if name == "final":
                with model.given(model.even_labels(ON_PATHS)):
                    ways = paths(model, ON_PATHS, frames=FRAMES)
                pictures |= {title: (title, plots.strip(path, model.spec)) for title, path in ways.items()}
        self.folder.mkdir(parents=True, exist_ok=True)
        for title, (file, image) in pictures.items():
            plots.save(image, self.folder / f"{file}.png")
            log_image(trainer, title, image)
        for title, path in ways.items():
            plots.animation(path, model.spec, self.folder / f"{title}.gif")
            log_animation(trainer, title, self.folder / f"{title}.gif")


def grid_of_classes(n: int, spec: DataSpec) -> tuple[int, int | None]:
    """Number of images, at most ``n``, and of columns of a grid: one for each class; ``None`` for a square of all n.

    >>> grid_of_classes(64, DataSpec((2,), classes=10)), grid_of_classes(64, DataSpec((2,)))
    ((60, 10), (64, None))
    """
    if spec.classes is None or spec.classes > n:
        return n, None
    return n - n % spec.classes, spec.classes


def examples_by_class(y: Tensor, n: int, spec: DataSpec) -> Tensor:
    """Rows ``[n]`` of examples with labels 0 .. K - 1, 0, 1, ..., given those of all, ``y [N]``; the first of each.

    A class with too few examples is shown from its first again, and one with none by those of others.

    >>> examples_by_class(torch.tensor([1, 1, 0, 1]), 6, DataSpec((2,), classes=2))
    tensor([2, 0, 2, 1, 2, 3])
    """
    classes = spec.classes or 1
    rows = [torch.nonzero(y == k).flatten() for k in range(classes)]
    rows = [row if len(row) else torch.arange(len(y)) for row in rows]
    return torch.stack([rows[i % classes][i // classes % len(rows[i % classes])] for i in range(n)])


@torch.no_grad()
def paths(model: BaseModel, n: int, frames: int) -> dict[str, Tensor]:
    """Paths through image space, each raw data ``[frames, n, *shape]``, by title; empty if the model has none.

    ``denoising`` leads from noise to samples; ``interpolation`` follows straight lines between codes of samples. A
    model that takes labels is given those of the n.
    """
    found = {}
    if isinstance(model, Denoises) and model.spec.is_image:
        found["denoising"] = model.denoising_strip(n, frames)
    if isinstance(model, Encodes) and isinstance(model, Samples) and model.spec.is_image:
        start, end = model.encode(model.sample(2 * n)).chunk(2)
        steps = torch.linspace(0, 1, frames).tolist()
        found["interpolation"] = torch.stack([model.decode(torch.lerp(start, end, step)) for step in steps])
    return found
