"""Bits per dimension: the oracles that hold whatever the model."""

from __future__ import annotations

import json
import math
from dataclasses import replace

import pytest
import torch

from genmodels.core import DataSpec, Kind, Likelihood, Score, bits_per_dim, log_mean_exp
from genmodels.core.observation import standard_normal_log_prob
from genmodels.core.quantization import (
    dequantize,
    from_symmetric,
    log_mass,
    logit,
    quantize,
    to_symmetric,
    unit_to_symmetric,
    unlogit,
)


@pytest.mark.parametrize("levels", [2, 3, 17, 256])
def test_a_uniform_density_on_the_cube_scores_log2_levels(levels):
    spec = DataSpec((1, 8, 8), levels)
    x = torch.randint(0, levels, (5, 1, 8, 8), dtype=torch.uint8)
    u, log_det = dequantize(x, spec)
    assert ((u >= 0) & (u < 1)).all()
    torch.testing.assert_close(bits_per_dim(log_det, spec), torch.full((5,), math.log2(levels)))


@pytest.mark.parametrize("levels", [2, 17, 100, 256])
def test_every_level_survives_both_scales(levels):
    spec = DataSpec((levels,), levels)
    x = torch.arange(levels, dtype=torch.uint8)[None]
    assert torch.equal(from_symmetric(to_symmetric(x, spec), spec), x)
    for _ in range(20):
        assert torch.equal(quantize(dequantize(x, spec)[0], spec), x)


def test_from_symmetric_rounds_to_the_nearest_level_under_noise():
    spec = DataSpec((256,), 256)
    x = torch.arange(256, dtype=torch.uint8)[None]
    noise = (torch.rand(1, 256) - 0.5) * 1.9 / 255
    assert torch.equal(from_symmetric(to_symmetric(x, spec) + noise, spec), x)


def test_logit_log_determinant_is_autograds():
    u = torch.rand(3, 4, dtype=torch.float64, requires_grad=True)
    y, log_det = logit(u, 0.05)
    (slope,) = torch.autograd.grad(y.sum(), u)
    torch.testing.assert_close(log_det, slope.log().sum(1))
    torch.testing.assert_close(unlogit(y, 0.05), u)


@pytest.mark.parametrize(("scale", "shift"), [(2.0, -1.0), (255.0, 0.0), (0.1, 3.0)])
def test_bits_do_not_depend_on_the_scale_on_which_a_density_lives(scale, shift):
    """The same law told on another scale, with its log-determinant, is the same number of bits."""
    spec = DataSpec((6,), 256)
    x = torch.randint(0, 256, (4, 6), dtype=torch.uint8)
    u, log_det = dequantize(x, spec)
    on_the_cube = standard_normal_log_prob((u - 0.5) / 0.2) - 6 * math.log(0.2) + log_det
    y = scale * u + shift
    mean, std = scale * 0.5 + shift, scale * 0.2
    rescaled = standard_normal_log_prob((y - mean) / std) - 6 * math.log(std) + 6 * math.log(scale) + log_det
    torch.testing.assert_close(bits_per_dim(rescaled, spec), bits_per_dim(on_the_cube, spec), atol=1e-4, rtol=1e-5)


@pytest.mark.parametrize("levels", [2, 17, 256])
def test_bins_of_the_cube_surround_their_levels_on_the_symmetric_scale(levels):
    spec = DataSpec((levels,), levels)
    x = torch.arange(levels)[None]
    ends = [unit_to_symmetric((x + part) / levels, spec)[0] for part in (0.0, 0.5, 1.0)]
    for end, offset in zip(ends, (-1, 0, 1), strict=True):
        torch.testing.assert_close(end, to_symmetric(x, spec) + offset / (levels - 1), atol=1e-6, rtol=0)
    u = torch.rand(3, levels, dtype=torch.float64, requires_grad=True)
    y, log_det = unit_to_symmetric(u, spec)
    (slope,) = torch.autograd.grad(y.sum(), u)
    torch.testing.assert_close(log_det, slope.log().sum(1))


def test_reals_pass_to_the_symmetric_scale_unchanged():
    x = torch.randn(3, 2)
    y, log_det = unit_to_symmetric(x, DataSpec((2,)))
    assert torch.equal(y, x) and torch.equal(log_det, torch.zeros(3))


@pytest.mark.parametrize("samples", [1, 5])
def test_mass_of_a_level_under_a_uniform_density_is_exact(samples):
    spec, x = DataSpec((6,), 17), torch.randint(0, 17, (4, 6), dtype=torch.uint8)
    nats = log_mass(x, spec, lambda u: torch.zeros(len(u)), samples)
    torch.testing.assert_close(nats, torch.full((4,), -6 * math.log(17)))


def test_mass_is_exact_where_dequantization_draws_from_the_density_itself():
    """With v the place in the bin and p(u) = Π 2v, every level has the same mass, and q(v) = 2v is best."""
    spec, x = DataSpec((6,), 5), torch.randint(0, 5, (4, 6), dtype=torch.uint8)

    def rising(x):
        v = torch.rand(x.shape).sqrt()
        return (x + v) / spec.levels, -(2 * spec.levels * v).log().sum(1)

    def log_density(u):
        return (2 * (u * 5 % 1.0)).log().sum(1)

    true = torch.full((4,), -6 * math.log(5))
    torch.testing.assert_close(log_mass(x, spec, log_density, 1, rising), true, atol=1e-4, rtol=0)
    uniform = log_mass(x.repeat(500, 1), spec, log_density).mean()
    assert uniform < true[0] - 0.5


def test_log_density_of_reals_passes_through():
    x, calls = torch.randn(3, 2), []
    nats = log_mass(x, DataSpec((2,)), lambda u: calls.append(u) or standard_normal_log_prob(u), samples=7)
    assert len(calls) == 1 and torch.equal(nats, standard_normal_log_prob(x))


def test_log_mass_needs_a_sample():
    with pytest.raises(ValueError, match="sample"):
        log_mass(torch.zeros(1, 2, dtype=torch.uint8), DataSpec((2,), 3), standard_normal_log_prob, 0)


def test_log_mean_exp_of_equal_weights_is_the_weight():
    weights = torch.full((7, 3), -500.0)
    torch.testing.assert_close(log_mean_exp(weights), torch.full((3,), -500.0))


def test_log_mean_exp_grows_with_samples_on_average():
    torch.manual_seed(0)
    noise = torch.randn(64, 5000)
    means = [log_mean_exp(noise[:k]).mean().item() for k in (1, 4, 64)]
    assert means[0] < means[1] < means[2] < 0.5  # E[w] = exp(1/2)


@pytest.mark.parametrize(("shape", "levels"), [((), 2), ((0,), 2), ((1, 8), 2), ((2,), 1), ((2,), 257), ((2,), 2.5)])
def test_a_spec_that_cannot_be(shape, levels):
    with pytest.raises(ValueError, match=r"^(shape|levels) must be"):
        DataSpec(shape, levels)


@pytest.mark.parametrize(
    ("x", "hint"),
    [
        (torch.zeros(2, 3, dtype=torch.uint8), "shape"),
        (torch.zeros(2, 2), "which means integers"),
        (torch.full((2, 2), 3, dtype=torch.uint8), "levels"),
    ],
)
def test_a_batch_that_is_not_of_the_spec(x, hint):
    with pytest.raises(ValueError, match=hint):
        DataSpec((2,), 3).check(x)


def test_scores_survive_json_and_print_their_kind():
    numbers = ("nats_k4", -1.5, "nats", 10, 0.1, Kind.ESTIMATE, "higher", {"split": "test", "gap": 0.1, "seconds": 3.0})
    score = Score(*numbers, quantity="nats", incidental=("seconds",), baselines={"gap": "gap"}, distance=True)
    assert Score.from_dict("nats_k4", json.loads(json.dumps(score.to_dict()))) == score
    assert score.text == "~ -1.500 ± 0.100"
    assert score.conditions == (("split", "test"),) and score.beside == {"gap": 0.1}
    assert Likelihood(torch.zeros(1), Kind.EXACT).kind.symbol == "="


def test_a_record_without_declarations_has_no_exceptions():
    entry = {"value": 3.0, "unit": "", "kind": None, "se": None, "n": 5, "better": "lower"}
    score = Score.from_dict("fd_x_5", entry | {"protocol": {"seconds": 1.0, "floor": 0.5, "sampling": {"steps": 3}}})
    assert score.conditions == (("floor", "0.5"), ("seconds", "1.0"))
    assert (score.quantity, score.beside, score.distance) == ("fd_x_5", {}, False)


def test_the_quantity_keeps_the_name_that_the_metric_gave():
    assert replace(Score("kl", 1.0, "", 5), name="kl_raw").quantity == "kl"


@pytest.mark.parametrize(
    "wrong",
    [
        {"incidental": "seconds"}, {"incidental": (1,)}, {"baselines": ["floor"]}, {"baselines": {"floor": 1}},
        {"quantity": 3}, {"distance": 1}, {"better": "sideways"}, {"protocol": [1]}, {"unit": ["nats"]},
    ],
    ids=str,
)  # fmt: skip
def test_declarations_of_the_wrong_type_are_refused(wrong):
    (name,) = wrong
    with pytest.raises(ValueError, match=f"^{name} must"):
        Score(**{"name": "fd", "value": 1.0, "unit": "", "n": 5} | wrong)
