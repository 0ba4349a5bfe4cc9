"""Models that take labels are one distribution p(x|y) for each label y, and every row is that of its own example."""

from __future__ import annotations

import math

import pytest
import torch
from conformance.kinds import CHOSEN, KINDS, MODELS, composed, examples, model_on, trainer_of
from conformance.test_sums_to_one import POINTS

from genmodels.builder import resolve
from genmodels.core import DataSpec, Kind
from genmodels.core.abilities import Completes, HasImportanceWeights, HasLikelihood, HasProbabilityFlow
from genmodels.core.stepwise import inclusion_probabilities
from genmodels.errors import UserError
from genmodels.models.base.given import LABELLED

LABELS = 2
PAIRS = DataSpec((2,), 3, classes=LABELS)  # label 0: mostly (0, 0); label 1: mostly (2, 2)
SAMPLES = 10_000


def times(model, n):
    """``n`` draws, or a twentieth of them of a model whose likelihood takes an ODE."""
    return n if model.passes_per_example <= 20 else n // 20


each = pytest.mark.parametrize("name", MODELS)


def taking(name, spec=PAIRS):
    """A tiny model of labels; the test of one that takes none is skipped."""
    try:
        return model_on(name, spec)
    except UserError as error:
        assert "takes no labels" in str(error)
        return pytest.skip(f"{name} takes no labels")


@each
def test_models_that_take_no_labels_name_those_that_do(name):
    if CHOSEN:
        pytest.skip("of the models of genmodels alone")
    taken = name in LABELLED.replace(" and ", ", ").split(", ")
    assert taken == resolve(composed(name).model._target_, "model").takes_labels
    if not taken:
        with pytest.raises(UserError, match=r"gan, .* and cnf do; set data\.labels=false"):
            model_on(name, PAIRS)


def pairs(n, seed=0):
    """Examples ``[n, 2]`` and their labels ``[n]``."""
    generator = torch.Generator().manual_seed(seed)
    y = torch.randint(LABELS, (n,), generator=generator)
    x = 2 * y[:, None].expand(n, 2).clone()
    other = torch.rand(n, 2, generator=generator) < 0.2
    return torch.where(other, torch.randint(3, (n, 2), generator=generator), x).to(torch.uint8), y


def trained(name):
    model, (x, y) = taking(name), pairs(512)
    model.count_labels(y)
    with model.given(y):
        model.initialize(x)
    step = trainer_of(model, lr=5e-3)
    for _ in range(200):
        rows = torch.randint(len(x), (128,))
        with model.given(y[rows]):
            step(x[rows])
    return model.eval()


class Trained(dict):
    """Models by name, each trained when it is first asked for."""

    def __missing__(self, name):
        torch.manual_seed(0)
        self[name] = trained(name)
        return self[name]


@pytest.fixture(scope="module")
def models():
    return Trained()


@pytest.fixture(autouse=True)
def seed():
    torch.manual_seed(1)


@each
def test_unbound_use_is_refused(name):
    model = taking(name)
    with pytest.raises(ValueError, match=r"model\.given\(y\)"):
        model.sample(3)
    with pytest.raises(ValueError, match="2 labels for 3 rows"), model.given(torch.tensor([0, 1])):
        model.sample(3)
    with pytest.raises(ValueError, match="int64"), model.given(torch.tensor([0.0])):
        model.sample(1)
    with pytest.raises(ValueError, match="without labels"), model_on(name, KINDS["points"]).given(torch.tensor([0])):
        pass


@each
@pytest.mark.parametrize("kind", ["gray images", "color images", "points"])
def test_losses_and_samples_on_other_data(name, kind):
    spec = DataSpec(KINDS[kind].shape, KINDS[kind].levels, classes=3)
    model, x, y = taking(name, spec), examples(spec, 6), torch.arange(6) % 3
    with model.given(y):
        model.initialize(x)
        step = trainer_of(model, lr=1e-3)
        for _ in range(2):
            assert all(torch.isfinite(loss.total) for loss in step(x))
        spec.check(model.eval().sample(6))


@each
def test_every_label_has_a_distribution(name, models):
    """Its masses sum to one, or a bound on them to at most one, and its samples have these frequencies."""
    model = models[name]
    for label in range(LABELS):
        with torch.no_grad(), model.given(torch.tensor([label])):
            sample = model.sample(SAMPLES).long()
            frequency = torch.bincount(sample[:, 0] * 3 + sample[:, 1], minlength=9).double() / SAMPLES
            assert (sample.float().mean() > 1) == bool(label)
            if not isinstance(model, HasLikelihood):
                continue
            draws = times(model, 200)
            likelihood = model.log_likelihood(POINTS.repeat(draws, 1))
        nats = likelihood.nats.view(draws, 9).double()
        mass, error = nats.mean(0).exp(), nats.std(0) / math.sqrt(draws)
        noise = 4 * (mass * error).square().sum().sqrt().item() + 1e-6
        assert 0.3 < mass.sum() <= 1 + noise
        assert likelihood.kind is not Kind.EXACT or mass.sum() >= 1 - noise
        slack = 4 * ((frequency * (1 - frequency) / SAMPLES).sqrt() + 1 / SAMPLES + mass * error)
        assert (mass <= frequency + slack).all()


@each
def test_every_row_is_that_of_its_own_label(name, models):
    """The same x with labels in an order that no other arrangement of rows would keep."""
    model, y = models[name], torch.tensor([1, 0, 0, 1, 0])
    x = torch.full((5, 2), 2, dtype=torch.uint8)
    if not isinstance(model, HasLikelihood):
        pytest.skip(f"{name} has no likelihood")

    def right(values):
        """Whether values ``[..., 5]``, higher for likelier x, tell the labels apart in every row."""
        assert (values[..., y == 1].amin(-1) > values[..., y == 0].amax(-1)).all()

    def averaged(likelihood, n=20):
        return torch.stack([likelihood().nats for _ in range(times(model, n))]).mean(0)

    with torch.no_grad(), model.given(y):
        right(averaged(lambda: model.log_likelihood(x)))
        right(model.log_likelihood(x, samples=times(model, 200)).nats)
        right(averaged(lambda: model.validation_likelihood(x), 100))
        if isinstance(model, HasImportanceWeights):
            right(model.log_weights(x, 300).view(3, 100, 5).logsumexp(1))
        if hasattr(model, "stepwise_likelihood"):
            steps = model.passes_per_example
            inclusion = inclusion_probabilities(torch.ones(steps), steps // 2)
            right(averaged(lambda: model.stepwise_likelihood(x, inclusion), 100))
        if isinstance(model, HasProbabilityFlow):
            right(model.flow_log_density(torch.ones(5, 2), 1e-3)[0])


@each
def test_completions_are_those_of_their_own_labels(name, models):
    model, y = models[name], torch.tensor([1, 0, 0, 1, 0])
    if not isinstance(model, Completes):
        pytest.skip(f"{name} does not complete")
    unknown = torch.zeros(5, 2, dtype=torch.bool)
    with model.given(y):
        found = torch.stack([model.complete(torch.zeros(5, 2, dtype=torch.uint8), unknown, 3) for _ in range(30)])
    mean = found.float().mean((0, 2))
    assert mean[y == 1].min() > mean[y == 0].max() + 0.5


@each
def test_labels_are_drawn_as_often_as_in_the_training_data(name):
    model = taking(name)
    model.count_labels(torch.tensor([0, 1, 1, 1]))
    assert model.label_frequencies.tolist() == [0.25, 0.75]
    drawn = model.draw_labels(4000)
    assert drawn.dtype == torch.int64 and drawn.float().mean().item() == pytest.approx(0.75, abs=0.03)
    other = model_on(name, PAIRS)
    other.load_state_dict(model.state_dict())
    assert torch.equal(other.label_frequencies, model.label_frequencies)
    assert model_on(name, KINDS["points"]).draw_labels(3) is None
