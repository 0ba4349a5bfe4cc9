"""The Fréchet evaluation: its samples, reference, cache and unsupported cases."""

from types import SimpleNamespace

import pytest
import torch

from genmodels.core import DataSpec
from genmodels.core.abilities import Samples
from genmodels.metrics import (
    FrechetEvaluation,
    InceptionScoreEvaluation,
    InDomainClassifier,
    KernelEvaluation,
    PRDCEvaluation,
    SampleSets,
    Subject,
    frechet_distance,
)
from genmodels.metrics.extractors import Extractor, UnsuitableError
from genmodels.metrics.frechet import frechet_error
from genmodels.metrics.train_classifier import read

SPEC = DataSpec((1, 2, 2), 256)


class Pixels(Extractor):
    """The four pixels as features, with a count of the images processed."""

    space, dims = "toy", 4

    def __init__(self, data):
        super().__init__(torch.nn.Flatten(), "pixels@0", {"resize": "none"})
        self.seen = 0

    def features(self, x):
        self.seen += len(x)
        return self.network(x.float())


class Model(Samples):
    """Returns the rows of ``pool`` in order."""

    device, spec = torch.device("cpu"), SPEC

    def __init__(self, pool, passes=1):
        self.pool, self.passes, self.sizes = pool, passes, []

    def sample(self, n):
        start = sum(self.sizes)
        self.sizes.append(n)
        return self.pool[start : start + n]

    @property
    def sampling_protocol(self):
        return {"steps": 7}

    @property
    def passes_per_sample(self):
        return self.passes


def images(n, seed):
    return torch.randint(256, (n, *SPEC.shape), generator=torch.Generator().manual_seed(seed)).to(torch.uint8)


def data_of(root, train, val, test):
    splits = {"train": train, "val": val, "test": test}
    pool = torch.cat([train, val])
    return SimpleNamespace(name="toy", spec=SPEC, root=root, split=splits.__getitem__, train_and_val=lambda: pool)


@pytest.fixture
def data(tmp_path):
    return data_of(tmp_path, images(80, 0), images(20, 1), images(30, 2))


def subject(model, data, file=None):
    return Subject(model, data, SampleSets(model, 0, file), 0, data.root / "evaluation")


def evaluate(evaluation, model, data):
    assert evaluation.unsupported_reason(model, data) is None
    (score,) = evaluation.measure(subject(model, data))
    return score


def distance(a, b):
    a, b = a.flatten(1).double(), b.flatten(1).double()
    return frechet_distance(a.mean(0), torch.cov(a.T), b.mean(0), torch.cov(b.T))


def test_score_is_the_mean_over_sets_and_the_floor_that_of_test_data(data, monkeypatch):
    monkeypatch.setattr("genmodels.metrics.sample_sets.AT_A_TIME", 10)
    pool = images(48, 3)
    model = Model(pool)
    score = evaluate(FrechetEvaluation(Pixels, n=24, repeats=2), model, data)
    assert score.name == "fd_toy_24" and score.n == 24
    assert model.sizes == [10, 10, 4, 10, 10, 4, 10, 10]  # two sets, and two more calls to measure the speed
    a, b = distance(pool[:24], data.train_and_val()), distance(pool[24:], data.train_and_val())
    assert score.value == pytest.approx((a + b) / 2, rel=1e-9)
    assert score.se == pytest.approx(abs(a - b) / 2, rel=1e-9)
    assert score.protocol["error"] == "over 2 sets"
    chosen = data.split("test")[torch.linspace(0, 29, 24).round().long()]
    assert score.protocol["floor"] == pytest.approx(distance(chosen, data.train_and_val()), rel=1e-9)
    assert score.protocol["real_n"] == 24 and score.protocol["reference_n"] == 100 and score.protocol["repeats"] == 2
    assert score.protocol["sampling"] == {"steps": 7} and score.protocol["samples_per_second"] > 0
    assert score.to_dict()["protocol"]["extractor"] == "pixels@0"


def test_a_floor_of_fewer_examples_than_samples_says_so(data):
    """The distance falls with n, so that the floor of 30 examples is none for 60 samples."""
    as_many, fewer = (evaluate(FrechetEvaluation(Pixels, n=n), Model(images(5 * n, 3)), data) for n in (30, 60))
    assert set(as_many.beside) == {"floor"} and set(fewer.beside) == {"floor at n=30"}
    assert fewer.remark.startswith("floor at n=30 ") and fewer.protocol["real_n"] == 30


def test_n_is_the_size_of_the_test_split_by_default_and_dear_samples_are_drawn_once(data):
    score = evaluate(FrechetEvaluation(Pixels, max_passes=2 * 30 * 7 - 1), Model(images(50, 3), passes=7), data)
    assert score.name == "fd_toy_30" and score.protocol["repeats"] == 1
    features = data.train_and_val().flatten(1).double()
    reference = features.mean(0), torch.cov(features.T)
    assert score.se == pytest.approx(frechet_error(images(50, 3)[:30].flatten(1), *reference), rel=1e-6)
    assert score.protocol["error"] == "infinitesimal jackknife"
    assert score.protocol["passes_per_sample"] == 7


def seen_in(evaluation, data):
    """Number of images processed by the extractor."""
    made = []
    evaluation.make_extractor = lambda data: made.append(Pixels(data)) or made[-1]
    evaluation.measure(subject(Model(images(90, 3)), data))
    return sum(extractor.seen for extractor in made)


def test_statistics_of_real_data_are_kept_for_any_order_of_them(data):
    assert seen_in(FrechetEvaluation(Pixels), data) == 100 + 30 + 90
    shuffled = data.train_and_val().flip(0)
    data.train_and_val = lambda: shuffled
    assert seen_in(FrechetEvaluation(Pixels), data) == 90
    data.train_and_val = lambda: 255 - shuffled
    assert seen_in(FrechetEvaluation(Pixels), data) == 100 + 90


def test_a_broken_cache_is_replaced_and_an_unwritable_one_done_without(data, tmp_path):
    seen_in(FrechetEvaluation(Pixels), data)
    for path in (tmp_path / "statistics").iterdir():
        path.write_bytes(b"broken")
    assert seen_in(FrechetEvaluation(Pixels), data) == 220
    data.root = tmp_path / "file"
    data.root.write_text("where a folder should be")
    assert seen_in(FrechetEvaluation(Pixels), data) == 220


def test_samples_and_features_are_computed_once_for_all_metrics(data):
    model, extractor = Model(images(90, 3)), Pixels(None)
    shared = subject(model, data)
    for evaluation in (FrechetEvaluation(Pixels), KernelEvaluation(Pixels, repeats=1), PRDCEvaluation(Pixels)):
        evaluation.make_extractor = lambda data: extractor
        evaluation.measure(shared)
    assert model.sizes == [30] * 3 + [30] * 3  # three sets, and three more calls to measure the speed
    assert extractor.seen == 90 + 100 + 30 + 100 + 30  # samples, moments, test, KD's and PRDC's training data


def test_refusals(data):
    class Autoencoder:
        pass

    def unsuitable(data):
        raise UnsuitableError("no network for these.")

    assert (
        FrechetEvaluation(Pixels)
        .unsupported_reason(Autoencoder(), data)
        .startswith("Autoencoder cannot be sampled from")
    )
    assert FrechetEvaluation(unsuitable).unsupported_reason(Model(None), data) == "no network for these."
    assert "allow_small_n=true" in FrechetEvaluation(Pixels, n=3).unsupported_reason(Model(None), data)
    assert FrechetEvaluation(Pixels, n=3, allow_small_n=True).unsupported_reason(Model(None), data) is None
    assert KernelEvaluation(Pixels, n=3).unsupported_reason(Model(None), data) is None
    assert "no classifier head" in InceptionScoreEvaluation(Pixels).unsupported_reason(Model(None), data)


def test_digits_score_better_than_noisy_digits_than_noise(tmp_path):
    digits = read("digits", tmp_path)
    held_out = digits.split("test")
    noisy = (held_out + 4 * torch.randn(held_out.shape)).round().clamp(0, 16).to(torch.uint8)
    noise = torch.randint(17, held_out.shape).to(torch.uint8)
    for evaluation in (FrechetEvaluation(InDomainClassifier, repeats=1), KernelEvaluation(InDomainClassifier)):
        evaluation.repeats = 1
        scores = [evaluate(evaluation, Model(x), digits) for x in (held_out, noisy, noise)]
        assert scores[0].value == pytest.approx(scores[0].protocol["floor"], rel=1e-6)
        assert scores[0].value < scores[1].value / 2 < scores[2].value / 4


@pytest.mark.slow
@pytest.mark.realdata
@pytest.mark.parametrize(("name", "n", "floor"), [("mnist", 1000, 2.55205), ("cifar10", 250, 0.826670)])
def test_floor_of_real_data(name, n, floor, real_data, tmp_path):
    real = read(name, real_data)
    sizes = {"train": 27 * n // 10, "val": 3 * n // 10, "test": n}
    first = {split: real.split(split)[:size] for split, size in sizes.items()}
    data = data_of(tmp_path, **first)
    data.name, data.spec = name, real.spec
    score = evaluate(FrechetEvaluation(InDomainClassifier, repeats=1), Model(first["test"]), data)
    assert score.name == f"fd_{name}_{n}"
    assert score.value == pytest.approx(floor, rel=1e-3)
    assert score.protocol["floor"] == pytest.approx(score.value, rel=1e-6)
