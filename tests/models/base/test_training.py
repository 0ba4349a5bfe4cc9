"""Gradients are clipped by their norm before any scale, whoever removes the scale."""

from __future__ import annotations

from types import SimpleNamespace

import pytest
import torch
from torch import nn

from genmodels.models.base import Loss, Player, make_optimizers


def trained(scale, fused, clip_norm=0.5, bad=False):
    """Weights after two steps of Adam on losses whose gradients are large, and the norms that were measured."""
    torch.manual_seed(0)
    network = nn.Linear(3, 2)
    player = Player(network, lambda p: torch.optim.Adam(p, lr=0.1, eps=0.1, fused=fused), lambda x: Loss(network(x)))
    model = SimpleNamespace(players=lambda: [player], clip_norm=clip_norm, watches_gradients=True, gradient_norms={})
    (optimizer,) = make_optimizers(model)
    scaler = torch.amp.GradScaler("cpu", init_scale=scale or 1.0, enabled=scale is not None)
    norms = []
    for x in (torch.full((4, 3), 5.0), torch.full((4, 3), -3.0)):
        scaler.scale(network(x).square().sum()).backward()
        if bad:
            network.weight.grad[0, 0] = torch.inf
        scaler.step(optimizer)
        scaler.update()
        optimizer.zero_grad()
        norms.append(float(model.gradient_norms[0]))
    return [p.detach().clone() for p in network.parameters()], norms


@pytest.mark.parametrize("fused", [False, True])
@pytest.mark.parametrize("clip_norm", [0.5, None])
def test_scaled_gradients_are_clipped_as_unscaled_ones(fused, clip_norm):
    plain, norms = trained(None, False, clip_norm)
    scaled, norms_under_scale = trained(2.0**16, fused, clip_norm)
    assert norms_under_scale == pytest.approx(norms)
    for a, b in zip(plain, scaled, strict=True):
        assert torch.allclose(a, b, atol=1e-6)


def test_a_step_with_infinite_gradients_is_skipped_by_a_fused_optimizer():
    before, _ = trained(2.0**16, True, bad=True)
    torch.manual_seed(0)
    assert torch.equal(before[0], nn.Linear(3, 2).weight)
