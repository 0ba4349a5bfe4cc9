"""The standard deviation of the Gaussian noise that gives a deterministic decoder a likelihood, by validation data."""

from __future__ import annotations

import math

import torch
from torch import Tensor

from genmodels.core.abilities import DecodesLatent
from genmodels.core.observation import SphericalGaussian
from genmodels.core.quantization import to_symmetric
from genmodels.metrics.base import Subject, evenly_spaced
from genmodels.metrics.decoder_annealing import AnnealingSettings, DecoderAnnealing
from genmodels.metrics.decoders import gaussian_decoder

CANDIDATES = 9
IMAGES = 32  # validation examples that choose among them
SETTINGS = AnnealingSettings(temperatures=500, chains=1, leapfrogs=5)  # fewer temperatures would favor wide noise


def choose_sigma(model: DecodesLatent, subject: Subject, stream_name: tuple[int, ...]) -> float:
    """The sigma of p_sigma(x|z) under which validation data are likeliest, among geometrically spaced candidates.

    The likelihood under each candidate is its AIS bound. Around the best one the logarithm of sigma is refined by the
    parabola through it and its neighbors.

    Args:
        model: whose location the noise is added to.
        subject: whose validation data and device are used.
        stream_name: integers that name the random numbers (:mod:`genmodels.core.randomness`).

    Returns:
        Standard deviation on the [-1, 1] scale for integers, in the data's own units otherwise.
    """
    spec, device, data = subject.model.spec, subject.model.device, subject.data.split("val")
    x = evenly_spaced(data, IMAGES).to(device)
    spread = float(to_symmetric(data, spec).std())
    candidates = torch.logspace(math.log10(0.03), math.log10(1.2), CANDIDATES, device=device) * spread
    decoder = gaussian_decoder(model, SphericalGaussian(spec, candidates.repeat_interleave(len(x))))
    repeated = x.repeat(CANDIDATES, *[1] * (x.dim() - 1))
    title = "AIS, width of the Gaussian noise"
    run = DecoderAnnealing(decoder, repeated, SETTINGS, stream_name, device, title).forward()
    nats = torch.tensor(run["lower"]).view(CANDIDATES, -1).mean(1)
    return float(vertex(candidates.log().cpu(), nats).exp())


def vertex(x: Tensor, y: Tensor) -> Tensor:
    """Where the parabola through the highest of ``y [n]`` over evenly spaced ``x [n]`` and its neighbors is highest.

    >>> x = torch.arange(5.0)
    >>> vertex(x, -(x - 2.3) ** 2)
    tensor(2.3000)
    """
    best = int(y.argmax())
    if not 0 < best < len(y) - 1:
        return x[best]
    left, middle, right = y[best - 1 : best + 2]
    return x[best] + 0.5 * (x[1] - x[0]) * (left - right) / (left - 2 * middle + right)
