"""RBM: everything that can be enumerated is."""

from __future__ import annotations

import math

import torch

TINY = ["model.hidden=8", "model.temperatures=20", "model.validation_temperatures=10", "model.chains=32"]


def energy_of_pairs(model, v, h):
    """``-E(v, h) + log C(2, v) [N, M]`` of integer pairs ``[N, 2]`` and hidden states ``[M, m]``, by the definition."""
    weight, a, c = (p.double() for p in (model.weight, model.visible_bias, model.hidden_bias))
    v, h, mean = v.double(), h.double() - 0.5, model.mean.double()
    binomial = torch.tensor([1.0, 2.0, 1.0]).double().log()[v.long()].sum(1)
    return ((v - mean) @ a + binomial)[:, None] + h @ c + (v - mean) @ weight @ h.T


def nats_in_pixels(model, x):
    """By summing exp(-E) over all pairs of visible and hidden states; beyond enumeration, chain by chain."""
    if not model.exact:
        return annealed_in_pixels(model, x)
    v = torch.cartesian_prod(torch.arange(3.0), torch.arange(3.0))
    h = torch.cartesian_prod(*[torch.arange(2.0)] * model.hidden)
    log_z = torch.logsumexp(energy_of_pairs(model, v, h).flatten(), 0)
    return torch.logsumexp(energy_of_pairs(model, x, h), 1) - log_z


def annealed_in_pixels(model, x):
    """The reversed chain once more: every f_b as a product over units, in float64."""
    weight, a, c = (p.double() for p in (model.weight, model.visible_bias, model.hidden_bias))
    p = model.mean.double() / 2  # of the base-rate machine
    base = (p / (1 - p)).log()
    v = x.double()

    def log_f(v, b):
        code = v - model.mean.double()
        binomial = torch.tensor([1.0, 2.0, 1.0]).double().log()[v.long()].sum(1)
        up, down = (torch.exp(s * b * (c + code @ weight)) for s in (0.5, -0.5))
        return binomial + code @ ((1 - b) * base + b * a) + (up + down).log().sum(1)

    log_z0 = 2 * (1 / (1 - p)).log().sum() - (model.mean.double() * base).sum() + model.hidden * math.log(2)
    total = log_f(v, 1.0) - log_z0
    for t in range(model.temperatures, 0, -1):
        b = t / model.temperatures
        h = torch.bernoulli(torch.sigmoid(b * (c + (v - model.mean) @ weight)).float()).double()
        q = torch.sigmoid((1 - b) * base + b * (a + (h - 0.5) @ weight.T)).float()
        v = torch.binomial(torch.full_like(q, 2), q).double()
        total = total + log_f(v, (t - 1) / model.temperatures) - log_f(v, b)
    return total
