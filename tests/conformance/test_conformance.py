"""The requirements on every model, tested for all models, found automatically, on every kind of data."""

from __future__ import annotations

import copy
import io
from contextlib import suppress

import pytest
import torch
from conformance.kinds import (
    BY_SOLVING,
    CHOSEN,
    CONFIGURED,
    DOUBLES,
    KINDS,
    SUITE,
    examples,
    model_on,
    own_test,
    trainer_of,
)

from genmodels.core import Likelihood
from genmodels.core.abilities import Encodes, HasLikelihood, Samples
from genmodels.errors import UserError

pairs = pytest.mark.parametrize(
    ("name", "kind"), [(name, kind) for name in SUITE for kind in KINDS], ids=lambda value: value.replace(" ", "-")
)
every_model = pytest.mark.parametrize("name", SUITE)


def losses(model, x):
    """The loss of each player in turn, with the parameters that its gradient must reach."""
    for player in model.players():
        yield player.loss(x).total, list(player.network.parameters())


def train(model, x, steps, lr=1e-3):
    """Train without Lightning."""
    step = trainer_of(model, lr)
    for _ in range(steps):
        step(x)


def ready(name, kind, *overrides, n=16):
    """A tiny model after its data-dependent initialization, and a batch."""
    spec = KINDS[kind]
    try:
        model, x = model_on(name, spec, *overrides), examples(spec, n)
    except UserError:
        pytest.skip(f"{name} declines {kind}")
    model.initialize(x)
    return model, x


def ready_on_some(name, *overrides):
    """:func:`ready` on the first kind of data that the model does not decline."""
    for kind in ("gray images", *KINDS):
        with suppress(UserError):
            model_on(name, KINDS[kind])
            return ready(name, kind, *overrides)
    return pytest.fail(f"{name} declines every kind of data")


@pytest.mark.parametrize("name", CONFIGURED)
def test_a_rate_out_of_all_proportion_exceeds_the_largest_loss(name):
    model, x = ready_on_some(name)
    step = trainer_of(model, lr=1e30)
    found = [sum(abs(loss.total.item()) for loss in step(x)) for _ in range(5)]
    assert not all(value < model.largest_loss for value in found)


@pairs
def test_samples_are_data(name, kind):
    model, _ = ready(name, kind)
    if not isinstance(model, Samples):
        pytest.skip(f"{name} does not sample")
    spec = KINDS[kind]
    with torch.no_grad():
        sample = model.eval().sample(5)
    spec.check(sample)
    assert len(sample) == 5
    assert torch.isfinite(sample.float()).all()


@pairs
def test_sampling_changes_nothing(name, kind):
    """Otherwise the samples of an evaluation would depend on samples drawn before."""
    model, x = ready(name, kind)
    if not isinstance(model, Samples):
        pytest.skip(f"{name} does not sample")
    train(model, x, steps=1)
    model.eval()
    before = copy.deepcopy((model.state_dict(), model.chains))
    with torch.no_grad():
        model.sample(3)
    for old, new in zip(before, (model.state_dict(), model.chains), strict=True):
        assert old.keys() == new.keys() and all(torch.equal(old[key], new[key]) for key in old)


@pairs
def test_the_validation_value_is_finite(name, kind):
    model, x = ready(name, kind)
    with torch.no_grad():
        found = model.eval().monitor(x)
    values = found.nats if isinstance(found, Likelihood) else found
    assert values.shape == ((len(x),) if isinstance(found, Likelihood) else ()) and torch.isfinite(values).all()


@pairs
def test_likelihood_is_one_finite_number_per_example(name, kind):
    model, x = ready(name, kind, n=4)
    if not isinstance(model, HasLikelihood):
        pytest.skip(f"{name} has no likelihood")
    with torch.no_grad():
        for likelihood in (model.eval().log_likelihood(x), model.validation_likelihood(x)):
            assert likelihood.nats.shape == (len(x),)
            assert torch.isfinite(likelihood.nats).all()
            assert likelihood.nats.dtype == torch.float32
    if KINDS[kind].is_discrete:
        assert likelihood.nats.mean() < 0, "a probability above one"


@pytest.mark.slow
@every_model
def test_bits_do_not_depend_on_the_scale_that_the_model_works_on(name):
    """Each model's test file computes the same likelihood independently, on the scale of the integers."""
    if name in DOUBLES:
        pytest.skip("has no scale of its own")
    if CHOSEN and not hasattr(own_test(name), "nats_in_pixels"):
        pytest.skip("no nats_in_pixels: name a file that has it, --own FILE")
    model, x = ready(name, "integer pairs", n=6)
    if not isinstance(model, HasLikelihood):
        pytest.skip(f"{name} has no likelihood")
    train(model, x, steps=3)
    with torch.no_grad():
        torch.manual_seed(5)
        expected = model.eval().log_likelihood(x).nats
        torch.manual_seed(5)
        found = own_test(name).nats_in_pixels(model, x)
    torch.testing.assert_close(found.float(), expected, rtol=1e-4, atol=1e-4)


@pairs
def test_codes_round_trip_in_shape(name, kind):
    model, x = ready(name, kind)
    if not isinstance(model, Encodes):
        pytest.skip(f"{name} does not encode")
    with torch.no_grad():
        KINDS[kind].check(model.eval().decode(model.encode(x)))


@pairs
def test_gradients_reach_every_parameter(name, kind):
    model, x = ready(name, kind)
    train(model, x, steps=2)  # networks that begin at zero let gradients through after the first steps
    for total, parameters in losses(model, x):
        gradients = torch.autograd.grad(total, parameters, allow_unused=True)
        named = {id(p): n for n, p in model.named_parameters()}
        unreached = [named[id(p)] for p, g in zip(parameters, gradients, strict=True) if g is None or not g.any()]
        assert not unreached


@every_model
def test_same_seed_same_loss_and_samples(name):
    def draw():
        model, x = ready_on_some(name)
        torch.manual_seed(7)
        first = torch.stack([total for total, _ in losses(model, x)])
        return first, model.eval().sample(3) if isinstance(model, Samples) else first

    (loss_a, sample_a), (loss_b, sample_b) = draw(), draw()
    assert torch.equal(loss_a, loss_b)
    assert torch.equal(sample_a, sample_b)


@every_model
def test_state_survives_a_file(name):
    model, x = ready_on_some(name)
    train(model, x, steps=1)
    buffer = io.BytesIO()
    torch.save(model.state_dict(), buffer)
    buffer.seek(0)
    other = model_on(name, model.spec, seed=1)
    other.load_state_dict(torch.load(buffer, weights_only=True))
    assert all(torch.equal(a, b) for a, b in zip(model.parameters(), other.parameters(), strict=True))
    if not isinstance(model, Samples):
        pytest.skip(f"{name} does not sample")
    torch.manual_seed(3)
    expected = model.eval().sample(3)
    torch.manual_seed(3)
    assert torch.equal(other.eval().sample(3), expected)


@pytest.mark.slow
@every_model
@pytest.mark.parametrize("kind", ["gray images", "points"])
def test_fits_one_batch(name, kind):
    if name == BY_SOLVING and kind != "points":
        pytest.skip("a step on images solves an ODE of convolutions: its objective is tested on points")
    model, x = ready(name, kind, n=8)
    if len(model.players()) > 1:
        pytest.skip("a game has no loss that falls; its players are tested with their theory")
    x = x.repeat(4, *[1] * (x.dim() - 1))  # so that a loss with random numbers varies less

    @torch.no_grad()
    def misfit():
        torch.manual_seed(1)  # the same draws before and after
        objective = model.loss(x).is_objective  # its value is random, as is that of a bound
        values = (model.loss(x).total if objective else -model.log_likelihood(x).nats.mean() for _ in range(8))
        return torch.stack([*values]).mean()

    before = misfit()
    train(model, x, steps=80, lr=3e-3)
    assert misfit() < before - 0.1


@every_model
def test_works_under_bf16_autocast_and_channels_last(name):
    model, x = ready(name, "color images")
    model = model.to(memory_format=torch.channels_last)
    with torch.autocast("cpu", torch.bfloat16):
        for total, parameters in losses(model, x):
            assert total.dtype == torch.float32
            assert torch.isfinite(total)
            total.backward(inputs=parameters)
