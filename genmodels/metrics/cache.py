"""Feature statistics of real data, kept on disk: they change only with the data and the network."""

from __future__ import annotations

import hashlib
import json
import os
import tempfile
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import Tensor

from genmodels.metrics.frechet import Moments
from genmodels.metrics.processes import from_first, rank_and_world


@dataclass(frozen=True)
class MomentsCache:
    """Moments by (data set, split, content, extractor).

    The content is known by its shape and its sums over examples, pixel by pixel: the order of the examples, which
    differs with the seed that carves the validation split, does not matter to it.

    Args:
        folder: where the files lie; one that cannot be written to is done without.
        data: name of the data set.
        extractor: identity of the network.
    """

    folder: Path
    data: str
    extractor: str

    def get(self, split: str, parts: Sequence[Tensor], compute: Callable[[Sequence[Tensor]], Moments]) -> Moments:
        """Moments of the raw data ``parts``, each ``[N, *shape]``: read if they are there, else computed and kept."""
        path = self.folder / f"{self.data}-{split}-{self._key(split, parts)}.safetensors"
        first = rank_and_world()[0] == 0
        found = from_first(read(path) if first else None)  # one process decides, or the others would wait for it
        if found is not None:
            return found
        moments = compute(parts)
        if first:
            write(path, moments)
        return moments

    def _key(self, split: str, parts: Sequence[Tensor]) -> str:
        sums = sum(x.sum(0, dtype=torch.int64) for x in parts)
        content = hashlib.sha256(torch.as_tensor(sums).numpy().tobytes()).hexdigest()
        shape = [sum(len(x) for x in parts), *parts[0].shape[1:]]
        described = [self.data, split, shape, content, self.extractor]
        return hashlib.sha256(json.dumps(described).encode()).hexdigest()[:16]


def read(path: Path) -> Moments | None:
    """What :func:`write` left, or ``None`` if nothing readable is there."""
    try:
        kept = load_file(path)
        return Moments(kept["mean"], kept["covariance"], int(kept["n"]))
    except (OSError, SafetensorError, KeyError):
        return None


def write(path: Path, moments: Moments) -> None:
    """Keep ``moments``, whole or not at all; silently not at all where the folder cannot be written to."""
    tensors = {"mean": moments.mean, "covariance": moments.covariance, "n": torch.tensor(moments.n)}
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=path.parent) as scratch:
            save_file({name: t.cpu().contiguous() for name, t in tensors.items()}, Path(scratch, path.name))
            os.replace(Path(scratch, path.name), path)
    except (OSError, SafetensorError):
        pass
