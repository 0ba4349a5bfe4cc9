"""GAN: the objectives against theory, the moves of the game."""

from __future__ import annotations

import math

import pytest
import torch
from torch import nn

from genmodels.core import DataSpec
from genmodels.core.abilities import DecodesLatent, HasObservation
from genmodels.core.quantization import from_symmetric, to_symmetric
from genmodels.models.gan import GAN, Hinge, Minimax, NonSaturating, WassersteinGP, input_gradient
from genmodels.networks import dcgan

TINY = ["model.latent_dim=4", "model.generator.width=8", "model.discriminator.width=8"]


def test_a_blind_discriminator_gives_minus_log_four_and_divergence_zero():
    zeros = torch.zeros(8, 1)
    assert Minimax().value(zeros, zeros).item() == pytest.approx(-math.log(4))
    assert Minimax().terms(zeros, zeros)["jsd"].item() == pytest.approx(0, abs=1e-6)


def test_a_perfect_discriminator_gives_divergence_log_two():
    assert Minimax().terms(torch.full((8, 1), 40.0), torch.full((8, 1), -40.0))["jsd"].item() == pytest.approx(
        math.log(2)
    )


@pytest.mark.parametrize("objective", [Minimax(), NonSaturating(), Hinge(), WassersteinGP()])
def test_players_pull_against_each_other(objective):
    fake = torch.zeros(4, 1, requires_grad=True)
    (d_pull,) = torch.autograd.grad(objective.discriminator(torch.zeros(4, 1), fake), fake)
    (g_pull,) = torch.autograd.grad(objective.generator(fake), fake)
    assert (d_pull > 0).all(), "the discriminator lowers fake scores"
    assert (g_pull < 0).all(), "the generator raises them"


def test_non_saturating_pulls_harder_where_the_discriminator_wins():
    fake = torch.full((1, 1), -8.0, requires_grad=True)
    (saturated,) = torch.autograd.grad(Minimax().generator(fake), fake)
    (strong,) = torch.autograd.grad(NonSaturating().generator(fake), fake)
    assert strong.abs() > 1000 * saturated.abs()


def test_input_gradient_of_a_linear_score_is_its_weight():
    network = nn.Linear(3, 1)
    gradient = input_gradient(network, torch.randn(5, 3))
    torch.testing.assert_close(gradient, network.weight.expand(5, 3))


def test_gradient_penalty_vanishes_for_slope_one_only():
    network = nn.Linear(2, 1)
    real, fake = torch.randn(4, 2), torch.randn(4, 2)
    for slope, expected in ((1.0, 0.0), (3.0, 40.0)):
        with torch.no_grad():
            network.weight.copy_(torch.tensor([[slope, 0.0]]))
        assert WassersteinGP(10.0).penalty(network, real, fake).item() == pytest.approx(expected, abs=1e-4)


def gan(**options):
    spec = DataSpec((1, 8, 8), 17)
    batch_norm = options.pop("batch_norm", False)
    return GAN(
        spec,
        4,
        lambda i, o: dcgan.generator(i, o, width=8),
        lambda i, o: dcgan.discriminator(i, o, width=8, batch_norm=batch_norm),
        options.pop("objective", NonSaturating()),
        torch.optim.Adam,
        torch.optim.Adam,
        **options,
    )


def test_penalties_enter_the_discriminators_loss():
    x = torch.randint(0, 17, (8, 1, 8, 8), dtype=torch.uint8)
    assert "r1" in gan(r1=10.0).discriminator_loss(x).terms
    assert "penalty" in gan(objective=WassersteinGP()).discriminator_loss(x).terms
    assert {"r1", "penalty"}.isdisjoint(gan().discriminator_loss(x).terms)


@pytest.mark.parametrize("options", [{"r1": 1.0}, {"objective": WassersteinGP()}])
def test_penalties_refuse_batch_statistics(options):
    with pytest.raises(ValueError, match="batch_norm=false"):
        gan(batch_norm=True, **options)


def test_a_second_penalty_is_refused():
    with pytest.raises(ValueError, match="r1 must be 0"):
        gan(r1=0.01, objective=WassersteinGP())


@pytest.mark.parametrize("shape", [(1, 8, 8), (3, 32, 32), (1, 7, 7)])
@pytest.mark.parametrize("batch_norm", [True, False])
def test_a_fully_connected_layer_is_put_in_where_it_is_asked_for(shape, batch_norm):
    def widths(network):
        return [m.out_features for m in network.modules() if isinstance(m, nn.Linear)]

    bare = dcgan.generator((5,), shape, width=8), dcgan.discriminator(shape, (1,), width=8, batch_norm=batch_norm)
    options = {"width": 8, "hidden": 24}
    full = dcgan.generator((5,), shape, **options), dcgan.discriminator(shape, (1,), batch_norm=batch_norm, **options)
    for without, network in zip(bare, full, strict=True):
        assert widths(network) == [24, *widths(without)]
    z = torch.randn(4, 5)
    assert full[1](full[0](z)).shape == (4, 1)
    normalized = sum(isinstance(m, nn.BatchNorm1d) for m in full[1].modules())
    assert normalized == (1 if batch_norm else 0)


def test_spectral_normalization_holds_the_largest_singular_value_at_one():
    torch.manual_seed(0)
    network = dcgan.discriminator((2,), (1,), width=8, spectral_norm=True)
    for _ in range(500):
        network(torch.randn(4, 2))
    weights = [m.weight for m in network.modules() if isinstance(m, nn.Linear)]
    for weight in weights:
        assert torch.linalg.matrix_norm(weight, 2).item() == pytest.approx(1.0, abs=0.02)


@pytest.mark.parametrize("levels", [2, 17, 256])
def test_location_puts_the_middle_of_each_levels_bin_on_that_level(levels):
    model = gan()
    model.spec, model.generator = DataSpec((levels,), levels), nn.Identity()
    x = torch.arange(levels, dtype=torch.uint8)[None]
    middle = (2 * x.float() + 1) / levels - 1
    assert torch.equal(model.decode(middle), x)
    torch.testing.assert_close(model.location(middle), to_symmetric(x, model.spec))


def test_location_is_what_decode_rounds():
    torch.manual_seed(0)
    model = gan().eval()
    assert isinstance(model, DecodesLatent)
    assert not isinstance(model, HasObservation)
    z = torch.randn(64, 4, requires_grad=True)
    location = model.location(z)
    levels = from_symmetric(location, model.spec).int()
    assert (levels - model.decode(z).int()).abs().max() <= 1
    assert (levels == model.decode(z)).float().mean() > 0.99
    (gradient,) = torch.autograd.grad(location.sum(), z)
    assert (gradient != 0).any(1).all()
    model.spec = DataSpec(model.spec.shape)
    assert torch.equal(model.location(z), model.decode(z))
