"""Guidance by labels that the network has learned to do without."""

import pytest
import torch
from models.ddpms import tiny
from torch import nn

from genmodels.core import DataSpec
from genmodels.diffusion import DDIM, Ancestral, Data, Mean, Noise, Velocity


class Told(nn.Module):
    """Output ``a x_t + b y``, with y the first entry of the label's code: affine, as ε of a Gaussian of mean b y is."""

    def __init__(self, labels):
        super().__init__()
        self.labels = labels
        self.frequencies = nn.Parameter(torch.zeros(1))

    def forward(self, x_t, t):
        return 0.3 * x_t + 0.7 * self.labels.code(len(x_t))[:, :1]


def told(**parts):
    model = tiny(DataSpec((2,), classes=2), label_dropout=0.1, **parts)
    model.network = Told(model.labels)
    return model


@pytest.mark.parametrize("prediction", [Noise(), Data(), Velocity(), Mean()], ids=lambda p: type(p).__name__)
def test_guided_samplers_see_the_combination_of_two_predictions_of_the_noise(prediction):
    """Ho & Salimans 2022, eq. 6, in ε, whatever the network predicts; and none of it in likelihoods."""
    torch.manual_seed(0)
    model, x_t, t, w = told(prediction=prediction, guidance=2.5), torch.randn(10, 2), torch.arange(1, 11), 2.5

    def eps(output):
        return prediction.eps(x_t, output, model.process.at(t, x_t))

    with model.given(torch.tensor([0])):
        with_label, guided_x0 = model.predict(x_t, t)[0], model.estimate_x0(x_t, t, model.guidance)[0]
        with model.labels.left_out():
            without = model.predict(x_t, t)[0]
        combined = (1 + w) * eps(with_label) - w * eps(without)
        torch.testing.assert_close(model.process.implied_eps(x_t, guided_x0, t), combined, atol=1e-4, rtol=1e-4)
        torch.manual_seed(1)
        nats = model.log_likelihood(x_t).nats
        model.guidance = 0.0
        torch.manual_seed(1)
        assert torch.equal(model.log_likelihood(x_t).nats, nats)


@pytest.mark.parametrize("sampler", [Ancestral(), DDIM(4)], ids=lambda s: type(s).__name__)
def test_guidance_reaches_every_sampler_and_its_protocol(sampler):
    plain, led = told(sampler=sampler), told(sampler=sampler, guidance=3.0)
    drawn = []
    for model in (plain, led):
        torch.manual_seed(0)
        with model.given(torch.tensor([0])):
            drawn.append(model.sample(5))
    assert (drawn[1] - drawn[0]).abs().min() > 0.1
    assert led.sampling_protocol == plain.sampling_protocol | {"guidance": 3.0}
    assert led.passes_per_sample == 2 * plain.passes_per_sample


def test_labels_are_dropped_in_training_alone():
    torch.manual_seed(0)
    model, seen = told(), []
    model.network.register_forward_hook(lambda network, *_: seen.append(network.labels.codes.sum(1).mean().item()))
    x = torch.zeros(5000, 2)
    with model.given(torch.ones(5000, dtype=torch.int64)):
        model.loss(x)
        model.validation_likelihood(x)
    assert seen[0] == pytest.approx(0.9, abs=0.02) and seen[1] == 1


def test_guidance_needs_labels_that_were_dropped():
    labelled = DataSpec((2,), classes=2)
    for spec, options, words in (
        (labelled, {"guidance": 1.0}, "label_dropout=0.1"),
        (DataSpec((2,)), {"label_dropout": 0.1}, "data.labels=true"),
        (labelled, {"label_dropout": 1.0}, "label_dropout must be"),
        (labelled, {"label_dropout": 0.1, "guidance": -1.0}, "guidance must be"),
    ):
        with pytest.raises(ValueError, match=words):
            tiny(spec, **options)
