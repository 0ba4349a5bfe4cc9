"""Samples and completions drawn from the model of a run.

This module does not import torch before a function is called.
"""

from __future__ import annotations

import io
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from omegaconf import DictConfig

from genmodels.actions import is_whole, overridden
from genmodels.errors import UserError, require

if TYPE_CHECKING:
    from PIL import Image
    from torch import Tensor

    from genmodels.metrics import SampleSets
    from genmodels.models.base import BaseModel

CANDIDATES_AT_ONCE = 512  # of completions, in one call of the model
Record = dict[str, Any]
MOST = 10**15  # samples in one call; more must be a mistake


@dataclass(frozen=True)
class Drawn:
    """Samples of a model. A notebook shows them as a picture.

    Attributes:
        x: the samples, raw data ``[n, *shape]``: uint8 for integers, float32 for reals.
        model: the model, in eval mode, with the weights that they were drawn with.
        sets: how they were drawn; writes the archives that ``evaluate(samples=...)`` takes.
    """

    x: Tensor
    model: BaseModel = field(repr=False)
    sets: SampleSets = field(repr=False)

    @property
    def protocol(self) -> dict[str, Any]:
        """The conditions under which they were drawn, and the speed."""
        return self.sets.protocol(len(self.x))

    @property
    def picture(self) -> Image.Image:
        """A grid of images, rows of integers, or a scatter plot."""
        from genmodels import plots
        from genmodels.hardware import require_memory

        require_memory(plots.picture_bytes(len(self.x), self.model.spec), f"a picture of n={len(self.x)} samples")
        return plots.picture(self.x, self.model.spec)

    def _repr_png_(self) -> bytes:
        file = io.BytesIO()
        self.picture.save(file, "png")
        return file.getvalue()


def draw(place: Path, n: int, overrides: list[str], label: int | None = None) -> Drawn:
    """Draw ``n`` samples from the model of a run, see :func:`genmodels.sample`."""
    require(is_whole(n) and 0 < n < MOST, f"n must be a positive integer, got {n!r}.")
    require(label is None or is_whole(label), f"label must be an integer, got {label!r}.")
    n, label = int(n), None if label is None else int(label)

    from genmodels.core.abilities import Samples
    from genmodels.metrics import SampleSets
    from genmodels.runs import choose

    model, config, record = restored(place, overrides)
    if not isinstance(model, Samples):
        raise UserError(f"{type(model).__name__} cannot be sampled from.")
    sets = SampleSets(model, config.seed, bf16=choose(config, model, model.device, record).bf16, label=label)
    return Drawn(sets.get(n), model, sets)


@dataclass(frozen=True)
class Completed:
    """Completions of given examples.

    Attributes:
        x: the completions, raw data ``[N n, *shape]``, those of one example one after another.
        given: the N examples, raw data ``[N, *shape]``.
        known: ``[N, *shape]``, true for what was known of them.
        model: the model.
    """

    x: Tensor
    given: Tensor
    known: Tensor
    model: BaseModel

    @property
    def picture(self) -> Image.Image:
        """A row for each example, which begins with what is known of it."""
        from genmodels import plots

        return plots.completions(self.given, self.known, self.x, self.model.spec)


def draw_completions(
    place: Path, given: Path, mask: Path, n: int, candidates: int, overrides: list[str], label: int | None = None
) -> Completed:
    """Draw ``n`` completions of each example in the file ``given`` where that of the ``mask`` leaves it unknown.

    A model of labels needs the one of the examples.

    Raises:
        UserError: for bad input, or a model that cannot complete examples.
    """
    model, config, _ = restored(place, overrides)

    import torch

    from genmodels import plots
    from genmodels.core.abilities import Completes
    from genmodels.core.randomness import SAMPLING, stream
    from genmodels.given import read_given, read_mask
    from genmodels.hardware import require_memory
    from genmodels.metrics.sample_sets import check_label

    if not isinstance(model, Completes):
        raise UserError(f"{type(model).__name__} cannot complete examples; a diffusion model, RBM or EBM can.")
    check_label(label, model)
    require(label is not None or model.spec.classes is None, "name the label of the examples: label=...")
    x = read_given(given, model.spec)
    known = read_mask(mask, model.spec, len(x))
    require_memory(plots.picture_bytes(len(x) * (n + 1), model.spec), f"{n} completions of {len(x)} examples")
    rows, fixed = (part.repeat_interleave(n, 0).to(model.device) for part in (x, known))
    at_once = max(1, CANDIDATES_AT_ONCE // candidates)
    y = None if label is None else torch.tensor([label])
    with stream(config.seed, SAMPLING, device=model.device), torch.no_grad(), model.given(y):
        parts = zip(rows.split(at_once), fixed.split(at_once), strict=True)
        found = [model.complete(part, where, candidates).cpu() for part, where in parts]
    return Completed(torch.cat(found), x, known, model)


def restored(place: Path, overrides: list[str]) -> tuple[BaseModel, DictConfig, Record]:
    """The model of a run on the device it draws with, the config with overrides, and the run's record."""
    import torch

    from genmodels.runs import RunFolder, restore
    from genmodels.runs.threads import set_threads

    run = RunFolder.open(place)
    config = overridden(run.config, overrides, trains=False)
    model = restore(run, config, config.weights)
    model.to("cuda" if torch.cuda.is_available() else "cpu")
    record = run.read()
    set_threads(record.get("hardware", {}).get("threads"))
    return model, config, record
