"""Choice, on validation data, of the width of the Gaussian noise that gives a deterministic decoder a likelihood."""

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
IMAGES = 32  # validation examples
SETTINGS = AnnealingSettings(temperatures=500, chains=1, leapfrogs=5)  # looser bounds would favor a large sigma


def choose_sigma(model: DecodesLatent, subject: Subject, stream_name: tuple[int, ...]) -> float:
    """The sigma of p_sigma(x|z) that maximizes the AIS bound on the log-likelihood of validation data.

    The bound is computed for geometrically spaced candidates. The maximum is then refined by a parabola, in the
    logarithm of sigma, through the best candidate and its neighbors.

    Args:
        model: the decoder to whose location the noise is added.
        subject: the subject whose validation data and device are used.
        stream_name: integers that name the random stream (:mod:`genmodels.core.randomness`).

    Returns:
        Standard deviation on the [-1, 1] scale for integers, in the data's own units otherwise.
    """
    spec, device, data = subject.model.spec, subject.model.device, subject.data.split("val")
    x = evenly_spaced(data, IMAGES).to(device)
    scale = float(to_symmetric(data, spec).std())
    candidates = torch.logspace(math.log10(0.03), math.log10(1.2), CANDIDATES, device=device) * scale
    decoder = gaussian_decoder(model, SphericalGaussian(spec, candidates.repeat_interleave(len(x))))
    repeated = x.repeat(CANDIDATES, *[1] * (x.dim() - 1))
    title = "AIS, choice of sigma"
    run = DecoderAnnealing(decoder, repeated, SETTINGS, stream_name, device, title).forward()
    nats = torch.tensor(run["lower"]).view(CANDIDATES, -1).mean(1)
    return float(vertex(candidates.log().cpu(), nats).exp())


def vertex(x: Tensor, y: Tensor) -> Tensor:
    """Maximizer ``[]`` of the parabola through the largest of ``y [n]`` and its neighbors, at evenly spaced ``x [n]``.

    It is the maximizing x itself at either end.

    >>> x = torch.arange(5.0)
    >>> vertex(x, -(x - 2.3) ** 2)
    tensor(2.3000)
    """
    best = int(y.argmax())
    if not 0 < best < len(y) - 1:
        return x[best]
    left, middle, right = y[best - 1 : best + 2]
    return x[best] + 0.5 * (x[1] - x[0]) * (left - right) / (left - 2 * middle + right)
