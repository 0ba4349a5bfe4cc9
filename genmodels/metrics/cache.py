"""Results computed from real data, kept on disk: they change only with the data and the network."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import Tensor

from genmodels.core.processes import broadcast, is_rank_zero
from genmodels.files import atomic

Tensors = dict[str, Tensor]


@dataclass(frozen=True)
class StatisticsCache:
    """Tensors by (data set, what they are, content of the data, extractor).

    The content is known by its shape and its sums over examples, pixel by pixel.

    Args:
        folder: where the files lie; one that cannot be written to is done without.
        data: name of the data set.
        extractor: protocol of the network: its identity, and what happens to an image on its way in.
    """

    folder: Path
    data: str
    extractor: dict[str, Any]

    def get(self, what: str, x: Tensor, compute: Callable[[Tensor], Tensors]) -> Tensors:
        """``compute(x)`` of raw data ``x [N, *shape]``: read if it is there, else computed and kept."""
        path = self.folder / f"{self.data}-{what}-{self._key(what, x)}.safetensors"
        found = broadcast(read(path) if is_rank_zero() else None)  # one process decides for all
        if found is not None:
            return found
        computed = compute(x)
        if is_rank_zero():
            write(path, computed)
        return computed

    def _key(self, what: str, x: Tensor) -> str:
        content = hashlib.sha256(x.sum(0, dtype=torch.int64).numpy().tobytes()).hexdigest()
        described = [self.data, what, list(x.shape), content, self.extractor]
        return hashlib.sha256(json.dumps(described, sort_keys=True).encode()).hexdigest()[:16]


def read(path: Path) -> Tensors | None:
    """Tensors that :func:`write` kept, or ``None`` if there is no readable file."""
    try:
        return load_file(path)
    except (OSError, SafetensorError):
        return None


def write(path: Path, tensors: Tensors) -> None:
    """Keep ``tensors``; do nothing where the folder cannot be written to."""
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with atomic(path) as part:
            save_file({name: t.cpu().contiguous() for name, t in tensors.items()}, part)
    except (OSError, SafetensorError):
        pass
