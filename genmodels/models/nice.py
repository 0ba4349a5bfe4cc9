"""NICE: non-linear independent components estimation.

Dinh, Krueger & Bengio 2015, https://arxiv.org/abs/1410.8516. In an additive coupling one part of x stays,
``h_1 = x_1``, and the other is shifted by any function of it, ``h_2 = x_2 + m(x_1)`` (§3.2). Its inverse is
``x_2 = h_2 - m(h_1)``, and its Jacobian is triangular with ones on the diagonal, so that volume is preserved. After
four couplings, ``h = exp(s) h^(4)`` (§3.3) is the only change of volume, and the dimensions of h are independent:
``log p(x) = sum_i log p_H(h_i) + s_i``.
"""

from __future__ import annotations

from collections.abc import Callable

from genmodels.core import DataSpec
from genmodels.errors import ensure_counts
from genmodels.models.base import (
    BaseDistribution,
    NetworkFactory,
    NormalizingFlow,
    OptimizerFactory,
    SchedulerFactory,
    StandardLogistic,
    to_reals,
)
from genmodels.networks.labelled import Labels
from genmodels.transforms import Additive, Chain, ConditionalMapFactory, Flatten, Scale, odd_even_couplings


class NICE(NormalizingFlow):
    """Additive couplings between the dimensions of odd and of even index, and a scale per dimension.

    Images are flattened. The paper gives the flow the unit cube of dequantized integers as it is, without a logit; the
    density that it then has outside of the cube is lost to the likelihood, and samples there are clamped.

    Args:
        spec: the data that the model is built for.
        network: makes the function m of a coupling from its input and output shape.
        couplings: number of couplings; 4 in the paper.
        base: ``D -> p_H``, a logistic or a normal distribution (§3.4).
        alpha: on integer data, distance of a logit map from 0 and 1; ``None``, as in the paper, for no logit.
        coupling: ``shape -> g``, the map of the part that moves, in the paper an additive one (§3.2 names others).
        optimizer: ``parameters -> Optimizer``.
        scheduler: ``optimizer -> LRScheduler``, stepped once per batch, or ``None``.
        clip_norm: largest global gradient norm, or ``None``.

    Raises:
        ValueError: if couplings is less than 1, or alpha lies outside (0, 0.5).
    """

    takes_labels = True

    def __init__(
        self,
        spec: DataSpec,
        network: NetworkFactory,
        optimizer: OptimizerFactory,
        scheduler: SchedulerFactory | None = None,
        clip_norm: float | None = None,
        couplings: int = 4,
        base: Callable[[int], BaseDistribution] = StandardLogistic,
        alpha: float | None = None,
        coupling: ConditionalMapFactory = Additive,
    ) -> None:
        ensure_counts(1, 1000, couplings=couplings)
        labels = Labels(spec.classes)
        layers = odd_even_couplings(spec.dims, labels.beside_input(network), couplings, coupling)
        flow = Chain([*to_reals(spec, alpha), Flatten(spec.shape), *layers, Scale((spec.dims,))])
        super().__init__(spec, flow, optimizer, scheduler, clip_norm, base(spec.dims), labels=labels)
        self.confined = alpha is not None

    @property
    def no_gap_reason(self) -> str | None:
        """Without a logit hardly a draw of many dimensions lies in the unit cube, where the bound could be measured."""
        if self.spec.is_discrete and not self.confined:
            return "without a logit (alpha) its density is not confined to the unit cube"
        return super().no_gap_reason
