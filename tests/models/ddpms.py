"""What the tests of DDPM share: small models, and one that is exact."""

from functools import partial

import torch
from torch import nn

from genmodels.core import DataSpec
from genmodels.diffusion import Ancestral, FixedSmall, Noise, ReverseVariance, Simple, extract, linear
from genmodels.models.ddpm import DDPM
from genmodels.networks.time_conditioned import time_conditioned

SMALL = partial(time_conditioned, width=8, depth=1)


def tiny(spec, steps=10, **parts):
    parts = {
        "network": SMALL,
        "schedule": linear(steps),
        "prediction": Noise(),
        "objective": Simple(),
        "variance": FixedSmall(),
        "sampler": Ancestral(),
        "optimizer": partial(torch.optim.Adam, lr=5e-3),
    } | parts
    return DDPM(spec, **parts)


class Linear(nn.Module):
    """The best prediction of ε for standard normal x_0: E[ε | x_t] = √(1 - ᾱ_t) x_t."""

    def __init__(self, in_shape, out_shape, steps):
        super().__init__()
        self.sigma = (1 - torch.cumprod(1 - linear(steps), 0)).sqrt().float()

    def forward(self, x_t, t):
        return self.sigma[t - 1][:, None] * x_t


class Beta(ReverseVariance):
    """σ_t² = β_t at every t, where FixedLarge makes an exception of t = 1."""

    def log(self, process, x_t, t, v):
        return extract(process.log_beta, t, x_t)


def exact(steps=50):
    """With the best denoiser and σ_t² = β_t the reverse process of a standard normal is exact (Ho et al., §3.2)."""
    return tiny(DataSpec((1,)), steps, network=partial(Linear, steps=steps), variance=Beta())


POINTS = torch.tensor([[-1.5], [0.0], [0.4], [2.0]])
TRUE = torch.distributions.Normal(0, 1).log_prob(POINTS).squeeze(1)


def shaken(model):
    """The model with an output that is no longer zero."""
    for parameter in model.parameters():
        parameter.data += 0.05 * torch.randn_like(parameter)
    return model.eval()


def train(model, x, batches):
    optimizer = model.optimizer_factory(model.parameters())
    for _ in range(batches):
        optimizer.zero_grad()
        model.loss(x).total.backward()
        optimizer.step()
    return model
