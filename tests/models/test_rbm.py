"""RBM: whatever can be enumerated is, in float64, for all kinds of units."""

from __future__ import annotations

import copy
import math

import pytest
import torch

from genmodels.core import DataSpec, Kind
from genmodels.data.sources import Bars
from genmodels.errors import UserError
from genmodels.mcmc import enumerate_states, linear_schedule
from genmodels.mcmc.gibbs import BipartitePath
from genmodels.models.base import make_optimizers, train_batch
from genmodels.models.rbm import RBM

TINY = ["model.hidden=8", "model.temperatures=20", "model.validation_temperatures=10", "model.chains=32"]


def energy_of_pairs(model, v, h):
    """``-E(v, h) + log C(2, v) [N, M]`` of integer pairs ``[N, 2]`` and hidden states ``[M, m]``, by the definition."""
    weight, a, c = (p.double() for p in (model.weight, model.visible_bias, model.hidden_bias))
    v, h, mean = v.double(), h.double() - 0.5, model.mean.double()
    binomial = torch.tensor([1.0, 2.0, 1.0]).double().log()[v.long()].sum(1)
    return ((v - mean) @ a + binomial)[:, None] + h @ c + (v - mean) @ weight @ h.T


def nats_in_pixels(model, x):
    """By summing exp(-E) over all pairs of visible and hidden states; beyond enumeration, chain by chain."""
    if not model.exact:
        return annealed_in_pixels(model, x)
    v = torch.cartesian_prod(torch.arange(3.0), torch.arange(3.0))
    h = torch.cartesian_prod(*[torch.arange(2.0)] * model.hidden)
    log_z = torch.logsumexp(energy_of_pairs(model, v, h).flatten(), 0)
    return torch.logsumexp(energy_of_pairs(model, x, h), 1) - log_z


def annealed_in_pixels(model, x):
    """The reversed chain once more: every f_b as a product over units, in float64."""
    weight, a, c = (p.double() for p in (model.weight, model.visible_bias, model.hidden_bias))
    p = model.mean.double() / 2  # of the base-rate machine
    base = (p / (1 - p)).log()
    v = x.double()

    def log_f(v, b):
        code = v - model.mean.double()
        binomial = torch.tensor([1.0, 2.0, 1.0]).double().log()[v.long()].sum(1)
        up, down = (torch.exp(s * b * (c + code @ weight)) for s in (0.5, -0.5))
        return binomial + code @ ((1 - b) * base + b * a) + (up + down).log().sum(1)

    log_z0 = 2 * (1 / (1 - p)).log().sum() - (model.mean.double() * base).sum() + model.hidden * math.log(2)
    total = log_f(v, 1.0) - log_z0
    for t in range(model.temperatures, 0, -1):
        b = t / model.temperatures
        p = torch.sigmoid(b * (c + (v - model.mean) @ weight)).float()
        h = (torch.rand_like(p) < p).double()
        q = torch.sigmoid((1 - b) * base + b * (a + (h - 0.5) @ weight.T)).float()
        v = torch.binomial(torch.full_like(q, 2), q).double()
        total = total + log_f(v, (t - 1) / model.temperatures) - log_f(v, b)
    return total


BITS, PAIRS, REALS = DataSpec((6,), 2), DataSpec((3,), 4), DataSpec((2,))
KINDS = pytest.mark.parametrize("spec", [BITS, PAIRS], ids=["bits", "integers"])
CODES = pytest.mark.parametrize(
    ("units", "centered"), [("binary", True), ("binary", False), ("spin", True), ("spin", False)]
)


def machine_of(spec, units="binary", centered=True, hidden=5, seed=0, size=0.4, **settings):
    """A model in float64 with large random parameters, and offsets of random data."""
    torch.manual_seed(seed)
    model = RBM(spec, hidden, torch.optim.Adam, units=units, centered=centered, chains=16, **settings)
    levels = spec.levels
    x = torch.randn(40, *spec.shape) + 1 if levels is None else torch.randint(levels, (40, *spec.shape)).byte()
    model.initialize(x)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.add_(size * torch.randn_like(parameter))
    return model.double()


def states(spec):
    return torch.cat([*enumerate_states(spec.dims, range(spec.levels))])


def hidden_states(model):
    return torch.cat([*enumerate_states(model.hidden, (0, 1))])


def law(machine, v):
    """``p(v)`` of all states of the visible units."""
    return machine.log_f(v).softmax(0)


@KINDS
@CODES
def test_both_layers_sum_to_the_same_partition_function(spec, units, centered):
    model = machine_of(spec, units, centered)
    machine = model.machine()
    by_visible = torch.logsumexp(machine.log_f(states(spec)), 0)
    by_hidden = torch.logsumexp(machine.log_f_hidden(hidden_states(model)), 0)
    torch.testing.assert_close(by_hidden, by_visible, rtol=0, atol=1e-10)
    assert model.log_partition() == (pytest.approx(by_visible.item(), abs=1e-5), "enumeration")


@KINDS
def test_codes_of_the_units_are_parametrizations_of_the_same_distributions(spec):
    """E = -a v~ - c h~ - v~ W h~ with v~ = k v - s, h~ = k h - l, expanded into the plain E = -a'v - c'h - v W'h."""
    plain = machine_of(spec, "binary", centered=False)
    for units, centered in (("binary", True), ("spin", False), ("spin", True)):
        other = machine_of(spec, units, centered, seed=1).machine()
        k, s, shift = other.scale, other.visible.shift, other.shift
        with torch.no_grad():
            plain.weight.copy_(k * k * other.weight)
            plain.visible_bias.copy_(k * (other.visible_bias - shift * other.weight.sum(1)))
            plain.hidden_bias.copy_(k * (other.hidden_bias - s @ other.weight))
        v = states(spec)
        torch.testing.assert_close(law(plain.machine(), v), law(other, v), rtol=1e-10, atol=0)


@KINDS
@CODES
def test_a_sweep_leaves_the_law_invariant_and_is_reversible(spec, units, centered):
    model = machine_of(spec, units, centered, hidden=4)
    machine, v, h = model.machine(), states(spec), hidden_states(model)
    up = torch.sigmoid(machine.scale * machine.hidden_field(v))
    to_h = torch.where(h[None] > 0, up[:, None], 1 - up[:, None]).prod(2)  # [V, H]
    field = machine.visible_field(h)
    log_v = machine.visible.log_base(v) + field @ machine.visible.code(v).T  # [H, V]
    to_v = log_v.softmax(1)
    torch.testing.assert_close(log_v.logsumexp(1), machine.visible.log_partition(field), rtol=0, atol=1e-10)
    sweep, p = to_h @ to_v, law(machine, v)
    torch.testing.assert_close(p @ sweep, p, rtol=0, atol=1e-12)
    flow = p[:, None] * sweep
    torch.testing.assert_close(flow, flow.T, rtol=0, atol=1e-13)


@CODES
def test_the_gradient_of_the_likelihood_is_the_clamped_phase_less_the_free_one(units, centered):
    model = machine_of(BITS, units, centered)
    v, data = states(BITS), states(BITS)[[3, 3, 17, 40]]
    parameters = list(model.parameters())

    def gradient(of):
        return torch.autograd.grad(of(model.machine()), parameters)

    exact = gradient(lambda machine: machine.log_f(data).mean() - torch.logsumexp(machine.log_f(v), 0))
    p = law(model.machine(), v).detach()
    phases = gradient(lambda machine: machine.log_f(data).mean() - (p * machine.log_f(v)).sum())
    for a, b in zip(exact, phases, strict=True):
        torch.testing.assert_close(a, b, rtol=0, atol=1e-12)


def test_the_loss_has_that_gradient_if_its_chains_have_the_law_of_the_model():
    model = machine_of(BITS)
    x = states(BITS)[[3, 3, 17, 40]].byte()
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.zero_()  # every state is equally likely, whatever the hidden units
    model.chains = {"h": torch.zeros(12_800, model.hidden, dtype=torch.float64)}
    torch.manual_seed(0)
    loss = model.loss(x)
    assert not loss.is_objective
    (gradient,) = torch.autograd.grad(loss.total, model.weight, retain_graph=True)
    machine = model.machine()
    log_z = torch.logsumexp(machine.log_f(states(BITS)), 0)
    (exact,) = torch.autograd.grad((log_z - machine.log_f(model.embed(x).double()).mean()) / 6, model.weight)
    torch.testing.assert_close(gradient, exact, rtol=0, atol=2e-3)


def test_gaussian_units_are_a_mixture_whose_density_integrates_to_one():
    model = machine_of(REALS, hidden=4)
    line = torch.linspace(-14, 16, 601, dtype=torch.float64)
    x = torch.cartesian_prod(line, line)
    nats = model.log_likelihood(x.float()).nats.double()
    assert (nats.exp().sum() * (line[1] - line[0]) ** 2).item() == pytest.approx(1, abs=1e-4)
    machine, h = model.machine(), hidden_states(model)
    precision, field = machine.visible.precision, machine.visible_field(h)
    weights = machine.log_f_hidden(h).log_softmax(0)
    y = model.embed(x[::999]).double()
    normal = torch.distributions.Normal(field / precision, precision.rsqrt())
    mixture = torch.logsumexp(weights + normal.log_prob(y[:, None]).sum(2), 1) - model.std.log().sum()
    torch.testing.assert_close(nats[::999], mixture, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("spec", [BITS, PAIRS, REALS], ids=["bits", "integers", "reals"])
@CODES
def test_annealing_estimates_the_enumerated_partition_function(spec, units, centered):
    model = machine_of(spec, units, centered).float()
    torch.manual_seed(0)
    w = model.partition_weights(4000, temperatures=50)
    estimate = torch.logsumexp(w, 0) - math.log(len(w))
    error = w.sub(w.max()).exp().std() / w.sub(w.max()).exp().mean() / math.sqrt(len(w))
    assert estimate.item() == pytest.approx(model.log_partition()[0], abs=4 * error.item() + 1e-4)


def annealed_law(model, temperatures):
    """``p_ann`` of all states: the base-rate machine's law, multiplied by the matrices of all sweeps."""
    v, h = states(model.spec), hidden_states(model)
    path = BipartitePath(model.machine(), model.visible(), model.base_bias())
    p = path.log_f(path.state(v), 0.0).softmax(0)
    for b in linear_schedule(temperatures).tolist()[1:]:
        machine, (visible, bias) = path.machine, path.at(b)
        up = torch.sigmoid(b * machine.scale * machine.hidden_field(v))
        to_h = torch.where(h[None] > 0, up[:, None], 1 - up[:, None]).prod(2)
        field = bias + b * (machine.scale * h - machine.shift) @ machine.weight.T
        p = p @ to_h @ (visible.log_base(v) + field @ visible.code(v).T).softmax(1)
    return p


@pytest.mark.parametrize("temperatures", [1, 4])
@KINDS
@CODES
def test_the_bound_is_of_the_law_that_annealing_samples(spec, units, centered, temperatures):
    """E[w] = p_ann at every state, and samples have its frequencies, however few the temperatures are."""
    size = 0.4 if units == "binary" else 0.15  # weights whose estimates have no heavy tails
    model = machine_of(spec, units, centered, hidden=4, size=size, exact=False, temperatures=temperatures)
    p = annealed_law(model, temperatures)
    torch.manual_seed(0)
    w = model.log_weights(states(spec).byte(), 3000).exp()
    assert ((w.mean(0) - p).abs() <= 5 * w.std(0) / math.sqrt(3000) + 1e-12).all()
    x = model.sample(40_000).double()
    code = (x @ (spec.levels ** torch.arange(spec.dims - 1, -1, -1)).double()).long()
    frequency = torch.bincount(code, minlength=len(p)) / 40_000
    assert ((frequency - p).abs() <= 5 * (p / 40_000).sqrt() + 1e-4).all()


def test_few_temperatures_are_another_law():
    torch.manual_seed(0)
    model = machine_of(BITS, hidden=4)
    v = states(BITS)
    distance = [(annealed_law(model, t) - law(model.machine(), v)).abs().sum().item() / 2 for t in (1, 10, 100)]
    assert distance[0] > 2 * distance[1] > 4 * distance[2] > 0


def fitted(chains, seed, batches=1000):
    """KL(truth, model) in nats, by enumeration, of a machine trained on bars and stripes."""
    truth = Bars()
    x = truth.load(None).train
    torch.manual_seed(seed)
    model = RBM(DataSpec((1, 4, 4), 2), 12, lambda p: torch.optim.Adam(p, 0.01), chains=chains)
    model.initialize(x[:512])
    (optimizer,) = make_optimizers(model)
    schedule = torch.optim.lr_scheduler.LinearLR(optimizer, 1, 0, batches)
    for _ in range(batches):
        train_batch(model, x[torch.randint(len(x), (128,))], [optimizer], [schedule])
    test = x[:4000]
    return float((truth.log_prob(test) - model.log_likelihood(test).nats).mean())


def test_chains_from_the_data_are_biased_and_persistent_ones_less():
    """CD-1 leaves mass on states that its chains never reach in one sweep; at equal cost PCD finds them."""
    persistent, from_data = (sum(fitted(chains, seed) for seed in range(3)) / 3 for chains in (500, 0))
    assert persistent < 0.65 < 0.8 < from_data


def test_what_is_remembered_of_the_states_is_forgotten_when_a_parameter_changes():
    model = machine_of(BITS).float()
    before = model.log_partition()[0]
    other = copy.deepcopy(model)
    for changed in (model, other):
        with torch.no_grad():
            changed.weight.mul_(1.5)
        log_z = torch.logsumexp(changed.machine().log_f(states(BITS).float()), 0).item()
        assert changed.log_partition()[0] == pytest.approx(log_z, abs=1e-5)
        assert changed.log_partition()[0] != before


def test_what_is_remembered_of_the_states_is_forgotten_when_a_fused_optimizer_steps():
    model = machine_of(BITS).float()
    (optimizer,) = make_optimizers(model)
    assert optimizer.param_groups[0]["fused"]
    before = model.log_partition()[0]
    train_batch(model, states(BITS).byte(), [optimizer])
    log_z = torch.logsumexp(model.machine().log_f(states(BITS).float()), 0).item()
    assert model.log_partition()[0] == pytest.approx(log_z, abs=1e-5)
    assert abs(log_z - before) > 1e-4


@pytest.mark.parametrize("units", ["binary", "spin"])
@KINDS
def test_completions_have_the_conditional_law_by_enumeration(spec, units):
    """Also by few temperatures and candidates that make up for them, which one candidate does not."""
    torch.manual_seed(0)
    model = machine_of(spec, units, size=1.5, temperatures=30)
    v = states(spec)
    x, known = v[len(v) // 3], torch.arange(spec.dims) < spec.dims // 2
    fits = (v[:, known] == x[known]).all(1)
    p = model.log_likelihood(v.to(torch.uint8)).nats[fits].double().softmax(0)
    rows = x.to(torch.uint8).expand(6000, -1)
    found = model.complete(rows, known.expand(6000, -1), 16)
    assert torch.equal(found[:, known], rows[:, known])
    counts = (found[:, None].float() == v[fits].float()).all(2).sum(0).double()
    assert counts.sum() == 6000
    assert ((counts / 6000 - p).abs() < 4.5 * (p * (1 - p) / 6000).sqrt() + 0.004).all()


def test_clamped_chains_leave_the_known_reals_alone_and_draw_the_others_given_them():
    """Of two Gaussian visible units: the conditional density by quadrature."""
    torch.manual_seed(0)
    model = machine_of(REALS, size=1.5, temperatures=100)
    line = torch.linspace(-9, 9, 3001)
    value = model.unembed(torch.tensor([[0.8, 0.0]]))[0, 0]
    points = torch.stack([value.expand(3001), model.mean[1] + model.std[1] * line], 1)
    p = (-model.energy(points)).double().softmax(0)
    x = torch.stack([value, torch.tensor(0.0)]).expand(4000, 2)
    found = model.complete(x, torch.tensor([True, False]).expand(4000, 2), 16)
    assert (found[:, 0] == value).all()
    mean = float(p @ points[:, 1].double())
    variance = float(p @ (points[:, 1].double() - mean).square())
    assert abs(float(found[:, 1].mean()) - mean) < 4.5 * math.sqrt(variance / 4000) + 0.01
    assert float(found[:, 1].var()) == pytest.approx(variance, rel=0.12)


def test_visible_states_are_enumerated_where_they_are_fewer():
    model = machine_of(BITS, hidden=30).float()
    assert model.exact and not model.sums_hidden and model.log_likelihood(states(BITS).byte()).kind is Kind.EXACT
    p = model.log_likelihood(states(BITS).byte()).nats.exp()
    assert p.sum().item() == pytest.approx(1, abs=1e-5)
    torch.manual_seed(0)
    code = (model.sample(20_000).long() @ (2 ** torch.arange(5, -1, -1))).bincount(minlength=64) / 20_000
    assert ((code - p).abs() <= 5 * (p / 20_000).sqrt() + 1e-4).all()


@pytest.mark.parametrize("spec", [DataSpec((30,), 2), DataSpec((30,), 17), DataSpec((2,))], ids=str)
def test_a_learning_rate_at_which_training_diverges_is_told_by_validation_and_a_good_one_is_not(spec):
    """Its loss, which is no objective, stays finite for ever."""
    torch.manual_seed(0)
    x = torch.randint(spec.levels, (200, 30)).byte() if spec.levels else torch.randn(200, 2)
    for lr, diverges in ((0.01, False), (10.0, True)):
        model = RBM(spec, 24, lambda p, lr=lr: torch.optim.Adam(p, lr), exact=False, validation_temperatures=20)
        model.initialize(x)
        optimizers = make_optimizers(model)
        for _ in range(20):
            train_batch(model, x, optimizers)
        if diverges:
            with pytest.raises(
                UserError, match=r"nats per dimension below .* has diverged .*lower model\.optimizer\.lr"
            ):
                model.monitor(x[:50])
        else:
            assert model.monitor(x[:50]).kind is Kind.LOWER_BOUND


def test_out_of_range():
    for settings, sentence in (
        ({"hidden": 21, "exact": True}, "set hidden to at most 20"),
        ({"hidden": 0}, "hidden must be an integer"),
        ({"hidden": 4, "units": "ternary"}, "units must be binary or spin"),
        ({"hidden": 4, "temperatures": 0}, "temperatures must be an integer"),
        ({"hidden": 4, "chains": -1}, "chains must be an integer"),
    ):
        with pytest.raises(ValueError, match=sentence):
            RBM(DataSpec((30,), 2), optimizer=torch.optim.Adam, **settings)
