"""The one datamodule: a source, its splits, and their loaders."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from lightning import LightningDataModule
from torch import Tensor

from genmodels.core import DataSpec
from genmodels.data.loader import BatchLoader
from genmodels.data.root import data_root
from genmodels.data.sources.base import Source
from genmodels.data.split import hold_out
from genmodels.errors import UserError, nearest, require


@dataclass(frozen=True)
class Split:
    """Rows ``index`` of ``x [N, *shape]`` (``None``: all of them), and their labels ``[N]`` if any."""

    x: Tensor
    index: Tensor | None = None
    labels: Tensor | None = None

    def rows(self, values: Tensor, n: int | None = None) -> Tensor:
        """The split's first ``n`` rows of ``values``, all of them by default."""
        return values[:n] if self.index is None else values.index_select(0, self.index[:n])

    def first(self, n: int) -> Split:
        """The split that consists of the first ``n`` rows."""
        return Split(self.x, (torch.arange(len(self.x)) if self.index is None else self.index)[:n], self.labels)


class DataModule(LightningDataModule):
    """Splits of one data set, each read once and kept raw.

    Official test examples stay apart. Validation examples are the source's own where it has them, else carved from the
    training examples by ``seed``.

    Args:
        name: of the data set, as results call it.
        spec: shape and levels that the data must have.
        source: reads the data; see :mod:`genmodels.data.sources`.
        batch_size: training examples of one process in one batch.
        eval_batch_size: likewise for validation and test.
        val_size: what to carve for validation: a fraction if below 1, else a count.
        seed: decides the validation examples, the order of every epoch, and flips.
        flip: mirror training images at random; only where a mirrored image is as likely as the image.
        on_device: move the whole set to the accelerator once, and cut batches there.
        root: folder of data files, see :func:`genmodels.data.root.data_root`.
        limit: keep only so many examples of each split, to try things out; ``None`` keeps all.

    Raises:
        UserError: for a size or seed out of range, or ``flip`` on data that are not images.
    """

    def __init__(
        self,
        name: str,
        spec: DataSpec,
        source: Source,
        batch_size: int,
        eval_batch_size: int = 500,
        val_size: float = 0.1,
        seed: int = 0,
        flip: bool = False,
        on_device: bool = False,
        root: str | None = None,
        limit: int | None = None,
    ) -> None:
        super().__init__()
        for key, value in {"batch_size": batch_size, "eval_batch_size": eval_batch_size, "limit": limit or 1}.items():
            require(isinstance(value, int) and value > 0, f"data.{key} must be a positive integer, got {value!r}.")
        require(isinstance(seed, int) and seed >= 0, f"seed must be an integer of 0 or more, got {seed!r}.")
        require(spec.is_image or not flip, "data.flip=true mirrors images; this data set has none.")
        self.name = name
        self.spec = spec
        self.source = source
        self.batch_size = batch_size
        self.eval_batch_size = eval_batch_size
        self.val_size = val_size
        self.seed = seed
        self.flip = flip
        self.on_device = on_device
        self.root: Path = data_root(root)
        self.limit = limit
        self._splits: dict[str, Split] = {}
        self._moved: dict[tuple[int, torch.device], Tensor] = {}
        self._train_loader: BatchLoader | None = None
        self._position: dict[str, int] | None = None

    def prepare_data(self) -> None:
        """Download and decode in the first process of a machine, while the others wait to find it done."""
        self.setup()

    def setup(self, stage: str | None = None) -> None:
        """Read the data, once, and split them.

        Raises:
            UserError: if they are not what the spec says, or if the source cannot read them.
        """
        if self._splits:
            return
        data = self.source.load(self.root)
        for x in (data.train, data.test) if data.val is None else (data.train, data.test, data.val):
            self._check(x)
        kept, held = None, None
        if data.val is None:
            kept, held = hold_out(len(data.train), self.val_size, self.seed)
        self._splits = {
            "train": Split(data.train, kept, data.train_labels),
            "val": Split(data.train, held, data.train_labels) if data.val is None else Split(data.val),
            "test": Split(data.test, labels=data.test_labels),
        }
        if self.limit is not None:
            self._splits = {name: split.first(self.limit) for name, split in self._splits.items()}

    def train_dataloader(self) -> BatchLoader:
        """Shuffled and flipped; in the order of the data when Lightning overfits a few batches."""
        shuffle = self.trainer is None or not getattr(self.trainer, "overfit_batches", 0)
        self._train_loader = self._loader("train", self.batch_size, shuffle, drop_last=True, flip=self.flip)
        if self._position:
            self._train_loader.load_state_dict(self._position)
            self._position = None
        return self._train_loader

    def val_dataloader(self) -> BatchLoader:
        """Every validation example once, always in the same order."""
        return self._loader("val", self.eval_batch_size)

    def test_dataloader(self) -> BatchLoader:
        """Every test example once, always in the same order."""
        return self._loader("test", self.eval_batch_size)

    def state_dict(self) -> dict[str, int]:
        """Position of the training loader.

        Lightning keeps it too, but forgets it on resuming a checkpoint that was saved at the end of an epoch, and would
        then repeat the order of the first one.
        """
        return {} if self._train_loader is None else self._train_loader.state_dict()

    def load_state_dict(self, state: dict[str, int]) -> None:
        """Restore the position, at which the next training loader begins."""
        self._position = state

    def split(self, name: str) -> Tensor:
        """All of ``"train"``, ``"val"`` or ``"test"``, raw ``[N, *shape]``, on the CPU."""
        split = self._split(name)
        return split.rows(split.x)

    def train_and_val(self) -> Tensor:
        """All data for training, held out for validation or not, raw ``[N, *shape]``, where possible in source order.

        Real data that samples are compared with come from here, so that they do not depend on the seed of the split.
        """
        train, val = self._split("train"), self._split("val")
        if train.x is val.x and self.limit is None:
            return train.x
        return torch.cat([train.rows(train.x), val.rows(val.x)])

    def labels(self, name: str) -> Tensor | None:
        """Classes ``[N]`` of :meth:`split`, int64, if the data have them."""
        split = self._split(name)
        return None if split.labels is None else split.rows(split.labels)

    def first_train(self, n: int) -> Tensor:
        """The first ``n`` training examples (fewer if there are fewer): the same in every process and epoch."""
        split = self._split("train")
        return split.rows(split.x, n)

    def _split(self, name: str) -> Split:
        self.setup()
        if name not in self._splits:
            raise UserError(f"there is no split {name!r}; {nearest(name, self._splits)}")
        return self._splits[name]

    def _loader(self, name: str, batch_size: int, shuffle: bool = False, **options: bool) -> BatchLoader:
        split, trainer = self._split(name), self.trainer
        return BatchLoader(
            self._place(split.x),
            batch_size,
            index=None if split.index is None else self._place(split.index),
            shuffle=shuffle,
            seed=self.seed,
            rank=trainer.global_rank if trainer else 0,
            world=trainer.world_size if trainer else 1,
            in_flight=self._in_flight,
            **options,
        )

    def _place(self, x: Tensor) -> Tensor:
        """``x``, moved to the trainer's device if it is to live there; a tensor that splits share is moved once."""
        if not (self.on_device and self.trainer):
            return x
        device = self.trainer.strategy.root_device
        if (id(x), device) not in self._moved:
            self._moved[id(x), device] = x.to(device)
        return self._moved[id(x), device]

    def _in_flight(self) -> int:
        """Batches drawn for a training step that has not ended: one if an exception ends it, else none."""
        if self.trainer is None:
            return 0
        progress: Any = self.trainer.fit_loop.epoch_loop.batch_progress.current
        return int(progress.ready - progress.processed)

    def _check(self, x: Tensor) -> None:
        """Check the data against the spec; a uint8 tensor need not be read to know that it is below 256.

        Raises:
            UserError: naming the key of the spec.
        """
        try:
            self.spec.check(x if self.spec.levels not in (None, 256) else x[:1])
        except ValueError as error:
            raise UserError(f"data.spec.{error}") from error
