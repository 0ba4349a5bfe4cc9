"""Nearest training examples: copies are detected, and independent samples are not reported as copies."""

import pytest
import torch
from metrics.test_fd import SPEC, Model, data_of, images, subject
from PIL import Image

from genmodels.metrics import MemorizationEvaluation


class Drawn(Model):
    def log_image(self, name, picture):
        self.shown = name


@pytest.fixture
def data(tmp_path):
    return data_of(tmp_path, images(400, 0), images(20, 1), images(200, 2))


def measure(samples, data, **options):
    evaluation = MemorizationEvaluation(**options)
    assert evaluation.unsupported_reason(Drawn(samples), data) is None
    return evaluation.measure(subject(Drawn(samples), data))


def test_copies(data):
    ratio, copies = measure(data.split("train")[:200], data)
    assert ratio.name == "nearest_ratio_200" and ratio.value < 1e-3 and ratio.better is None
    assert copies.name == "copies_200" and copies.value == 1 and 0 < copies.se < 1 / 200


def test_half_copies(data):
    half = torch.cat([data.split("train")[:100], images(100, 7)])
    ratio, copies = measure(half, data)
    assert ratio.value == pytest.approx(0.5, abs=0.08)
    assert copies.value == pytest.approx(0.5, abs=0.03) and copies.se == pytest.approx(0.5 / 200**0.5, rel=0.01)


def test_fresh_draws_of_the_same_law_have_a_ratio_of_one(data):
    ratio, copies = measure(images(200, 9), data)
    assert abs(ratio.value - 1) < 3 * ratio.se < 0.2
    assert copies.value <= 0.04 and copies.protocol["real"] == 0.01


def test_ratio_and_its_error_by_hand(data):
    samples = images(50, 4)
    ratio, _ = measure(samples, data, n=50)
    pixels = {name: x.flatten(1).double() / 127.5 - 1 for name, x in
              {"fake": samples, "train": data.split("train"), "test": data.split("test")}.items()}  # fmt: skip
    chosen = pixels["test"][torch.linspace(0, 199, 50).round().long()]
    fake, real = (torch.cdist(x, pixels["train"]).min(1).values for x in (pixels["fake"], chosen))
    assert ratio.value == pytest.approx((fake.mean() / real.mean()).item(), rel=1e-5)
    relative = (fake.var() / fake.mean() ** 2 + real.var() / real.mean() ** 2) / 50
    assert ratio.se == pytest.approx(ratio.value * relative.sqrt().item(), rel=1e-5)


def test_picture_has_a_row_a_sample(data):
    measure(data.split("train")[:20], data, n=20, neighbors=3)
    picture = Image.open(data.root / "evaluation" / "neighbors.png")
    tile = 33  # two pixels enlarged to 32, and a line of one
    assert picture.size == (4 * tile + 1, 8 * tile + 1)
    assert picture.getpixel((5, 5)) == picture.getpixel((5 + tile, 5))  # a copy next to its original


@pytest.mark.parametrize(("known", "share"), [(0, None), (2, None), (4, "2%"), (200, "100%")])
def test_where_training_examples_are_drawn_again_there_are_no_copies(known, share, tmp_path):
    train = images(400, 0)
    data = data_of(tmp_path, train, images(20, 1), torch.cat([train[7 : 7 + known], images(200 - known, 2)]))
    reason = MemorizationEvaluation().unsupported_reason(Drawn(images(200, 9)), data)
    refusal = f"{share} of the test examples of toy are training examples too, and are no copies."
    assert reason == (share and refusal)


def test_what_cannot_be_sampled_is_refused(data):
    assert "cannot be sampled" in MemorizationEvaluation().unsupported_reason(object(), data)
    assert SPEC.is_image
