"""Coupling by an invertible matrix: its factors, its determinant, its diagonal case, a Gaussian that rotates."""

from functools import partial

import pytest
import torch
from models.flows import NORMAL, jacobians
from torch import nn

from genmodels.networks.mlp import coupling_mlp
from genmodels.transforms import BoundedAffine, ChannelCoupling, TriangularFactors

SHAPES = [((1,), 4), ((4,), 4), ((6,), 4), ((7,), 3), ((5,), 1), ((3, 2, 2), 4), ((5, 2, 3), 2)]  # of x, and block


@pytest.fixture(autouse=True)
def seed():
    torch.manual_seed(0)


def random_map(shape, block, batch=3):
    """The map with its scales away from one, and parameters for it, in float64."""
    factors = TriangularFactors(shape, block).double()
    nn.init.uniform_(factors.scale, 0.5, 1.5)
    return factors, torch.randn(batch, factors.params_per_dim, *shape).double()


def matrix(factors, params):
    """f as a dense ``[C, C]`` and log |det f|, for ``params [m + 1, C]`` of one position, entry by entry."""
    m, channels = factors.size, params.shape[1]
    lower, upper, s = torch.eye(channels).double(), torch.eye(channels).double(), torch.zeros(channels).double()
    for row in range(channels):
        first = row - row % m
        for column in range(first, min(first + m, channels)):
            entry = params[column - first, row]
            if column < row:
                lower[row, column] = entry
            elif column > row:
                upper[row, column] = entry
            else:
                s[row] = factors.scale[row].item() * entry.tanh()
    return lower @ s.exp().diag() @ upper, s.sum()


@pytest.mark.parametrize(("shape", "block"), SHAPES)
@torch.no_grad()
def test_it_is_the_product_of_the_factors_at_every_position_with_their_determinant(shape, block):
    factors, params = random_map(shape, block)
    x = torch.randn(3, *shape).double()
    z, terms = factors.encode(x, params)
    x, z, terms = (tensor.reshape(3, shape[0], -1) for tensor in (x, z, terms))
    params = params.reshape(3, -1, *x.shape[1:])
    for i in range(3):
        for position in range(x.shape[2]):
            f, log_det = matrix(factors, params[i, :, :, position])
            t = params[i, -1, :, position]
            torch.testing.assert_close(z[i, :, position], f @ x[i, :, position] + t, atol=1e-12, rtol=1e-12)
            torch.testing.assert_close(terms[i, :, position].sum(), log_det, atol=1e-12, rtol=1e-12)
            torch.testing.assert_close(torch.linalg.slogdet(f).logabsdet, log_det, atol=1e-12, rtol=1e-12)


@pytest.mark.parametrize(("shape", "block"), SHAPES)
@torch.no_grad()
def test_without_entries_off_the_diagonal_it_is_the_affine_map(shape, block):
    factors, params = random_map(shape, block)
    affine = BoundedAffine(shape).double()
    affine.load_state_dict(factors.state_dict())
    rows = torch.arange(shape[0]) % factors.size
    raw = params[:, rows, torch.arange(shape[0])]
    params[:, :-1] = 0.0
    params[:, rows, torch.arange(shape[0])] = raw
    x, two = torch.randn(3, *shape).double(), torch.stack([raw, params[:, -1]], dim=1)
    for ours, its in zip(factors.encode(x, params), affine.encode(x, two), strict=True):
        torch.testing.assert_close(ours, its, atol=1e-14, rtol=1e-14)
    torch.testing.assert_close(factors.decode(x, params), affine.decode(x, two), atol=1e-14, rtol=1e-14)


@pytest.mark.parametrize(("shape", "block"), SHAPES)
@torch.no_grad()
def test_zero_parameters_are_the_identity(shape, block):
    factors, params = random_map(shape, block)
    x = torch.randn(3, *shape).double()
    z, terms = factors.encode(x, torch.zeros_like(params))
    assert torch.equal(z, x) and not terms.any()


def test_determinant_of_the_coupling_is_that_of_the_matrix_whatever_it_depends_on():
    """``[[I, 0], [*, f(x_1)]]``."""
    network = nn.Sequential(nn.Linear(4, 20), nn.Tanh(), nn.Linear(20, 12))
    coupling = ChannelCoupling((7,), lambda *shapes: network, 0, partial(TriangularFactors, block=4)).double()
    assert coupling.map.size == 3  # all dimensions that move
    x = torch.randn(10, 7).double()
    jacobian = jacobians(coupling, x)
    f = jacobian[:, 4:, 4:]
    torch.testing.assert_close(jacobian[:, :4], torch.eye(7).double()[:4].expand(10, -1, -1), atol=0, rtol=0)
    assert jacobian[:, 4:, :4].abs().min() > 0 and (f - f[0]).abs().max() > 0.01
    for log_det in (torch.linalg.slogdet(f).logabsdet, torch.linalg.slogdet(jacobian).logabsdet):
        torch.testing.assert_close(coupling(x)[1], log_det, atol=1e-12, rtol=1e-12)


STD = torch.tensor([2.0, 0.5])


def covariance(stays):
    """``R(θ) diag(std²) R(θ)ᵀ [B, 2, 2]``, which turns by the angle ``θ = x_1 + x_2``."""
    angle = stays.sum(1)
    rotation = torch.stack([angle.cos(), -angle.sin(), angle.sin(), angle.cos()], dim=1).unflatten(1, (2, 2))
    return rotation @ (STD.to(stays) ** 2).diag() @ rotation.mT


def draw(n):
    """``x [n, 4]``: two standard normal dimensions, and two Gaussian ones whose covariance turns with these."""
    stays = torch.randn(n, 2)
    return torch.cat([stays, torch.distributions.MultivariateNormal(torch.zeros(2), covariance(stays)).sample()], dim=1)


def log_prob(x):
    """Log-density of :func:`draw`."""
    moves = torch.distributions.MultivariateNormal(torch.zeros(2).to(x), covariance(x[:, :2]))
    return NORMAL.log_prob(x[:, :2]).sum(1) + moves.log_prob(x[:, 2:])


class Whitening(nn.Module):
    """The rows of the upper triangular f(x_1) with ``fᵀ f = covariance⁻¹``, as parameters of the map."""

    def forward(self, stays):
        f = torch.linalg.cholesky(torch.linalg.inv(covariance(stays))).mT
        (a, b), (_, d) = f.permute(1, 2, 0)
        zero = torch.zeros_like(a)
        return torch.stack([torch.atanh(a.log() / 2), zero, b / a, torch.atanh(d.log() / 2), zero, zero], dim=1)


def density(coupling, x):
    z, log_det = coupling(x)
    return NORMAL.log_prob(z).sum(1) + log_det


def test_a_gaussian_that_turns_is_one_matrix_coupling():
    coupling = ChannelCoupling((4,), lambda *shapes: Whitening(), 0, TriangularFactors).double()
    nn.init.constant_(coupling.map.scale, 2.0)
    x = draw(100).double()
    torch.testing.assert_close(density(coupling, x), log_prob(x), atol=1e-10, rtol=1e-10)


def test_a_gaussian_that_turns_is_learned_by_one_matrix_coupling_and_by_no_affine_one():
    """The best diagonal law has the true variances, at a divergence of ``½ E log(Σ_11 Σ_22 / det Σ)``."""
    sigma = covariance(torch.randn(100_000, 2))
    least = 0.5 * (sigma[:, 0, 0] * sigma[:, 1, 1] / torch.linalg.det(sigma)).log().mean().item()
    assert least > 0.3
    test, found = draw(5000), {}
    for conditional_map in (TriangularFactors, BoundedAffine):
        coupling = ChannelCoupling((4,), partial(coupling_mlp, width=64), 0, conditional_map)
        optimizer = torch.optim.Adam(coupling.parameters(), lr=5e-3)
        scheduler = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, 600)
        for _ in range(600):
            optimizer.zero_grad()
            (-density(coupling, draw(256)).mean()).backward()
            optimizer.step()
            scheduler.step()
        with torch.no_grad():
            found[conditional_map] = (log_prob(test) - density(coupling, test)).mean().item()
    assert found[TriangularFactors] < 0.1
    assert found[BoundedAffine] == pytest.approx(least, abs=0.1)


def test_a_block_without_channels_is_refused():
    with pytest.raises(ValueError, match=r"^block must"):
        TriangularFactors((4,), block=0)
