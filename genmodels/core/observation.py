"""Observation models p(x | params) in data space, whose parameters a decoder outputs.

``x [B, *shape]`` is raw data; ``params [B, *param_shape]`` is the output of a network; log-probabilities are ``[B]``
in nats.
"""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from typing import cast

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from typing_extensions import override

from genmodels.core.quantization import from_symmetric
from genmodels.core.spec import DataSpec
from genmodels.errors import ensure, ensure_numbers

LARGEST_LOG_SCALE = 7.0  # scales beyond exp(±7) of the data's range are unreliable in float32


def log_sub_exp_cdf(log_cdf_upper: Tensor, log_cdf_lower: Tensor) -> Tensor:
    """``log(exp(log_cdf_upper) - exp(log_cdf_lower))``, elementwise ``[...]``, computed in log space."""
    return log_cdf_upper + torch.log(-torch.expm1((log_cdf_lower - log_cdf_upper).clamp(max=-1e-7)))


def discretized_logistic(x: Tensor, mean: Tensor, log_scale: Tensor, levels: int) -> Tensor:
    r"""Log-mass that a logistic distribution assigns to the bin of each ``x``; the two outer bins are unbounded.

    It is eq. 2 of PixelCNN++ (Salimans et al. 2017, arXiv:1701.05517), where the levels lie in [-1, 1]. For bin edges
    ``a > b``, relative to the mean and in units of the scale,
    :math:`\sigma(a) - \sigma(b) = \sigma(a)\,\sigma(-b)\,(1 - e^{b - a})`, which needs no clamping and sums to
    exactly one over the levels.

    Args:
        x: integers ``[...]``.
        mean: ``[...]``, on [-1, 1].
        log_scale: ``[...]``, of the scale on [-1, 1].
        levels: number of levels.

    Returns:
        ``log P(x)`` in nats, elementwise ``[...]``.
    """
    half = 1.0 / (levels - 1)
    centered = x.float() * (2.0 * half) - 1.0 - mean
    inverse_scale = torch.exp(-log_scale)
    log_below = F.logsigmoid((centered + half) * inverse_scale)  # log σ(a)
    log_above = F.logsigmoid(-(centered - half) * inverse_scale)  # log σ(-b)
    log_width = torch.log(-torch.expm1(-2.0 * half * inverse_scale))  # log(1 - e^{b-a})
    inner = log_below + log_above + log_width
    return torch.where(x == 0, log_below, torch.where(x == levels - 1, log_above, inner))


def discretized_gaussian(x: Tensor, mean: Tensor, log_std: Tensor, levels: int) -> Tensor:
    """Log-mass that a Gaussian assigns to the bin of each ``x``; the outer bins are unbounded (Ho et al. 2020, eq. 13).

    Arguments and result ``[...]`` are those of :func:`discretized_logistic`. Each bin is evaluated in its own tail, so
    that the logarithm stays finite far from the mean.
    """
    half = 1.0 / (levels - 1)
    centered = x.float() * (2.0 * half) - 1.0 - mean
    inverse_std = torch.exp(-log_std)
    upper, lower = (centered + half) * inverse_std, (centered - half) * inverse_std
    bottom, top = x == 0, x == levels - 1
    flip = ((centered > 0) & ~bottom) | top  # there Φ(-lower) - Φ(-upper) cancels less than Φ(upper) - Φ(lower)
    log_big = torch.special.log_ndtr(torch.where(flip, -lower, upper))
    log_small = torch.special.log_ndtr(torch.where(flip, -upper, lower))
    return torch.where(bottom | top, log_big, log_sub_exp_cdf(log_big, log_small))


def standard_normal_log_prob(z: Tensor) -> Tensor:
    """``log N(z; 0, I) [B]`` in nats of ``z [B, ...]``."""
    return -0.5 * (z.square() + math.log(2 * math.pi)).flatten(1).sum(1)


class Observation(ABC):
    """A distribution p(x | params) of data described by ``spec``."""

    def __init__(self, spec: DataSpec) -> None:
        self.spec = spec

    @property
    def param_shape(self) -> tuple[int, ...]:
        """Shape of the parameters of one example, by default two per dimension: location and log-scale."""
        return (2 * self.spec.shape[0], *self.spec.shape[1:])

    @abstractmethod
    def log_prob(self, x: Tensor, params: Tensor) -> Tensor:
        """``log p(x | params) [B]`` in nats of raw data ``x [B, *shape]`` given ``params [B, *param_shape]``."""

    @abstractmethod
    def sample(self, params: Tensor) -> Tensor:
        """One draw of raw data ``[B, *shape]`` given ``params [B, *param_shape]``."""

    @abstractmethod
    def mean(self, params: Tensor) -> Tensor:
        """Mean of x as raw data ``[B, *shape]``, rounded to the nearest level for integers."""

    @abstractmethod
    def location(self, params: Tensor) -> Tensor:
        """:meth:`mean` before rounding, ``[B, *shape]``: integers on the [-1, 1] scale of :func:`to_symmetric`."""


class Bernoulli(Observation):
    """Independent Bernoulli distributions of each dimension with logits ``params``, for data of two levels.

    Raises:
        ValueError: if the data have another number of levels.
    """

    def __init__(self, spec: DataSpec) -> None:
        ensure(spec.levels == 2, f"spec must have 2 levels for a Bernoulli decoder, got {spec.levels}.")
        super().__init__(spec)

    @property
    @override
    def param_shape(self) -> tuple[int, ...]:
        return self.spec.shape  # one logit per dimension

    def log_prob(self, x: Tensor, params: Tensor) -> Tensor:
        """``sum_d x_d log σ(l_d) + (1 - x_d) log σ(-l_d) [B]`` in nats, for logits l."""
        return -F.binary_cross_entropy_with_logits(params.float(), x.float(), reduction="none").flatten(1).sum(1)

    @override
    def sample(self, params: Tensor) -> Tensor:
        return torch.bernoulli(torch.sigmoid(params.float())).to(torch.uint8)

    @override
    def mean(self, params: Tensor) -> Tensor:
        return (params > 0).to(torch.uint8)

    def location(self, params: Tensor) -> Tensor:
        """``2 σ(l) - 1 [B, *shape]``, for logits l."""
        return 2 * torch.sigmoid(params.float()) - 1


def _split(params: Tensor) -> tuple[Tensor, Tensor]:
    """Location and log-scale, the two halves of the channels; the latter is clamped to ±``LARGEST_LOG_SCALE``."""
    location, log_scale = params.float().chunk(2, dim=1)
    return location, log_scale.clamp(-LARGEST_LOG_SCALE, LARGEST_LOG_SCALE)


class DiscretizedLogistic(Observation):
    """Independent discretized logistic distributions (PixelCNN++, eq. 2) with a location and a log-scale per dimension.

    Raises:
        ValueError: if the data are not integers.
    """

    def __init__(self, spec: DataSpec) -> None:
        ensure(spec.is_discrete, "spec must be of integer data for a discretized logistic decoder; use Gaussian.")
        super().__init__(spec)

    def log_prob(self, x: Tensor, params: Tensor) -> Tensor:
        """Sum ``[B]`` of :func:`discretized_logistic` over the dimensions."""
        location, log_scale = _split(params)
        return discretized_logistic(x, location, log_scale, cast("int", self.spec.levels)).flatten(1).sum(1)

    def sample(self, params: Tensor) -> Tensor:
        """A logistic draw ``[B, *shape]``, rounded to the nearest level, which gives the discretized distribution."""
        location, log_scale = _split(params)
        p = torch.rand_like(location).clamp(1e-7, 1 - 1e-7)
        return from_symmetric(location + log_scale.exp() * torch.logit(p), self.spec)

    @override
    def mean(self, params: Tensor) -> Tensor:
        return from_symmetric(self.location(params), self.spec)

    def location(self, params: Tensor) -> Tensor:
        """Mean ``[B, *shape]`` of the logistic before it is discretized."""
        return _split(params)[0]


class Gaussian(Observation):
    """Independent Gaussians with a mean and a log standard deviation per dimension, for continuous data.

    Raises:
        ValueError: if the data are integers.
    """

    def __init__(self, spec: DataSpec) -> None:
        ensure(not spec.is_discrete, "spec must be of real data for a Gaussian decoder; use DiscretizedLogistic.")
        super().__init__(spec)

    def log_prob(self, x: Tensor, params: Tensor) -> Tensor:
        """``log N(x; mean, std²) [B]`` in nats."""
        mean, log_std = _split(params)
        z = (x.float() - mean) * torch.exp(-log_std)
        return standard_normal_log_prob(z) - log_std.flatten(1).sum(1)

    def sample(self, params: Tensor) -> Tensor:
        """``mean + std ε [B, *shape]``."""
        mean, log_std = _split(params)
        return mean + log_std.exp() * torch.randn_like(mean)

    @override
    def mean(self, params: Tensor) -> Tensor:
        return self.location(params)

    @override
    def location(self, params: Tensor) -> Tensor:
        return _split(params)[0]


def observation_for(spec: DataSpec) -> Observation:
    """The default observation model for the number of levels of the data.

    >>> [type(observation_for(DataSpec((4,), n))).__name__ for n in (2, 256, None)]
    ['Bernoulli', 'DiscretizedLogistic', 'Gaussian']
    """
    if spec.levels is None:
        return Gaussian(spec)
    return Bernoulli(spec) if spec.levels == 2 else DiscretizedLogistic(spec)


class SphericalGaussian:
    """Isotropic Gaussian noise around a location, by which a deterministic decoder has a likelihood.

    ``p_σ(x | location)`` is the density of ``N(location, σ² I)`` on continuous data, and the mass of
    :func:`discretized_gaussian` on integer data. ``location [N, *shape]`` and σ are on the [-1, 1] scale of
    :func:`to_symmetric` for integers, in the data's own units otherwise.

    Args:
        spec: shape and levels of the data.
        sigma: standard deviation σ, or one per example, ``[N]``.

    Raises:
        ValueError: if a float sigma is not positive.
    """

    def __init__(self, spec: DataSpec, sigma: float | Tensor) -> None:
        if not isinstance(sigma, Tensor):
            ensure_numbers(above=0, sigma=sigma)
        self.spec = spec
        self.sigma = sigma

    def _sigma_like(self, location: Tensor) -> Tensor:
        """σ in float32, shaped to broadcast against ``location [N, *shape]``."""
        if isinstance(self.sigma, Tensor):
            return self.sigma.float().reshape(-1, *[1] * (location.dim() - 1))
        return torch.full([1] * location.dim(), self.sigma, device=location.device)

    def log_prob(self, x: Tensor, location: Tensor) -> Tensor:
        """``log p_σ(x | location) [N]`` in nats of raw data ``x [N, *shape]`` given ``location [N, *shape]``."""
        location, log_sigma = location.float(), self._sigma_like(location).log()
        if self.spec.levels is not None:
            return discretized_gaussian(x, location, log_sigma, self.spec.levels).flatten(1).sum(1)
        z = (x.float() - location) * torch.exp(-log_sigma)
        return standard_normal_log_prob(z) - self.spec.dims * log_sigma.flatten()

    def sample(self, location: Tensor) -> Tensor:
        """A draw of raw data ``[N, *shape]``, rounded to the nearest level for integers."""
        location = location.float()
        return from_symmetric(location + self._sigma_like(location) * torch.randn_like(location), self.spec)


class SphericalNoise(Observation, nn.Module):
    """:class:`SphericalGaussian` with one standard deviation σ for all dimensions and examples, given or learned.

    The parameters of an example are its location alone. With an affine decoder it is the observation of probabilistic
    principal components (Tipping & Bishop 1999, https://doi.org/10.1111/1467-9868.00196).

    Args:
        spec: shape and levels of the data.
        sigma: σ, on the [-1, 1] scale for integers; where it begins if it is learned.
        learned: learn σ with the model, by its logarithm.

    Raises:
        ValueError: if sigma is not positive.
    """

    log_sigma: Tensor

    def __init__(self, spec: DataSpec, sigma: float = 0.3, learned: bool = True) -> None:
        nn.Module.__init__(self)
        Observation.__init__(self, spec)
        ensure_numbers(above=0, sigma=sigma)
        log_sigma = torch.tensor(math.log(sigma))
        if learned:
            self.log_sigma = nn.Parameter(log_sigma)
        else:
            self.register_buffer("log_sigma", log_sigma)

    @property
    def noise(self) -> SphericalGaussian:
        """The law around a location, with the present σ."""
        return SphericalGaussian(self.spec, self.log_sigma.clamp(-LARGEST_LOG_SCALE, LARGEST_LOG_SCALE).exp())

    @property
    @override
    def param_shape(self) -> tuple[int, ...]:
        return self.spec.shape

    @override
    def log_prob(self, x: Tensor, params: Tensor) -> Tensor:
        return self.noise.log_prob(x, params)

    @override
    def sample(self, params: Tensor) -> Tensor:
        return self.noise.sample(params)

    @override
    def mean(self, params: Tensor) -> Tensor:
        return from_symmetric(params, self.spec)

    @override
    def location(self, params: Tensor) -> Tensor:
        return params.float()
