"""The data module: a source, its splits, and their loaders."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import torch
from lightning import LightningDataModule
from torch import Tensor

from genmodels.classes import classes_given
from genmodels.core import DataSpec
from genmodels.core.randomness import LARGEST_SEED
from genmodels.data.loader import BatchLoader
from genmodels.data.root import data_root
from genmodels.data.sources.base import MOST, Arrays, Source
from genmodels.data.sources.published import is_plain
from genmodels.data.split import ensure_size, hold_out
from genmodels.errors import UserError, ensure, ensure_counts, nearest, require


@dataclass(frozen=True)
class Split:
    """Rows ``index`` of ``x [N, *shape]``, or all if it is ``None``; ``labels [N]`` are those of x, if it has any."""

    x: Tensor
    index: Tensor | None = None
    labels: Tensor | None = None

    def rows(self, values: Tensor, n: int | None = None) -> Tensor:
        """The first ``n`` rows of the split, or all of them, of ``values [N, ...]``."""
        return values[:n] if self.index is None else values.index_select(0, self.index[:n])

    def first(self, n: int) -> Split:
        """The split that consists of the first ``n`` rows."""
        return Split(self.x, (torch.arange(len(self.x)) if self.index is None else self.index)[:n], self.labels)


class DataModule(LightningDataModule):
    """The splits of one data set, read once and kept as raw data.

    The source separates test from training examples. Validation examples are those of the source if it has any;
    otherwise they are chosen from the training examples by ``seed``.

    Args:
        name: name of the data set in results, and in names of files.
        spec: shape and levels that the data must have.
        source: reads the data; see :mod:`genmodels.data.sources`.
        batch_size: number of training examples per batch and process.
        eval_batch_size: number of validation or test examples per batch and process.
        val_size: size of the validation split taken from the training examples: a fraction if below 1, else a count.
        seed: determines the validation split, the order of every epoch, and flips.
        flip: mirror training images at random, for data whose mirror images are equally likely.
        on_device: move the whole data set to the accelerator once, and index batches there.
        root: folder of data files, see :func:`genmodels.data.root.data_root`.
        limit: largest number of examples in each split, for quick trials; ``None`` keeps all.
        labels: give every example with its label to the model, as one of ``spec.classes``.
        classes: number of classes that the data have, if they have any; used with ``labels`` alone.

    Raises:
        ValueError: if a size or the seed is out of range, ``name`` cannot be part of a file's name, ``flip`` is set for
            data that are not images, or ``labels`` for data without classes.
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
        labels: bool = False,
        classes: int | None = None,
    ) -> None:
        super().__init__()
        ensure_counts(batch_size=batch_size, eval_batch_size=eval_batch_size)
        ensure_counts(1, MOST, optional=True, limit=limit)
        ensure_counts(0, LARGEST_SEED, seed=seed)
        ensure_size(val_size=val_size)
        ensure(is_plain(name), f"name must be plain text that can be part of a file's name, got {name!r}.")
        ensure(spec.is_image or not flip, "flip=true mirrors images; this data set has none.")
        ensure(
            not labels or classes is not None,
            f"labels=true needs data with classes, and {name} has none; if its source reads labels, set data.classes.",
        )
        ensure(
            spec.classes == classes_given(labels, classes),
            f"labels={str(labels).lower()} does not fit spec.classes={spec.classes}; leave out data.spec.classes.",
        )
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
        self.gives_labels = labels
        self._arrays: Arrays | None = None
        self._splits: dict[str, Split] = {}
        self._moved: dict[tuple[int, torch.device], Tensor] = {}
        self._train_loader: BatchLoader | None = None
        self._position: dict[str, int] | None = None

    def prepare_data(self) -> None:
        """Download and decode the data in the first process of each node, while the others wait."""
        self.setup()

    def setup(self, stage: str | None = None) -> None:
        """Read the data once, and split them.

        Raises:
            UserError: if the data do not match the spec, or the source cannot read them.
        """
        if self._splits:
            return
        data = self.source.load(self.root)
        for x in (data.train, data.test) if data.val is None else (data.train, data.test, data.val):
            self._check(x)
        kept, held = None, None
        if data.val is None:
            kept, held = hold_out(len(data.train), self.val_size, self.seed, "data.val_size")
        self._arrays = data
        self._splits = {
            "train": Split(data.train, kept, data.train_labels),
            "val": Split(data.train, held, data.train_labels) if data.val is None else Split(data.val),
            "test": Split(data.test, labels=data.test_labels),
        }
        if self.gives_labels:
            self._check_labels()
        if self.limit is not None:
            self._splits = {name: split.first(self.limit) for name, split in self._splits.items()}

    def train_dataloader(self) -> BatchLoader:
        """Loader of the training split, shuffled every epoch; in a fixed order for Lightning's ``overfit_batches``."""
        shuffle = self.trainer is None or not getattr(self.trainer, "overfit_batches", 0)
        self._train_loader = self._loader("train", self.batch_size, shuffle, drop_last=True, flip=self.flip)
        if self._position:
            self._train_loader.load_state_dict(self._position)
            self._position = None
        return self._train_loader

    def val_dataloader(self) -> BatchLoader:
        """Loader of the validation split: every example once, in a fixed order."""
        return self._loader("val", self.eval_batch_size)

    def test_dataloader(self) -> BatchLoader:
        """Loader of the test split: every example once, in a fixed order."""
        return self._loader("test", self.eval_batch_size)

    def state_dict(self) -> dict[str, int]:
        """Position of the training loader.

        Lightning saves it too, but ignores it when resuming from a checkpoint saved at the end of an epoch, and would
        then repeat the order of the first epoch.
        """
        return {} if self._train_loader is None else self._train_loader.state_dict()

    def load_state_dict(self, state: dict[str, int]) -> None:
        """Restore the position at which the next training loader starts."""
        self._position = state

    def split(self, name: str, n: int | None = None) -> Tensor:
        """Raw data ``[N, *shape]`` of ``"train"``, ``"val"`` or ``"test"``, on the CPU: all, or the first ``n``.

        Raises:
            UserError: if there is no split of this name.
        """
        split = self._split(name)
        return split.rows(split.x, n)

    def train_and_val(self) -> Tensor:
        """Training and validation examples together, raw ``[N, *shape]``, in the order of the source if possible.

        Samples are compared with these data, so that the comparison does not depend on the seed of the split.
        """
        train, val = self._split("train"), self._split("val")
        if train.x is val.x and self.limit is None:
            return train.x
        return torch.cat([train.rows(train.x), val.rows(val.x)])

    @cached_property
    def sha256(self) -> str:
        """Hash of the content of the source, whatever the split and the limit: whether data are the same data."""
        self.setup()
        assert self._arrays is not None
        return self._arrays.sha256()

    def labels(self, name: str) -> Tensor | None:
        """Classes ``[N]`` of the examples of :meth:`split`, int64; ``None`` for data without classes."""
        split = self._split(name)
        return None if split.labels is None else split.rows(split.labels)

    def given_labels(self, name: str, n: int | None = None) -> Tensor | None:
        """Labels ``[N]`` of the examples of ``split(name, n)`` that a model is given; ``None`` if it is given none."""
        found = self.labels(name) if self.gives_labels else None
        return None if found is None else found[:n]

    def first_train(self, n: int) -> Tensor:
        """The first ``n`` training examples ``[n, *shape]``, or all if there are fewer, in every process the same."""
        return self.split("train", n)

    def _split(self, name: str) -> Split:
        self.setup()
        if name not in self._splits:
            raise UserError(f"there is no split {name!r}; {nearest(name, self._splits)}")
        return self._splits[name]

    def _loader(self, name: str, batch_size: int, shuffle: bool = False, **options: bool) -> BatchLoader:
        split, trainer = self._split(name), self.trainer
        labels = self._place(split.labels) if self.gives_labels and split.labels is not None else None
        return BatchLoader(
            self._place(split.x),
            batch_size,
            index=None if split.index is None else self._place(split.index),
            shuffle=shuffle,
            seed=self.seed,
            rank=trainer.global_rank if trainer else 0,
            world=trainer.world_size if trainer else 1,
            in_flight=self._in_flight,
            labels=labels,
            **options,
        )

    def _place(self, x: Tensor) -> Tensor:
        """``x``, on the trainer's device if ``on_device``; a tensor that several splits share is moved once."""
        if not (self.on_device and self.trainer):
            return x
        device = self.trainer.strategy.root_device
        if (id(x), device) not in self._moved:
            self._moved[id(x), device] = x.to(device)
        return self._moved[id(x), device]

    def _in_flight(self) -> int:
        """Number of batches drawn for a training step that has not ended: 1 after an exception in it, else 0."""
        if self.trainer is None:
            return 0
        progress: Any = self.trainer.fit_loop.epoch_loop.batch_progress.current
        return int(progress.ready - progress.processed)

    def _check_labels(self) -> None:
        """Check that every split has labels, and that they are among the classes of the spec.

        Raises:
            UserError: if one has none, or others.
        """
        for name, split in self._splits.items():
            require(
                split.labels is not None, f"data.labels=true, but the {name} examples of {self.name} have no labels."
            )
            low, high = map(int, split.labels.aminmax())  # type: ignore[union-attr]
            fits = low >= 0 and high < (self.spec.classes or 0)
            require(fits, f"data.classes={self.spec.classes}, but {self.name} has labels from {low} to {high}.")

    def _check(self, x: Tensor) -> None:
        """Check the data against the spec; uint8 data of 256 levels need not be scanned.

        Raises:
            UserError: if they do not match; the message names the key of the spec.
        """
        try:
            self.spec.check(x if self.spec.levels not in (None, 256) else x[:1])
        except ValueError as error:
            raise UserError(f"data.spec.{error}") from error
