"""EBM."""

from __future__ import annotations

import torch

TINY = [
    "model.energy.width=4", "model/start=noise", "model.steps=10", "model.step_size=0.1", "model.temperatures=50",
    "model.validation_temperatures=10",
]  # fmt: skip


def nats_in_pixels(model, x):
    """The bound once more: densities of the same chains on the scale of the integers, whose bins have volume one."""
    y = model.embed(x)
    nats = model.annealed(model.temperatures).log_weights(y)
    reals = (model.mean + model.std * y).double()
    p = torch.sigmoid(reals)
    slope = (1 - 2 * model.alpha) / (model.spec.levels * p * (1 - p))  # of the standardized reals, per pixel unit
    return nats + (slope / model.std.double()).log().sum(1)
