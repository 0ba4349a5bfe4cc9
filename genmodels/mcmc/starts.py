"""Where the chains of contrastive training begin: at the data, at noise, or where earlier ones ended."""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections.abc import Callable

import torch
from torch import Tensor
from typing_extensions import override

from genmodels.errors import ensure_counts, ensure_numbers


class Start(ABC):
    """Where the chains of a training step begin. Chains that are kept are tensors by name, the model's ``chains``.

    Attributes:
        most: examples of a batch at most.
    """

    most: float = math.inf

    def initial(self, noise: Callable[[int], Tensor]) -> dict[str, Tensor]:
        """The chains to keep; ``noise(n)`` draws n from the reference density."""
        return {}

    @abstractmethod
    def pick(
        self, chains: dict[str, Tensor], data: Tensor, noise: Callable[[int], Tensor]
    ) -> tuple[Tensor, Tensor | None]:
        """Positions ``[B, D]`` to begin at for a batch ``data [B, D]``, and the numbers ``[B]`` of kept chains."""


class Data(Start):
    """The batch itself: contrastive divergence (Hinton 2002)."""

    @override
    def pick(
        self, chains: dict[str, Tensor], data: Tensor, noise: Callable[[int], Tensor]
    ) -> tuple[Tensor, Tensor | None]:
        return data, None


class Noise(Start):
    """The reference density, for short runs (Nijkamp et al. 2019)."""

    @override
    def pick(
        self, chains: dict[str, Tensor], data: Tensor, noise: Callable[[int], Tensor]
    ) -> tuple[Tensor, Tensor | None]:
        return noise(len(data)), None


class Persistent(Start):
    """Chains that persist, some of which restart from the reference density (Du & Mordatch 2019, §3.1).

    Args:
        size: number of chains, of which a batch moves as many as it has examples.
        restart: probability that a chain restarts.

    Raises:
        ValueError: if size is less than 1, or restart is no probability.
    """

    def __init__(self, size: int = 4096, restart: float = 0.01) -> None:
        ensure_counts(size=size)
        ensure_numbers(at_least=0, at_most=1, restart=restart)
        self.size = self.most = size
        self.restart = restart

    @override
    def initial(self, noise: Callable[[int], Tensor]) -> dict[str, Tensor]:
        z = noise(self.size)
        return {"z": z, "age": torch.zeros(self.size, device=z.device)}

    @override
    def pick(
        self, chains: dict[str, Tensor], data: Tensor, noise: Callable[[int], Tensor]
    ) -> tuple[Tensor, Tensor | None]:
        n = len(data)
        slots = torch.randperm(self.size, device=data.device)[:n]
        again = torch.rand(n, device=data.device) < self.restart
        chains["age"][slots] = torch.where(again, 0.0, chains["age"][slots])
        return torch.where(again[:, None], noise(n), chains["z"][slots]), slots
