"""The Fréchet evaluation: what it draws, what it compares with, what it keeps, what it refuses."""

from types import SimpleNamespace

import pytest
import torch

from genmodels.core import DataSpec
from genmodels.metrics import FrechetEvaluation, InDomainClassifier, frechet_distance
from genmodels.metrics.extractors import Extractor, UnsuitableError
from genmodels.metrics.train_classifier import read
from genmodels.models.base import Samples

SPEC = DataSpec((1, 2, 2), 256)


class Pixels(Extractor):
    """The four pixels themselves; counts the images it has seen."""

    metric, label, dims, identity, protocol = "fd", "fd_toy", 4, "pixels@0", {"resize": "none"}

    def __init__(self, data):
        super().__init__(torch.nn.Flatten())
        self.seen = 0

    def features(self, x):
        self.seen += len(x)
        return self.network(x.float())


class Model(Samples):
    """Draws from ``pool`` in order."""

    device = torch.device("cpu")

    def __init__(self, pool):
        self.pool, self.sizes = pool, []

    def sample(self, n):
        start = sum(self.sizes)
        self.sizes.append(n)
        return self.pool[start : start + n]

    @property
    def sampling_protocol(self):
        return {"steps": 7}


def images(n, seed):
    return torch.randint(256, (n, *SPEC.shape), generator=torch.Generator().manual_seed(seed)).to(torch.uint8)


@pytest.fixture
def data(tmp_path):
    splits = {"train": images(80, 0), "val": images(20, 1), "test": images(30, 2)}
    return SimpleNamespace(name="toy", spec=SPEC, root=tmp_path, split=splits.__getitem__)


def evaluate(evaluation, model, data):
    assert evaluation.refusal(model, data) is None
    evaluation.start(model, data)
    (score,) = evaluation.finish(model)
    return score


def distance(a, b):
    a, b = a.flatten(1).double(), b.flatten(1).double()
    return frechet_distance(a.mean(0), torch.cov(a.T), b.mean(0), torch.cov(b.T))


def test_score_and_floor_are_distances_to_all_training_data(data):
    pool = images(24, 3)
    model = Model(pool)
    score = evaluate(FrechetEvaluation(Pixels, n=24, batch_size=10), model, data)
    real = torch.cat([data.split("train"), data.split("val")])
    assert score.name == "fd_toy_24" and score.n == 24 and model.sizes == [10, 10, 4]
    assert score.value == pytest.approx(distance(pool, real), rel=1e-9)
    assert score.protocol["floor"] == pytest.approx(distance(data.split("test")[:24], real), rel=1e-9)
    assert score.protocol["floor_n"] == 24 and score.protocol["reference_n"] == 100
    assert score.protocol["sampling"] == {"steps": 7} and score.protocol["samples_per_second"] > 0
    assert score.to_dict()["protocol"]["extractor"] == "pixels@0"


def test_n_is_the_size_of_the_test_split_by_default(data):
    assert evaluate(FrechetEvaluation(Pixels), Model(images(50, 3)), data).name == "fd_toy_30"


def test_statistics_of_real_data_are_kept_for_any_order_of_them(data):
    first, second = FrechetEvaluation(Pixels), FrechetEvaluation(Pixels)
    first.start(Model(None), data)
    assert first.extractor.seen == 130
    everything = torch.cat([data.split("train"), data.split("val")]).flip(0)
    reordered = {"train": everything[:80], "val": everything[80:], "test": data.split("test")}
    data.split = reordered.__getitem__
    second.start(Model(None), data)
    assert second.extractor.seen == 0 and second.floor == first.floor
    reordered["train"] = 255 - reordered["train"]
    third = FrechetEvaluation(Pixels)
    third.start(Model(None), data)
    assert third.extractor.seen == 100


def test_a_broken_cache_is_replaced_and_an_unwritable_one_done_without(data, tmp_path):
    evaluation = FrechetEvaluation(Pixels)
    evaluation.start(Model(None), data)
    for path in (tmp_path / "statistics").iterdir():
        path.write_bytes(b"broken")
    evaluation.start(Model(None), data)
    assert evaluation.extractor.seen == 130
    data.root = tmp_path / "file"
    data.root.write_text("where a folder should be")
    evaluation.start(Model(None), data)
    assert evaluation.extractor.seen == 130


def test_refusals(data):
    class Autoencoder:
        pass

    def unsuitable(data):
        raise UnsuitableError("no network for these.")

    assert FrechetEvaluation(Pixels).refusal(Autoencoder(), data).startswith("Autoencoder cannot be sampled from")
    assert FrechetEvaluation(unsuitable).refusal(Model(None), data) == "no network for these."
    assert "metrics.fd.allow_small_n=true" in FrechetEvaluation(Pixels, n=3).refusal(Model(None), data)
    assert FrechetEvaluation(Pixels, n=3, allow_small_n=True).refusal(Model(None), data) is None


def test_digits_score_better_than_noisy_digits_than_noise(tmp_path):
    digits = read("digits", tmp_path)
    held_out = digits.split("test")
    noisy = (held_out + 4 * torch.randn(held_out.shape)).round().clamp(0, 16).to(torch.uint8)
    noise = torch.randint(17, held_out.shape).to(torch.uint8)
    scores = [evaluate(FrechetEvaluation(InDomainClassifier), Model(x), digits) for x in (held_out, noisy, noise)]
    assert scores[0].value == pytest.approx(scores[0].protocol["floor"], rel=1e-6)
    assert scores[0].value < scores[1].value / 3 < scores[2].value / 9


@pytest.mark.realdata
def test_floor_of_mnist(real_data, tmp_path):
    mnist = read("mnist", real_data)
    first = {name: mnist.split(name)[:n] for name, n in {"train": 2700, "val": 300, "test": 1000}.items()}
    data = SimpleNamespace(name="mnist", spec=mnist.spec, root=tmp_path, split=first.__getitem__)
    score = evaluate(FrechetEvaluation(InDomainClassifier), Model(first["test"]), data)
    assert score.name == "fd_mnist_1000"
    assert score.value == pytest.approx(2.55205, rel=1e-3)
    assert score.protocol["floor"] == pytest.approx(score.value, rel=1e-6)
