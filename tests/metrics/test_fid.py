"""FID on real images, compared with an independent computation from the same features."""

import numpy as np
import pytest
import torch
from metrics.test_fd import Model, data_of

from genmodels.metrics import FrechetEvaluation, InceptionV3, KernelEvaluation, PRDCEvaluation, SampleSets, Subject
from genmodels.metrics.features import FeatureSpace
from genmodels.metrics.train_classifier import read


def by_singular_values(a: np.ndarray, b: np.ndarray) -> float:
    """Fréchet distance in float64 without covariances: its cross term is a nuclear norm of centered features."""
    a, b = a.astype(np.float64), b.astype(np.float64)
    mean_a, mean_b = a.mean(0), b.mean(0)
    a, b = (a - mean_a) / np.sqrt(len(a) - 1), (b - mean_b) / np.sqrt(len(b) - 1)
    cross = np.linalg.svd(a @ b.T, compute_uv=False).sum()
    return ((mean_a - mean_b) ** 2).sum() + (a**2).sum() + (b**2).sum() - 2 * cross


class FirstFeatures(InceptionV3):
    """Some of Inception's features, of which the square root of a covariance takes no time."""

    dims = 256

    def features(self, x):
        return super().features(x)[:, : self.dims]


@pytest.mark.slow
@pytest.mark.realdata
@pytest.mark.parametrize(
    ("n", "kind"),
    [(12, FirstFeatures), pytest.param(2500, InceptionV3, marks=pytest.mark.exhaustive)],
    ids=["12", "2500"],
)
def test_cifar10_test_against_train(n, kind, real_data, tmp_path):
    cifar = read("cifar10", real_data)
    held_out, train = cifar.split("test")[:n], cifar.train_and_val()[:n]
    data = data_of(real_data, train[: n // 2], train[n // 2 :], held_out)
    data.name, data.spec = "cifar10", cifar.spec
    model = Model(held_out)
    model.spec = cifar.spec
    subject = Subject(model, data, SampleSets(model, 0), 0, tmp_path)
    extractor = kind(data)
    space = FeatureSpace(extractor, subject)
    (score,) = FrechetEvaluation(lambda data: extractor, n, repeats=1, allow_small_n=True).measure(subject)
    expected = by_singular_values(space.of_samples(n).numpy(), space.of_training(n).numpy())
    print(f"FID of CIFAR-10 test against train at n={n}: {score.value}, by singular values {expected}")
    assert score.name == f"fid_{n}"
    assert score.value == pytest.approx(expected, rel=1e-6)
    assert score.protocol["floor"] == pytest.approx(score.value, rel=1e-6)  # the samples are the test data
    (kernel,) = KernelEvaluation(lambda data: extractor, n, repeats=1).measure(subject)
    assert kernel.name == f"kid_{n}" and abs(kernel.value) < 4 * kernel.se
    named = {score.name for score in PRDCEvaluation(lambda data: extractor, n, repeats=1).measure(subject)}
    assert named == {f"{name}_inception_{n}" for name in ("precision", "recall", "density", "coverage")}
    assert torch.isfinite(space.of_samples(n)).all()
