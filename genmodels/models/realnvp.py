"""RealNVP: density estimation by invertible real-valued non-volume preserving transformations.

Dinh, Sohl-Dickstein & Bengio 2017, https://arxiv.org/abs/1605.08803. A stack of affine couplings f maps data to a
standard normal code, ``log p(x) = log N(f(x); 0, I) + log |det df/dx|`` (eq. 2-3), exactly and in one pass. In a
coupling one part of x stays, ``z_1 = x_1``, and the other moves, ``z_2 = x_2 exp(s(x_1)) + t(x_1)`` (eq. 7-8).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial

from torch import Tensor, nn

from genmodels.core import DataSpec
from genmodels.errors import ensure_counts, ensure_numbers
from genmodels.models.base import NetworkFactory, NormalizingFlow, OptimizerFactory, SchedulerFactory, to_reals
from genmodels.networks.labelled import Labels
from genmodels.networks.resnet import ResidualNetwork
from genmodels.networks.scales import halvings
from genmodels.transforms import (
    ActNorm,
    BoundedAffine,
    Chain,
    ChannelCoupling,
    CheckerboardCoupling,
    ConditionalMapFactory,
    DequantizationFactory,
    FactorOut,
    Flatten,
    Squeeze,
    UniformDequantization,
    couplings,
    vector_flow,
)


def image_flow(
    shape: Sequence[int],
    network: Callable[..., nn.Module],
    scales: int,
    width_multiplier: int = 1,
    coupling: ConditionalMapFactory = BoundedAffine,
    widened: int = 1,
) -> Chain:
    """Multi-scale flow ``[B, C, H, W] -> [B, D]`` (§3.6).

    At each scale: three checkerboard couplings, squeeze, three channel-wise couplings, half factored out. The last
    scale has four checkerboard couplings. Networks become ``width_multiplier`` times as wide wherever the resolution is
    halved; ``widened`` is how much wider they are by now.
    """
    channels, height, width = shape
    fine, coarse = (
        network if times == 1 else partial(network, width_multiplier=times)
        for times in (widened, width_multiplier * widened)
    )
    if scales == 1:
        return Chain([*couplings([CheckerboardCoupling] * 4, shape, fine, coupling), Flatten(shape)])
    squeezed = (4 * channels, height // 2, width // 2)
    half = (2 * channels, height // 2, width // 2)
    next_scale = image_flow(half, network, scales - 1, width_multiplier, coupling, width_multiplier * widened)
    return Chain(
        [
            *couplings([CheckerboardCoupling] * 3, shape, fine, coupling),
            Squeeze(),
            *couplings([ChannelCoupling] * 3, squeezed, coarse, coupling),
            FactorOut(squeezed, next_scale),
        ]
    )


class RealNVP(NormalizingFlow):
    """Affine couplings with normalized activations, multi-scale on images.

    Args:
        spec: the data that the model is built for.
        network: makes a coupling's network on images from its input and output shape and, where it grows,
            ``width_multiplier``.
        vector_network: makes a coupling's network on vectors from its input and output shape; ``None`` for ``network``.
        depth: number of couplings on vectors; on images it follows from the scales.
        scales: number of scales on images, each half as high and wide as the one before; ``None`` takes as many as
            leave a side of 4.
        width_multiplier: for images, the factor on the width of a coupling's network wherever the resolution is halved;
            2 in the paper.
        scale_decay: weight of the sum of the squared scales of all weight-normalized layers in the loss, which is in
            nats per dimension (§4.1, which does not name its unit).
        alpha: on integer data, the logit map's distance from 0 and 1, ``logit(alpha + (1 - 2 alpha) u)`` (§4.1).
            The paper's 0.05 lets a Gaussian code reach beyond the cube, and that mass is lost to the likelihood; with
            1e-6 (Papamakarios et al. 2017, §4.2, arXiv:1705.07057) the cube covers the reals up to ±13.8.
        dequantization: ``spec -> q(u | x)``, by which integers become reals; uniform in the paper.
        coupling: ``shape -> g``, the map of the part that moves, in the paper an affine one.
        optimizer: ``parameters -> Optimizer``.
        scheduler: ``optimizer -> LRScheduler``, stepped once per batch, or ``None``.
        clip_norm: largest global gradient norm, or ``None``.

    Raises:
        ValueError: if depth or width_multiplier is less than 1, the image does not have that many scales, alpha lies
            outside (0, 0.5), or scale_decay is negative.
    """

    takes_labels = True

    def __init__(
        self,
        spec: DataSpec,
        network: NetworkFactory,
        optimizer: OptimizerFactory,
        scheduler: SchedulerFactory | None = None,
        clip_norm: float | None = None,
        depth: int = 8,
        scales: int | None = None,
        width_multiplier: int = 1,
        alpha: float = 1e-6,
        scale_decay: float = 0.0,
        vector_network: NetworkFactory | None = None,
        dequantization: DequantizationFactory = UniformDequantization,
        coupling: ConditionalMapFactory = BoundedAffine,
    ) -> None:
        ensure_counts(1, 1000, depth=depth, width_multiplier=width_multiplier)
        ensure_numbers(at_least=0, scale_decay=scale_decay)
        most = 1 + halvings(*spec.shape[1:]) if spec.is_image else 1000  # vectors have no scales
        ensure_counts(1, most, optional=True, scales=scales)
        labels = Labels(spec.classes)
        network, vector_network = (labels.beside_input(each) for each in (network, vector_network or network))
        if spec.is_image:
            couple = image_flow(spec.shape, network, scales or most, width_multiplier, coupling)
        else:
            couple = vector_flow(spec.shape, vector_network, depth, coupling)
        flow = Chain([*to_reals(spec, alpha), ActNorm(spec.shape), couple])
        super().__init__(spec, flow, optimizer, scheduler, clip_norm, dequantization=dequantization, labels=labels)
        self.scale_decay = scale_decay
        self.weight_scales = [g for m in flow.modules() if isinstance(m, ResidualNetwork) for g in m.scales()]

    def penalty(self) -> Tensor | float:
        """``scale_decay sum g²`` over the scales of all weight-normalized layers (§4.1)."""
        return self.scale_decay * sum(g.square().sum() for g in self.weight_scales) if self.scale_decay > 0 else 0.0
