"""What training minimizes: the bound of eq. 5 of Ho et al. 2020 (arXiv:2006.11239), or its terms weighed otherwise."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable

import torch
from torch import Tensor
from typing_extensions import override

from genmodels.core import Loss
from genmodels.diffusion.process import DiffusionProcess
from genmodels.errors import ensure_numbers

VLB = Callable[[Tensor, Tensor | None], Tensor]
"""From the network's output and v ``[B, *shape]`` to an estimate ``[]`` of the bound less L_T, in nats/dim."""


class Objective(ABC):
    """What training minimizes, for a batch in which every example is at one random time t."""

    @abstractmethod
    def time_probability(self, process: DiffusionProcess) -> Tensor:
        """The probabilities ``[T + 1]`` by which t is drawn."""

    @abstractmethod
    def __call__(self, output: Tensor, v: Tensor | None, target: Tensor, vlb: VLB) -> Loss:
        """The loss of the network's ``output`` and ``v``, given the ``target`` of the output: all ``[B, *shape]``."""


class Simple(Objective):
    """``L_simple = E |ε - ε_θ(x_t, t)|²`` per dimension, with t uniform (eq. 14, algorithm 1).

    For another prediction than ε it is the squared error of that prediction. A learned variance gets no gradient from
    it. Then the loss is ``L_hybrid = L_simple + λ L_vlb`` of Nichol & Dhariwal 2021 (eq. 16, arXiv:2102.09672), where
    L_vlb, in nats/dim, trains the variance only: the mean is held fixed in it.

    Another law of t weighs the noise levels differently in the same loss. For ``cosine_share`` of the examples the log
    SNR is drawn by the density that the cosine schedule would give it, ``sech(log SNR / 2)`` (Kingma & Gao 2023,
    arXiv:2303.00848), which for the prediction of the velocity is the weight of flow matching: the coarse levels that
    make a sample are learned sooner, at the cost of the bound, most of which lies in the fine ones.

    Args:
        variational_weight: λ.
        cosine_share: the share, in [0, 1].

    Raises:
        ValueError: if the weight is negative or the share out of range.
    """

    def __init__(self, variational_weight: float = 0.001, cosine_share: float = 0.0) -> None:
        ensure_numbers(at_least=0, variational_weight=variational_weight)
        ensure_numbers(at_least=0, at_most=1, cosine_share=cosine_share)
        self.variational_weight = variational_weight
        self.cosine_share = cosine_share

    @override
    def time_probability(self, process: DiffusionProcess) -> Tensor:
        return torch.lerp(process.uniform, process.cosine, self.cosine_share)

    def __call__(self, output: Tensor, v: Tensor | None, target: Tensor, vlb: VLB) -> Loss:
        """Loss with the term ``mse``, and ``bound`` (nats/dim) if the variance is learned."""
        mse = (output - target).square().mean()
        if v is None:
            return Loss(mse, {"mse": mse})
        bound = vlb(output.detach(), v)
        return Loss(mse + self.variational_weight * bound, {"mse": mse, "bound": bound})


class Variational(Objective):
    """``L_vlb``: the bound in nats/dim, from one random term per example (eq. 5), the large ones drawn more often.

    With t uniform the gradient would be too noisy (Nichol & Dhariwal 2021, §3.3).
    """

    @override
    def time_probability(self, process: DiffusionProcess) -> Tensor:
        return process.reciprocal

    def __call__(self, output: Tensor, v: Tensor | None, target: Tensor, vlb: VLB) -> Loss:
        """Loss with the term ``bound`` (nats/dim)."""
        bound = vlb(output, v)
        return Loss(bound, {"bound": bound})
