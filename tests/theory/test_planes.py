"""On the plane densities integrate to one and bounds to at most one, and training approaches the true density."""

from __future__ import annotations

import math

import pytest
import torch
from conformance.kinds import BY_SOLVING, CONFIGURED, model_on, trainer_of

from genmodels.core import DataSpec, Kind
from genmodels.core.abilities import HasLikelihood
from genmodels.data.sources import Mixture

SPEC = DataSpec((2,))
SIDE, CELLS, DRAWS = 12.0, 144, 16
COARSE = 72  # cells a side for a bound: for components of width 0.2 the midpoint rule errs by 0.2 % there
NORMALIZED = (Kind.EXACT, Kind.ESTIMATE)  # on reals these have no noise, and are densities up to a solver's error
TRUTH = Mixture(train_size=4096, test_size=1024)


def with_likelihood():
    learning = (name for name in CONFIGURED if name != BY_SOLVING)  # whose one step teaches no accurate velocity
    return [name for name in learning if isinstance(model_on(name, SPEC), HasLikelihood)]


@torch.no_grad()
def integral(model) -> tuple[float, Kind]:
    """``∫ exp(E log p)`` over a square with nearly all of the model's mass, by the midpoint rule, and its kind."""
    kind = model.log_likelihood(torch.zeros(1, 2)).kind
    cells, draws = (CELLS, 1) if kind in NORMALIZED else (COARSE, DRAWS)
    line = (torch.arange(cells) + 0.5) * (2 * SIDE / cells) - SIDE
    grid = torch.cartesian_prod(line, line)
    torch.manual_seed(0)
    mean = model.log_likelihood(grid.repeat(draws, 1)).nats.view(draws, -1).double().mean(0)
    return float(mean.exp().sum()) * (2 * SIDE / cells) ** 2, kind


@torch.no_grad()
def divergence(model, test) -> float:
    """KL(truth || model), or an upper bound on it, in nats, estimated on held-out examples ``[N, 2]``."""
    torch.manual_seed(0)
    return float((TRUTH.log_prob(test) - model.log_likelihood(test.repeat(4, 1)).nats.view(4, -1).mean(0)).mean())


@pytest.mark.slow
@pytest.mark.parametrize("name", with_likelihood())
def test_density_integrates_to_one_or_a_bound_to_less_and_training_approaches_the_truth(name):
    torch.manual_seed(0)
    data = TRUTH.load(None)
    model = model_on(name, SPEC)
    model.initialize(data.train[:512])
    train = trainer_of(model, lr=5e-3)
    divergences = []
    for step in range(301):
        if step in (0, 50, 300):
            divergences.append(divergence(model.eval(), data.test))
            model.train()
        train(data.train[torch.randint(len(data.train), (256,))])
    assert math.inf > divergences[0] > divergences[1] > divergences[2] > 0
    total, kind = integral(model.eval())
    if kind in NORMALIZED:
        assert total == pytest.approx(1, abs=0.01)
    else:
        assert 0.05 < total < 1.01
