"""What energy models share: the scale on which their chains run, and when their training has diverged."""

from __future__ import annotations

import pytest
import torch
from conformance.kinds import KINDS, examples, model_on, trainer_of

from genmodels.core import DataSpec


@pytest.mark.parametrize("scale", [1e-8, 1e-4, 1e4])
@pytest.mark.parametrize("name", ["rbm", "ebm"])
def test_reals_of_any_scale_are_standardized_and_a_constant_is_only_shifted(name, scale):
    torch.manual_seed(0)
    model = model_on(name, DataSpec((2,)))
    x = torch.stack([scale * (5 + torch.randn(500)), torch.full((500,), 0.1)], 1)
    model.initialize(x)
    y = model.embed(x)
    assert y[:, 0].mean().item() == pytest.approx(0, abs=1e-3) and y[:, 0].std().item() == pytest.approx(1, abs=1e-2)
    assert y[:, 1].abs().max() < 1e-6


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("name", ["rbm", "rbm beyond enumeration", "ebm"])
def test_a_rate_out_of_all_proportion_is_seen_in_the_loss(name, kind):
    """An energy that is linear in weights stays finite at any of them."""
    model, x = model_on(name, KINDS[kind]), examples(KINDS[kind], 16)
    model.initialize(x)
    found = {}
    for rate in (1e-3, 1e30):
        step = trainer_of(model, rate)
        found[rate] = [abs(loss.total.item()) < model.largest_loss for _ in range(5) for loss in step(x)]
    assert all(found[1e-3]) and not all(found[1e30])
