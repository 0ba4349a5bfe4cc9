"""Defaults for vectors leave those for images alone."""

from __future__ import annotations

import pytest

from genmodels.composition import compose


@pytest.mark.parametrize(("data", "rate", "share"), [("digits", 3e-3, 0.0), ("checkerboard", 1e-3, 0.3)])
def test_the_weight_of_the_kl_divergence_rises_on_vectors_alone(data, rate, share):
    config = compose(["model=vae", f"data={data}"])
    assert (config.model.optimizer.lr, config.callbacks.kl.share) == (rate, share)


@pytest.mark.parametrize(
    ("data", "rates", "betas", "r1"),
    [("digits", (4e-4, 4e-4), [0.5, 0.999], 0.0), ("checkerboard", (4e-3, 1e-3), [0.0, 0.99], 0.01)],
)
def test_the_gan_of_vectors_has_other_optimizers_and_a_penalty(data, rates, betas, r1):
    model = compose(["model=gan", f"data={data}"]).model
    assert (model.optimizer.lr, model.discriminator_optimizer.lr) == rates
    assert model.optimizer.betas == model.discriminator_optimizer.betas == betas and model.r1 == r1


def test_a_rate_of_the_generator_is_that_of_the_discriminator_on_images():
    model = compose(["model=gan", "data=digits", "model.optimizer.lr=1e-3"]).model
    assert model.discriminator_optimizer.lr == 1e-3


def test_a_shape_that_is_none_is_left_to_the_model():
    assert compose(["model=vae", "data.spec.shape=3"]).model.optimizer.lr == 3e-3
