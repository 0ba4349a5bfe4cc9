"""The share of recognized samples, compared with its definition and with real data."""

from __future__ import annotations

from types import SimpleNamespace

import pytest
import torch
from metrics.test_fd import Model, Pixels, evaluate

from genmodels.metrics import InDomainClassifier, RecognizedEvaluation, recognized
from genmodels.metrics.classifier_files import file_of
from genmodels.metrics.classifier_files import read as read_classifier
from genmodels.metrics.features import FeatureSpace
from genmodels.metrics.train_classifier import read


def test_an_example_is_recognized_if_its_class_is_probable_enough():
    probabilities = torch.tensor([[0.95, 0.03, 0.02], [0.89, 0.11, 0.0], [0.05, 0.05, 0.9], [0.0, 0.0, 1.0]]).double()
    assert recognized(probabilities.log(), threshold=0.9).value == 0.5
    assert recognized(probabilities.log(), threshold=0.8).value == 1.0


def test_label_smoothing_is_taken_out_of_the_probabilities():
    """A classifier that is as confident as its smoothed labels are is certain."""
    labels = torch.eye(10).double()
    unsure = torch.tensor([0.85, 0.15, *[0.0] * 8]).double()
    smoothed = torch.cat([labels, unsure[None]]) * 0.9 + 0.1 / 10
    assert recognized(smoothed.log(), threshold=0.92, smoothing=0.0).value == 0
    assert recognized(smoothed.log(), threshold=0.92, smoothing=0.1).value == 10 / 11
    assert recognized(smoothed.log(), threshold=0.849, smoothing=0.1).value == 1
    assert recognized(smoothed.log(), threshold=0.851, smoothing=0.1).value == 10 / 11


@pytest.mark.parametrize("share", [0.0, 0.3, 1.0])
def test_the_error_is_the_spread_over_sets_and_never_zero(share):
    sets = torch.rand(2000, 50, generator=torch.Generator().manual_seed(0)) < share
    logits = torch.stack([100.0 * sets, torch.zeros(2000, 50)], 2)
    found = [recognized(each) for each in logits]
    spread = torch.tensor([each.value for each in found]).std().item()
    if share in (0.0, 1.0):
        assert spread == 0 and found[0].se == pytest.approx((1 / 52 * 51 / 52 / 50) ** 0.5)
    else:
        assert sum(each.se for each in found) / len(found) == pytest.approx(spread, rel=0.05)


def test_digits_are_recognized_and_noise_is_not(tmp_path):
    digits = read("digits", tmp_path)
    held_out = digits.split("test")
    noise = torch.randint(17, held_out.shape, generator=torch.Generator().manual_seed(0)).to(torch.uint8)
    network = read_classifier(file_of("digits", tmp_path)).network
    with torch.no_grad():
        share = (network(held_out).softmax(1).amax(1) > 0.9 * 0.9 + 0.1 / 10).double().mean().item()
    for samples, wanted in ((held_out, share), (noise, None)):
        score = evaluate(RecognizedEvaluation(InDomainClassifier), Model(samples), digits)
        assert score.name == "recognized_digits_360" and score.better == "higher" and not score.distance
        assert score.protocol["real"] == pytest.approx(share) and score.beside == {"real data": score.protocol["real"]}
        assert score.protocol["error"] == "binomial" and ("threshold", "0.9") in score.conditions
        assert score.value == pytest.approx(share) if wanted else score.value < share - 0.2


def test_the_classifier_that_metrics_share_stays_as_it_is(tmp_path):
    data = read("digits", tmp_path)
    space = FeatureSpace(InDomainClassifier(data), SimpleNamespace(model=Model(None), data=data))
    space.head().half()
    assert space.extractor.head.weight.dtype == torch.float32


def test_it_needs_a_classifier(tmp_path):
    reason = RecognizedEvaluation(Pixels).unsupported_reason(Model(torch.zeros(3, 1, 2, 2)), read("digits", tmp_path))
    assert "no classifier head" in reason
    with pytest.raises(ValueError, match="threshold must be"):
        RecognizedEvaluation(InDomainClassifier, threshold=1.5)
