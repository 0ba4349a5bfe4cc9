"""The official files, as the configuration reads them: counts and facts that are known of them."""

import numpy as np
import pytest
import torch
from hydra.utils import instantiate

from genmodels.launch import compose

pytestmark = pytest.mark.realdata


def load(name, root):
    data = instantiate(compose([f"data={name}", f"data.root={root}"]).data)
    data.setup()
    return data


def mean(x):
    return x.numpy().mean((0, 2, 3), dtype=np.float64)


def test_mnist(real_data):
    data = load("mnist", real_data)
    official = data.source.load(data.root)
    x, labels = official.train, official.train_labels
    assert x.shape == (60_000, 1, 28, 28) and data.split("test").shape == (10_000, 1, 28, 28)
    assert len(data.split("train")) == 54_000 and len(data.split("val")) == 6_000
    assert labels[:8].tolist() == [5, 0, 4, 1, 9, 2, 1, 3]
    assert labels.bincount().tolist() == [5923, 6742, 5958, 6131, 5842, 5421, 5918, 6265, 5851, 5949]
    assert mean(x).item() == pytest.approx(33.318, abs=1e-3)  # 0.1307 of 255


def test_fashion_mnist(real_data):
    data = load("fashion_mnist", real_data)
    both = torch.cat([data.labels("train"), data.labels("val")])
    assert both.bincount().tolist() == [6000] * 10 and data.labels("test").bincount().tolist() == [1000] * 10
    assert mean(torch.cat([data.split("train"), data.split("val")])).item() == pytest.approx(72.940, abs=1e-3)


def test_cifar10(real_data):
    data = load("cifar10", real_data)
    x = torch.cat([data.split("train"), data.split("val")])
    assert x.shape == (50_000, 3, 32, 32) and data.split("test").shape == (10_000, 3, 32, 32)
    assert torch.cat([data.labels("train"), data.labels("val")]).bincount().tolist() == [5000] * 10
    assert (mean(x) / 255).tolist() == pytest.approx([0.4914, 0.4822, 0.4465], abs=1e-4)
    assert next(iter(data.train_dataloader())).shape == (128, 3, 32, 32)


def test_binarized_mnist(real_data):
    if not (real_data / "binarized_mnist").is_dir():
        pytest.skip(f"{real_data} has no binarized_mnist")
    data = load("binarized_mnist", real_data)
    assert [len(data.split(name)) for name in ("train", "val", "test")] == [50_000, 10_000, 10_000]
    assert data.split("train").shape[1:] == (1, 28, 28) and data.split("train").unique().tolist() == [0, 1]
    assert mean(data.split("test")).item() == pytest.approx(0.1327, abs=5e-4)
