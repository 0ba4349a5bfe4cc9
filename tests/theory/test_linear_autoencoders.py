"""Linear autoencoders find principal components: a squared error those of PCA, an evidence bound those of PPCA."""

from __future__ import annotations

from functools import partial

import pytest
import torch
from sklearn.decomposition import PCA
from torch import nn
from torch.distributions import MultivariateNormal

from genmodels.core import DataSpec
from genmodels.core.observation import SphericalNoise
from genmodels.core.quantization import to_symmetric
from genmodels.data.sources import Digits
from genmodels.metrics.reconstruction import principal_components
from genmodels.models.ae import AE
from genmodels.models.vae import VAE
from genmodels.networks.mlp import fully_connected

DIGITS = DataSpec((1, 8, 8), 17)


@pytest.fixture(scope="module")
def digits(tmp_path_factory):
    """Training images of the digits, raw ``[N, 1, 8, 8]``."""
    return Digits().load(tmp_path_factory.mktemp("root")).train


class Double(nn.Module):
    def forward(self, x):
        return x.double()


def in_float64(in_shape, out_shape):
    """An affine network that computes in float64, of whatever it is given."""
    return nn.Sequential(Double(), fully_connected(in_shape, out_shape, depth=0).double())


def minimized(model, x):
    """The least loss on ``x`` of an autoencoder trained on all of it at once."""
    settings = {
        "tolerance_grad": 1e-12,
        "tolerance_change": 1e-16,
        "history_size": 50,
        "line_search_fn": "strong_wolfe",
    }
    optimizer = torch.optim.LBFGS([*model.encoder.parameters(), *model.decoder.parameters()], max_iter=3000, **settings)

    def closure():
        optimizer.zero_grad()
        loss = model.loss(x).total
        loss.backward()
        return loss

    optimizer.step(closure)
    return model.loss(x).total.item()


@pytest.fixture(scope="module")
def points():
    """Correlated real vectors ``[500, 8]``, whose covariance has separate eigenvalues, and which are not centered."""
    generator = torch.Generator().manual_seed(0)
    x = torch.randn(500, 8, generator=generator) * 2.0 ** -torch.arange(8)
    return x @ torch.linalg.qr(torch.randn(8, 8, generator=generator))[0] + 1.0


@pytest.mark.slow
@pytest.mark.parametrize("k", [1, 3])
def test_the_linear_autoencoder_is_principal_component_analysis(points, k):
    """Its loss is the sum of the discarded eigenvalues, its decoder spans the eigenvectors that are kept."""
    torch.manual_seed(0)
    model = AE(DataSpec((8,)), k, in_float64, in_float64, partial(torch.optim.Adam, lr=1e-3))
    loss = minimized(model, points)
    pca = PCA(svd_solver="full").fit(points.double().numpy())
    eigenvalues = torch.tensor(pca.explained_variance_) * (len(points) - 1) / len(points)
    assert loss == pytest.approx(eigenvalues[k:].sum().item() / 8, abs=1e-6)
    span = torch.linalg.qr(model.decoder[1][1].weight.detach())[0]
    cosines = torch.linalg.svdvals(torch.tensor(pca.components_[:k]) @ span)
    assert (1 - cosines.square()).clamp(min=0).sqrt().max() < 1e-4  # sines of the principal angles


def probabilistic_pca(x, k):
    """The VAE of affine maps at the maximum likelihood of probabilistic PCA (Tipping & Bishop 1999, eq. 7-8).

    ``x = W z + μ + σ ε`` with ``W = U (Λ - σ²)^½`` and σ² the mean of the discarded eigenvalues. The columns of W are
    orthogonal, so that the posterior is a diagonal Gaussian: mean ``M⁻¹ Wᵀ (x - μ)``, covariance ``σ² M⁻¹`` with the
    diagonal ``M = Wᵀ W + σ² I``.
    """
    mean, covariance = x.mean(0), torch.cov(x.double().T, correction=0)
    variances, axes = torch.linalg.eigh(covariance)
    variances, axes = variances.flip(0), axes.flip(1)
    noise = variances[k:].mean()
    weight = axes[:, :k] * (variances[:k] - noise).sqrt()
    encoder, decoder = nn.Linear(x.shape[1], 2 * k), nn.Linear(k, x.shape[1])
    with torch.no_grad():
        decoder.weight.copy_(weight)
        decoder.bias.copy_(mean)
        inverse = weight.T / variances[:k, None]
        encoder.weight.copy_(torch.cat([inverse, torch.zeros(k, x.shape[1])]))
        encoder.bias.copy_(torch.cat([-inverse @ mean.double(), (noise / variances[:k]).log() / 2]))
    observation = partial(SphericalNoise, sigma=noise.sqrt().item())
    adam = partial(torch.optim.Adam, lr=1e-3)
    model = VAE(DataSpec((x.shape[1],)), k, lambda *_: encoder, lambda *_: decoder, observation, adam, draws=200)
    law = MultivariateNormal(mean.double(), weight @ weight.T + noise * torch.eye(x.shape[1]))
    return model, law


@torch.no_grad()
def test_the_bound_of_a_linear_vae_is_tight_at_the_maximum_likelihood_of_probabilistic_pca(points):
    model, law = probabilistic_pca(points, 3)
    exact = law.log_prob(points.double())
    torch.manual_seed(0)
    log_weights = model.log_weights(points, 3)  # each is log p(x) if q(z|x) is the posterior
    torch.testing.assert_close(log_weights, exact.float().expand(3, -1), atol=1e-3, rtol=0)


def test_there_the_loss_of_a_linear_vae_has_no_gradient_and_elsewhere_it_is_larger(points):
    """The gradient at 200 draws for each example is noise: none is found beyond five standard errors."""
    model, law = probabilistic_pca(points, 3)
    parameters = dict(model.named_parameters())
    assert set(parameters) == {
        "observation.log_sigma",
        *(f"{n}coder.{p}" for n in ("en", "de") for p in ("weight", "bias")),
    }
    torch.manual_seed(0)
    gradients = [torch.autograd.grad(model.loss(points).total, list(parameters.values())) for _ in range(20)]
    for drawn in zip(*gradients, strict=True):
        found = torch.stack(drawn)
        error = found.std(0) / len(found) ** 0.5
        assert (found.mean(0).abs() < 5 * error + 1e-5).all()
    best = -law.log_prob(points.double()).mean().item() / 8
    with torch.no_grad():
        assert model.loss(points).total.item() == pytest.approx(best, abs=0.005)
        for name, parameter in parameters.items():
            parameter.add_(0.2)
            assert model.loss(points).total.item() > best + 0.005, name
            parameter.sub_(0.2)


def test_a_linear_vae_is_trained_to_the_principal_subspace_and_the_noise_of_probabilistic_pca(points):
    torch.manual_seed(0)
    affine = partial(fully_connected, depth=0)
    model = VAE(DataSpec((8,)), 2, affine, affine, partial(SphericalNoise, sigma=1.0), torch.optim.Adam, draws=4)
    optimizer = torch.optim.Adam(model.parameters(), lr=0.02)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, 1500)
    for _ in range(1500):
        optimizer.zero_grad()
        model.loss(points).total.backward()
        optimizer.step()
        schedule.step()
    _, law = probabilistic_pca(points, 2)
    weight = model.decoder[1].weight.detach().double()
    covariance = weight @ weight.T + (2 * model.observation.log_sigma.detach().double()).exp() * torch.eye(8)
    torch.testing.assert_close(covariance, law.covariance_matrix, atol=0.03, rtol=0)
    with torch.no_grad():
        bound = model.log_likelihood(points.repeat(20, 1)).nats.mean().item()
    assert bound == pytest.approx(law.log_prob(points.double()).mean().item(), abs=0.05)


def test_the_yardstick_of_the_metric_is_principal_component_analysis(digits):
    x = to_symmetric(digits, DIGITS).flatten(1).double()
    found, pca = principal_components(digits, DIGITS), PCA(svd_solver="full").fit(x.numpy())
    scale = (len(x) - 1) / len(x)
    torch.testing.assert_close(found.variances, torch.tensor(pca.explained_variance_) * scale, atol=1e-12, rtol=0)
    cosines = (found.axes.T[:32] * torch.tensor(pca.components_[:32])).sum(1).abs()
    torch.testing.assert_close(cosines, torch.ones(32).double(), atol=1e-9, rtol=0)
