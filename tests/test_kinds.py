"""Defaults for vectors leave those for images alone."""

from __future__ import annotations

import pytest

from genmodels.composition import compose


@pytest.mark.parametrize(("data", "rate", "share"), [("digits", 3e-3, 0.0), ("checkerboard", 1e-3, 0.3)])
def test_the_weight_of_the_kl_divergence_rises_on_vectors_alone(data, rate, share):
    config = compose(["model=vae", f"data={data}"])
    assert (config.model.optimizer.lr, config.callbacks.kl.share) == (rate, share)


def test_a_shape_that_is_none_is_left_to_the_model():
    assert compose(["model=vae", "data.spec.shape=3"]).model.optimizer.lr == 3e-3
