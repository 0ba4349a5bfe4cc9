"""Gradients are clipped by their norm before any scale, whoever removes the scale."""

from __future__ import annotations

from types import SimpleNamespace

import pytest
import torch
from torch import nn

from genmodels.models.base import Loss, Player, adopt_settings, make_optimizers
from genmodels.models.base.training import clip_norm


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


def stepped(**options):
    """Weights after three steps, and the optimizer that ``make_optimizers`` made."""
    torch.manual_seed(0)
    network = nn.Linear(3, 2)
    player = Player(network, lambda p: torch.optim.Adam(p, lr=0.1, **options), lambda x: Loss(network(x)))
    model = SimpleNamespace(players=lambda: [player], clip_norm=None, watches_gradients=False, gradient_norms={})
    (optimizer,) = make_optimizers(model)
    for x in torch.linspace(-1, 1, 36).view(3, 4, 3):
        network(x).square().sum().backward()
        optimizer.step()
        optimizer.zero_grad()
    return network.weight.detach().clone(), optimizer


def test_an_optimizer_is_fused_where_the_config_leaves_it_open():
    (open_, fused), (closed, plain), (chosen, foreach) = stepped(), stepped(fused=False), stepped(foreach=True)
    assert [o.param_groups[0]["fused"] for o in (fused, plain, foreach)] == [True, False, None]
    assert torch.allclose(open_, closed, atol=1e-6) and torch.allclose(open_, chosen, atol=1e-6)


def test_the_state_of_an_optimizer_that_was_not_fused_is_continued():
    (_, plain), (_, fused) = stepped(fused=False), stepped()
    fused.load_state_dict(plain.state_dict())
    configured = torch.optim.Adam(fused.param_groups[0]["params"], lr=0.1, fused=True)
    adopt_settings(fused, configured)
    assert fused.param_groups[0]["fused"] and all(float(state["step"]) == 3 for state in fused.state.values())
    fused.param_groups[0]["params"][0].grad = torch.ones(2, 3)
    fused.step()


@pytest.mark.parametrize("largest", [0.5, 1e6])
def test_norms_are_clipped_as_by_torch(largest):
    network = nn.Linear(3, 2)
    for p in network.parameters():
        p.grad = torch.arange(p.numel()).view_as(p) + 1.0
    expected = [p.grad.clone().requires_grad_() for p in network.parameters()]
    for p in expected:
        p.grad = p.detach().clone()
    norm = nn.utils.clip_grad_norm_(expected, largest)
    assert torch.equal(clip_norm(list(network.parameters()), largest), norm)
    for p, other in zip(network.parameters(), expected, strict=True):
        assert torch.equal(p.grad, other.grad)
