"""Normal scores of integers: bins have the data's frequencies, and densities become masses."""

from __future__ import annotations

import math

import pytest
import torch

from genmodels.core.normal_scores import PSEUDO, NormalScores


def fitted(levels=256, n=300, dims=20):
    """Scores of columns of all kinds: constant, two values at the ends, everything."""
    torch.manual_seed(0)
    x = torch.randint(levels, (n, dims)).byte()
    x[:, 0], x[:, 1], x[:, 2] = 0, levels - 1, (levels - 1) * (x[:, 2] % 2)
    scores = NormalScores(dims, levels)
    scores.fit(x)
    return scores, x


@pytest.mark.parametrize("levels", [2, 3, 256])
def test_integers_come_back_also_those_that_were_never_seen(levels):
    scores, x = fitted(levels)
    for each in (x, torch.randint(levels, (2000, 20)).byte()):
        z = scores.encode(each)
        assert z.dtype == torch.float32 and z.isfinite().all() and scores.log_volume(z).isfinite().all()
        assert (scores.decode(z) != each).double().mean() < 1e-4  # float32 may round a score across an edge


def test_scores_of_the_data_are_standard_normal():
    scores, x = fitted(3, 20_000)
    z = scores.encode(x)
    assert z.mean(0).abs().max() < 0.04 and (z.std(0) - 1).abs().max() < 0.04
    for order in (3, 4):
        torch.testing.assert_close(
            z.double().pow(order).mean(0)[2:], torch.full((18,), [0.0, 3.0][order - 3]).double(), atol=0.3, rtol=0
        )


def test_the_density_of_a_normal_becomes_the_frequency_of_the_level():
    scores, x = fitted(3, 50, 3)
    counts = (x[:, :, None] == torch.arange(3)).sum(0) + PSEUDO
    frequencies = counts / (len(x) + 3 * PSEUDO)
    for level in range(3):
        z = scores.encode(torch.full((1, 3), level))
        found = scores.log_volume(z) - 0.5 * z.square() - 0.5 * math.log(2 * math.pi)
        torch.testing.assert_close(found[0].exp(), frequencies[:, level])


def test_masses_of_another_density_sum_to_one():
    """``E_q[p(z)/φ(z)] p(x)`` of all levels, for p a shifted, narrower normal, is what the normal has in their bins."""
    scores, _ = fitted(3, 50)
    law = torch.distributions.Normal(0.4, 0.7)
    z = scores.encode(torch.arange(3).repeat_interleave(100_000)[:, None].expand(-1, 20))
    masses = (law.log_prob(z) + scores.log_volume(z)).exp().view(3, -1, 20).mean(1)
    edges = torch.special.ndtri(scores.cumulative).float()
    torch.testing.assert_close(masses.T, law.cdf(edges).diff(), atol=0.005, rtol=0)


def test_dequantized_values_are_those_of_the_bins_and_have_their_slope():
    scores, x = fitted(17, 2000)
    z = scores.encode(x).clamp(-3.9, 3.9)
    value = scores.dequantized(z)
    assert ((17 * value).floor().clamp(max=16) != x)[
        :, 3:
    ].double().mean() < 0.2  # of the table's, where bins are narrow
    assert (17 * value - x - 0.5)[:, 1:].abs().mean() < 0.6
    line = torch.linspace(-6, 6, 4001)[:, None].expand(-1, 20)
    assert (scores.dequantized(line).diff(dim=0) >= 0).all()
    assert scores.dequantized(line[[0, -1]]).min() >= 0 and scores.dequantized(line[[0, -1]]).max() <= 1
    assert scores.dequantized(torch.full((1, 20), math.nan)).isnan().all()  # of chains that have diverged
    inside = (torch.randint(-30, 30, (50, 20)) + 0.5 + 0.2 * torch.rand(50, 20)) / 8  # not across a knot
    inside.requires_grad_()
    (slope,) = torch.autograd.grad(scores.dequantized(inside).sum(), inside)
    with torch.no_grad():
        found = (scores.dequantized(inside + 0.01) - scores.dequantized(inside - 0.01)) / 0.02
    torch.testing.assert_close(slope, found, atol=1e-3, rtol=1e-2)
