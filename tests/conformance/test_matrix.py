"""Every model on every data set, as configured, without other overrides."""

from __future__ import annotations

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


def assert_runs(name, overrides):
    """Check that a model of default size has a finite loss and gradient, and draws samples."""
    config = compose([f"model={name}", *overrides])
    data = build(config.data, "data", DataModule)
    model = build(config.model, "model", BaseModel)
    x = data.first_train(4)
    data.spec.check(x)
    model.initialize(x)
    for total, parameters in losses(model, x):
        assert torch.isfinite(total)
        total.backward(inputs=parameters)
    with torch.no_grad():
        data.spec.check(model.eval().sample(2))


@pytest.mark.parametrize("data", sorted(set(options("data")) - ON_DISK - USERS_OWN))
@pytest.mark.parametrize("name", MODELS)
def test_embedded_and_synthetic(name, data):
    assert_runs(name, [f"data={data}"])


@pytest.mark.realdata
@pytest.mark.parametrize("data", sorted(ON_DISK))
@pytest.mark.parametrize("name", MODELS)
def test_real(name, data, real_data):
    assert_runs(name, [f"data={data}", f"data.root={real_data}"])


@pytest.mark.parametrize("name", MODELS)
def test_a_folder_of_images(name, tmp_path):
    folder = tmp_path / "images"
    folder.mkdir()
    pixels = np.random.default_rng(0).integers(0, 256, (20, 70, 66, 3), dtype=np.uint8)
    for index, image in enumerate(pixels):
        Image.fromarray(image).save(folder / f"{index}.png")
    assert_runs(name, ["data=image_folder", f"data.source.path={folder}", f"data.root={tmp_path}"])


@pytest.mark.parametrize("name", MODELS)
def test_an_archive(name, tmp_path):
    array = tmp_path / "x.npz"
    np.savez(array, x=np.random.default_rng(0).normal(size=(40, 5)).astype(np.float32))
    assert_runs(name, ["data=npz", f"data.source.path={array}", "data.spec.shape=[5]"])
