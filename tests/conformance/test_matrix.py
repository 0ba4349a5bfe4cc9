"""Every model on every kind of data set, as configured, and every data set with one model."""

from __future__ import annotations

from functools import lru_cache

import numpy as np
import pytest
import torch
from conformance.kinds import MODELS
from conformance.test_conformance import losses
from PIL import Image

from genmodels.builder import build
from genmodels.data import DataModule
from genmodels.launch import compose, options
from genmodels.models.base import BaseModel

ON_DISK = {"mnist", "fashion_mnist", "cifar10", "binarized_mnist"}
USERS_OWN = {"image_folder", "npz"}
COLOR = "data.spec.shape=[3,32,32]"
ALIKE = {
    **dict.fromkeys(("checkerboard", "mixture", "moons", "swiss_roll"), "data=gaussian"),
    "fashion_mnist": "data=mnist",
    "cifar10": f"data=image_folder data.source.path=x {COLOR}",
}
"""Data of the shape and the levels of others, which are all that a model sees of data: one model is enough here."""
ANY = "vae"
SHORT = {"ebm": ["model.temperatures=50"], "nonequilibrium": ["model.schedule.steps=50"]}
"""Chains on large images, whose length has nothing to do with the data; on others they have their usual length."""
LARGE = 28 * 28
BY_DEPTH = ("gan", "ddpm", "realnvp")  # one for each kind of network whose depth follows from the size of images


def pairs(data):
    """A model and a data set: every model, or one model on data that are like others."""
    return [(name, each) for each in sorted(data) for name in (MODELS if each not in ALIKE else [ANY])]


@lru_cache(maxsize=1)
def first(*overrides):
    """The data's spec and four examples, read once for all models in turn."""
    data = build(compose(list(overrides)).data, "data", DataModule)
    x = data.first_train(4).clone()
    data.spec.check(x)
    return data.spec, x


def assert_runs(name, *overrides):
    """Check that a model of default size has a finite loss and gradient, and draws samples."""
    spec, x = first(*overrides)
    short = SHORT.get(name, []) if spec.dims >= LARGE else []
    model = build(compose([f"model={name}", *overrides, *short]).model, "model", BaseModel)
    assert model.spec == spec
    model.initialize(x)
    for total, parameters in losses(model, x):
        assert torch.isfinite(total)
        total.backward(inputs=parameters)
    with torch.no_grad():
        spec.check(model.eval().sample(2))


@pytest.mark.slow
@pytest.mark.parametrize(("name", "data"), pairs(set(options("data")) - ON_DISK - USERS_OWN))
def test_embedded_and_synthetic(name, data):
    assert_runs(name, f"data={data}")


@pytest.mark.slow
@pytest.mark.realdata
@pytest.mark.parametrize(("name", "data"), pairs(ON_DISK))
def test_real(name, data, real_data):
    assert_runs(name, f"data={data}", f"data.root={real_data}")


@pytest.mark.parametrize("data", ALIKE)
def test_data_that_are_alike_have_the_same_shape_and_levels(data):
    found, other = (compose(words.split()).data.spec for words in (f"data={data}", ALIKE[data]))
    assert found.shape == other.shape and found.levels == other.levels


@pytest.fixture(scope="module")
def pictures(tmp_path_factory):
    """A folder of images, none of which is a square."""
    folder = tmp_path_factory.mktemp("pictures") / "images"
    folder.mkdir()
    pixels = np.random.default_rng(0).integers(0, 256, (20, 70, 66, 3), dtype=np.uint8)
    for index, image in enumerate(pixels):
        Image.fromarray(image).save(folder / f"{index}.png")
    return ["data=image_folder", f"data.source.path={folder}", f"data.root={folder.parent}"]


@pytest.mark.slow
@pytest.mark.parametrize("name", MODELS)
def test_a_folder_of_images(name, pictures):
    assert_runs(name, *pictures, COLOR)


@pytest.mark.slow
@pytest.mark.parametrize("name", BY_DEPTH)
def test_a_folder_of_images_of_the_usual_size(name, pictures):
    assert_runs(name, *pictures)


@pytest.fixture(scope="module")
def archive(tmp_path_factory):
    """An archive of vectors of reals."""
    file = tmp_path_factory.mktemp("archive") / "x.npz"
    np.savez(file, x=np.random.default_rng(0).normal(size=(40, 5)).astype(np.float32))
    return ["data=npz", f"data.source.path={file}", "data.spec.shape=[5]"]


@pytest.mark.slow
@pytest.mark.parametrize("name", MODELS)
def test_an_archive(name, archive):
    assert_runs(name, *archive)
