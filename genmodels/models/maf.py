"""MAF: masked autoregressive flow for density estimation.

Papamakarios, Pavlakou & Murray 2017, https://arxiv.org/abs/1705.07057. By the chain rule a density is a product of
conditionals, here Gaussian ones, ``p(x_i | x_1 .. x_{i-1}) = N(x_i; μ_i, exp(α_i)²)`` with functions μ_i and α_i of
``x_1 .. x_{i-1}`` (eq. 2). Data are thus made from noise u by ``x_i = u_i exp(α_i) + μ_i`` (eq. 3), and the noise is
found from data by ``u_i = (x_i - μ_i) exp(-α_i)`` (eq. 4), with ``log |det du/dx| = -sum_i α_i`` (eq. 5). A MADE
computes all μ_i and α_i in one pass. K such layers are stacked, each a density of the noise of the one before.
"""

from __future__ import annotations

from genmodels.core import DataSpec
from genmodels.errors import ensure_counts
from genmodels.models.base import NormalizingFlow, OptimizerFactory, SchedulerFactory, to_reals
from genmodels.networks.made import MADEFactory
from genmodels.transforms import ActNorm, Autoregressive, Chain, Flatten, Reverse


class MAF(NormalizingFlow):
    """K autoregressive layers, each in the reverse order of the one before, over ``N(0, I)``.

    Images are flattened. The paper normalizes between layers by batch normalization, with whose running statistics test
    likelihoods can diverge; here activations are normalized, see :class:`genmodels.transforms.ActNorm`.

    Args:
        spec: the data that the model is built for.
        network: makes the MADE of a layer from its input and output shape.
        layers: K.
        alpha: on integer data, the logit map's distance from 0 and 1 (§4.2).
        optimizer: ``parameters -> Optimizer``.
        scheduler: ``optimizer -> LRScheduler``, stepped once per batch, or ``None``.
        clip_norm: largest global gradient norm, or ``None``.

    Raises:
        ValueError: if layers is less than 1, or alpha lies outside (0, 0.5).
    """

    def __init__(
        self,
        spec: DataSpec,
        network: MADEFactory,
        optimizer: OptimizerFactory,
        scheduler: SchedulerFactory | None = None,
        clip_norm: float | None = None,
        layers: int = 5,
        alpha: float = 1e-6,
    ) -> None:
        ensure_counts(1, 1000, layers=layers)
        d = spec.dims
        stack = [layer for _ in range(layers) for layer in (ActNorm((d,)), Autoregressive(d, network), Reverse())]
        flow = Chain([*to_reals(spec, alpha), Flatten(spec.shape), *stack])
        super().__init__(spec, flow, optimizer, scheduler, clip_norm)
