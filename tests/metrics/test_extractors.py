"""Feature networks: frozen, independent of the model's precision, and identified by their weights."""

from pathlib import Path
from types import SimpleNamespace

import pytest
import torch
import torch.nn.functional as F

from genmodels.core import DataSpec
from genmodels.files import sha256
from genmodels.metrics import InceptionV3, InDomainClassifier, classifier_files
from genmodels.metrics.extractors import UnsuitableError, tf1_bilinear
from genmodels.metrics.train_classifier import accuracy, examples, read


def described(name, shape, levels, root=Path("unused"), labels=None):
    return SimpleNamespace(name=name, spec=DataSpec(shape, levels), root=root, labels=lambda _: labels)


STORED = [[0.056105, 0.309383, 0.025003, 0.0], [0.254940, 0.593208, 0.079345, 0.006324]]
"""The first four Inception features of a ramp over all levels and of its negative, computed once on a CPU."""

DIGITS = described("digits", (1, 8, 8), 17)


@pytest.mark.slow
@pytest.mark.parametrize(
    "name",
    [
        "digits",
        *(pytest.param(name, marks=pytest.mark.realdata) for name in ("mnist", "fashion_mnist")),
        pytest.param("cifar10", marks=[pytest.mark.realdata, pytest.mark.exhaustive]),
    ],
)
def test_shipped_classifier_is_as_accurate_as_it_says(name, request):
    root = None if name == "digits" else request.getfixturevalue("real_data")
    shipped = classifier_files.read(classifier_files.file_of(name, Path("unused")))
    measured = accuracy(shipped.network, *examples(read(name, root), "test"))
    assert measured == pytest.approx(shipped.test_accuracy, abs=3e-4)
    assert measured > {"digits": 0.975, "mnist": 0.992, "fashion_mnist": 0.91, "cifar10": 0.88}[name]


PUBLISHED = {
    "digits": "f1a20d6850c09f89c8af67f6e467fcc3f915a9271fd0056af8ef1df5c25b32ba",
    "mnist": "6205730362fe2ed65be6201f815b9bb718d1e3a01c6d818c6d9d5b533b7cade3",
    "fashion_mnist": "e41f60ccee89332e41e92eaf419d8bfb1fd3c6b539c4df24cae482c102d83f4b",
}


@pytest.mark.parametrize("name", PUBLISHED)
def test_the_files_of_published_scores_stay_as_they_are(name):
    path = classifier_files.file_of(name, Path("unused"))
    assert sha256(path) == PUBLISHED[name] and classifier_files.read(path).label_smoothing == 0.1


def test_features_are_float32_without_gradient_under_autocast_and_for_any_batch():
    extractor = InDomainClassifier(DIGITS)
    x = torch.randint(17, (5, 1, 8, 8), dtype=torch.uint8)
    expected = extractor(x)
    with torch.autocast("cpu"):
        features = extractor(x)
    assert torch.equal(features, expected)
    assert features.shape == (5, extractor.dims) and features.dtype == torch.float32
    assert not features.requires_grad and not extractor.network.training
    torch.testing.assert_close(features[:1], extractor(x[:1]), rtol=1e-5, atol=1e-5)


def test_data_without_a_classifier_are_refused():
    with pytest.raises(UnsuitableError, match=r"'faces'.*without labels use metrics=\[fid\]"):
        InDomainClassifier(described("faces", (3, 32, 32), 256))
    with pytest.raises(
        UnsuitableError, match=r"no unused/extractors/pets\.safetensors.* genmodels extractor data\.name=pets"
    ):
        InDomainClassifier(described("pets", (3, 32, 32), 256, labels=torch.zeros(9)))
    with pytest.raises(UnsuitableError, match="'moons'"):
        InDomainClassifier(described("moons", (2,), None))
    with pytest.raises(UnsuitableError, match="17"):
        InDomainClassifier(described("digits", (1, 8, 8), 2))


@pytest.mark.parametrize("size", [8, 32, 64, 400])
def test_resize_is_tensorflow_ones(size):
    """Output pixel i is at position i H / 299; for ``grid_sample`` pixel p is at (2 p + 1) / H - 1."""
    x = torch.rand(2, 3, size, size, dtype=torch.float64) * 255
    line = (2 * torch.arange(299, dtype=torch.float64) * size / 299 + 1) / size - 1
    grid = torch.stack(torch.meshgrid(line, line, indexing="xy"), dim=2).expand(2, -1, -1, -1)
    expected = F.grid_sample(x, grid, padding_mode="border", align_corners=False)
    torch.testing.assert_close(tf1_bilinear(x, 299), expected)


def test_resize_by_hand():
    x = torch.tensor([[0.0, 4.0]]).reshape(1, 1, 1, 2)
    assert tf1_bilinear(x, 4)[0, 0].tolist() == [[0.0, 2.0, 4.0, 4.0]] * 4


def test_inception_refuses_vectors(tmp_path):
    with pytest.raises(UnsuitableError, match="images"):
        InceptionV3(described("moons", (2,), None, tmp_path))


@pytest.mark.realdata
def test_inception_features_of_fixed_images(real_data):
    ramp = (torch.arange(3 * 32 * 32) * 7 % 256).to(torch.uint8).reshape(1, 3, 32, 32)
    extractor = InceptionV3(described("cifar10", (3, 32, 32), 256, real_data))
    features = extractor(torch.cat([ramp, 255 - ramp]))
    assert features.shape == (2, 2048)
    torch.testing.assert_close(features[:, :4], torch.tensor(STORED), rtol=1e-3, atol=1e-4)
    assert features.mean().item() == pytest.approx(0.2606, abs=2e-4)
    gray = InceptionV3(described("gray", (1, 32, 32), 17, real_data))
    x = torch.randint(17, (1, 1, 32, 32)).to(torch.uint8)
    rgb = (x * (255 / 16)).round().to(torch.uint8).expand(1, 3, 32, 32)
    torch.testing.assert_close(gray(x), extractor(rgb), rtol=1e-4, atol=1e-5)
