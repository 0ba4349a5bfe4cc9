"""Statistics of real data, cached on disk: they depend only on the data and the network."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from safetensors import SafetensorError
from safetensors.torch import load_file, save
from torch import Tensor

from genmodels.core.processes import broadcast, is_rank_zero
from genmodels.files import atomic

Tensors = dict[str, Tensor]


@dataclass(frozen=True)
class StatisticsCache:
    """Tensors on disk, identified by data set, kind of statistic, content of the data, and extractor.

    The content is identified by the hashes of its examples, in any order: with less, one data set could be made to pass
    for another.

    Args:
        folder: folder of the files; if it is not writable, nothing is cached.
        data: name of the data set.
        extractor: protocol of the network: its identity and its preprocessing.
    """

    folder: Path
    data: str
    extractor: dict[str, Any]

    def get(self, what: str, x: Tensor, compute: Callable[[Tensor], Tensors]) -> Tensors:
        """``compute(x)`` for raw data ``x [N, *shape]``: read from disk if it is there, else computed and stored."""
        path = self.folder / f"{self.data}-{what}-{self._key(what, x)}.safetensors"
        found = broadcast(read(path) if is_rank_zero() else None)  # one process decides for all
        if found is not None:
            return found
        computed = compute(x)
        if is_rank_zero():
            write(path, computed)
        return computed

    def _key(self, what: str, x: Tensor) -> str:
        examples = sorted(hashlib.sha256(example).digest() for example in x.contiguous().flatten(1).numpy())
        content = hashlib.sha256(b"".join(examples)).hexdigest()
        described = [self.data, what, str(x.dtype), list(x.shape), content, self.extractor]
        return hashlib.sha256(json.dumps(described, sort_keys=True).encode()).hexdigest()[:16]


def read(path: Path) -> Tensors | None:
    """Tensors stored by :func:`write`, or ``None`` if there is no readable file."""
    try:
        return load_file(path)
    except (OSError, SafetensorError):
        return None


def write(path: Path, tensors: Tensors) -> None:
    """Store ``tensors``; do nothing if the folder is not writable."""
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with atomic(path) as part:
            part.write_bytes(save({name: t.cpu().contiguous() for name, t in tensors.items()}))
    except (OSError, SafetensorError):
        pass
