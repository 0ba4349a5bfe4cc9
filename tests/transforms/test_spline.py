"""Rational-quadratic splines: knots, slopes, tails, the identity, and agreement with nflows."""

import math

import pytest
import torch

from genmodels.transforms import RationalQuadraticSpline
from genmodels.transforms.spline import LEAST


@pytest.fixture(autouse=True)
def seed():
    torch.manual_seed(0)


def case(shape=(50,), bins=8, bound=3.0, batch=20, scale=1.0):
    """A spline, inputs of which one in five lies beyond the bound, and parameters, in float64."""
    spline = RationalQuadraticSpline(shape, bins, bound)
    x = 2.5 * bound * (torch.rand(batch, *shape).double() - 0.5)
    return spline, x, scale * torch.randn(batch, spline.params_per_dim, *shape).double()


@pytest.mark.parametrize("inverse", [False, True])
@pytest.mark.parametrize(("bins", "bound"), [(2, 1.0), (8, 3.0), (30, 5.0)])
def test_values_inverses_and_log_slopes_agree_with_nflows(bins, bound, inverse):
    peer = pytest.importorskip("nflows.transforms.splines").unconstrained_rational_quadratic_spline
    spline, x, params = case((4, 6), bins, bound)
    widths, heights, slopes = (raw.movedim(1, -1) for raw in params.split([bins, bins, bins - 1], dim=1))
    offset = math.log(math.expm1(1 - LEAST))  # with which an output of zero has slope one
    z, log_slope = peer(x, widths, heights, slopes + offset, inverse=inverse, tail_bound=bound)
    if inverse:
        found = spline.decode(x, params)
        torch.testing.assert_close(spline.encode(found, params)[1], -log_slope, atol=1e-9, rtol=1e-9)
    else:
        found, ours = spline.encode(x, params)
        torch.testing.assert_close(ours, log_slope, atol=1e-9, rtol=1e-9)
    torch.testing.assert_close(found, z, atol=1e-9, rtol=1e-9)


@pytest.mark.parametrize("shape", [(5,), (3, 2, 4)])
def test_zero_parameters_are_the_identity(shape):
    spline, x, params = case(shape)
    z, log_slope = spline.encode(x, torch.zeros_like(params))
    torch.testing.assert_close(z, x, atol=1e-12, rtol=1e-12)
    torch.testing.assert_close(log_slope, torch.zeros_like(x), atol=1e-12, rtol=0)


def test_it_is_the_identity_beyond_the_bound_and_meets_it_with_slope_one():
    spline, x, params = case()
    z, log_slope = spline.encode(x, params)
    beyond = x.abs() >= 3
    assert 0.1 < beyond.double().mean() < 0.3
    assert torch.equal(z[beyond], x[beyond]) and not log_slope[beyond].any()
    assert (z[~beyond].abs() < 3).all() and (z != x)[~beyond].all()
    ends = (3 - 1e-9) * x.sign()
    z, log_slope = spline.encode(ends, params)
    torch.testing.assert_close(z, ends, atol=1e-7, rtol=0)
    torch.testing.assert_close(log_slope, torch.zeros_like(x), atol=1e-5, rtol=0)


def test_gradients_are_those_of_finite_differences_and_none_reach_the_parameters_from_beyond_the_bound():
    spline, x, params = case((3,), bins=4, batch=10)
    beyond = x.abs() >= 3
    assert beyond.any() and not beyond.all()
    x.requires_grad_()
    params.requires_grad_()
    assert torch.autograd.gradcheck(spline.encode, (x, params))
    assert torch.autograd.gradcheck(spline.decode, (x, params))
    z, log_slope = spline.encode(x, params)
    to_x, to_params = torch.autograd.grad((z + log_slope)[beyond].sum(), (x, params))
    assert torch.equal(to_x, beyond.double()) and not to_params.any()


@pytest.mark.parametrize("value", [math.inf, -math.inf, math.nan])
def test_what_is_no_number_stays_so_and_leaves_the_others_alone(value):
    spline, x, params = case()
    x[0] = value
    z, log_slope = spline.encode(x, params)
    assert torch.equal(z[0].nan_to_num(7.0), x[0].nan_to_num(7.0))
    assert z[1:].isfinite().all() and log_slope[1:].isfinite().all()


def knots(spline, params):
    """x, y and the slope at the ends of all bins but the last."""
    raw, raw_slopes = params[:, : 2 * spline.bins].unflatten(1, (2, -1)), params[:, 2 * spline.bins :]
    sizes = 2 * spline.bound * (LEAST + (1 - LEAST * spline.bins) * torch.softmax(raw, dim=2))
    slopes = LEAST + torch.nn.functional.softplus(raw_slopes + math.log(math.expm1(1 - LEAST)))
    return *(sizes.cumsum(2)[:, :, :-1] - spline.bound).unbind(1), slopes


def test_it_passes_through_its_knots_with_their_slopes():
    spline, _, params = case()
    left, low, slopes = knots(spline, params)
    for k in range(7):
        for side in (-1e-8, 0.0):  # of the bin before, and of the bin after
            z, log_slope = spline.encode(left[:, k] + side, params)
            torch.testing.assert_close(z, low[:, k], atol=1e-5, rtol=0)
            torch.testing.assert_close(log_slope.exp(), slopes[:, k], atol=1e-4, rtol=1e-4)


@pytest.mark.parametrize("scale", [1.0, 10.0, 1000.0])
def test_it_rises_and_is_finite_under_parameters_of_any_size(scale):
    spline, x, params = case(scale=scale)
    for dtype in (torch.float64, torch.float32):
        values = x.sort(0).values.to(dtype)
        same = params[:1].expand_as(params).to(dtype)
        z, log_slope = spline.encode(values, same)
        assert log_slope.isfinite().all() and (z.diff(dim=0) >= -1e-5).all()
        assert spline.decode(values, same).isfinite().all()
    torch.testing.assert_close(spline.decode(spline.encode(x, params)[0], params), x, atol=1e-6, rtol=1e-6)


@pytest.mark.parametrize("options", [{"bins": 1}, {"bound": 0.0}])
def test_what_is_no_spline_is_refused(options):
    with pytest.raises(ValueError, match=f"^{next(iter(options))} must"):
        RationalQuadraticSpline((3,), **options)
