"""Bounds from drawn terms: their errors, stated and true, at equal cost."""

import math
from pathlib import Path
from tempfile import TemporaryDirectory
from types import SimpleNamespace

import pytest
import torch
from models.ddpms import exact

from genmodels.core import Kind
from genmodels.core.stepwise import inclusion_probabilities
from genmodels.diffusion import FixedSmall
from genmodels.metrics import LikelihoodEvaluation, Subject


def scored(model, test, **options):
    """The score of :class:`LikelihoodEvaluation` on data ``test [N, *shape]``, with others held out."""
    held_out = torch.randn(500, *test.shape[1:], generator=torch.Generator().manual_seed(1))
    splits = {"test": test, "val": held_out}
    data = SimpleNamespace(split=splits.__getitem__, eval_batch_size=1000)
    evaluation = LikelihoodEvaluation(**options)
    model.eval()
    with TemporaryDirectory() as folder, torch.no_grad():
        (score,) = evaluation.measure(Subject(model, data, None, 0, Path(folder)))
        rows = (Path(folder) / "timesteps.csv").read_text().splitlines()
    assert len(rows) == 1 + model.process.steps
    return score


def test_drawn_terms_have_a_fifth_of_the_error_of_the_full_sum_at_equal_passes():
    torch.manual_seed(0)
    model = exact(1000)
    model.variance = FixedSmall()
    test = torch.randn(10_000, 1)
    drawn, full = scored(model, test, max_passes=100_000), scored(model, test, terms=1000, max_passes=100_000)
    print(f"100 000 passes: drawn {drawn.text} (n={drawn.n}), full sum {full.text} (n={full.n})")
    assert (drawn.n, full.n) == (10_000, 100) and drawn.kind is full.kind is Kind.LOWER_BOUND
    assert drawn.se < full.se / 5
    assert abs(drawn.value - full.value) < 3 * math.hypot(drawn.se, full.se)
    assert drawn.conditions == full.conditions and drawn.quantity == full.quantity
    passes = drawn.protocol["terms"]
    assert passes["drawn"] * drawn.n + passes["passes_to_learn_it"] <= 100_000 and passes["of"] == 1000
    assert full.protocol["terms"] == {"drawn": 1000, "of": 1000}
    assert scored(model, test, max_passes=100_000) == drawn  # the draw is seeded


def test_the_error_of_drawn_terms_is_that_of_repeated_evaluations():
    """The stated standard error against the spread of the score over seeds, on the same examples."""
    torch.manual_seed(0)
    model, x = exact(100), torch.randn(100, 1)
    model.variance = FixedSmall()
    inclusion = inclusion_probabilities(1 / torch.arange(1, 101), 4)
    x = x[:1].expand(200_000, 1)  # the draw alone
    nats = model.stepwise_likelihood(x, inclusion).nats.double()
    means = nats.view(500, 400).mean(1)
    stated = nats.view(500, 400).std(1).mean() / 20
    assert means.std().item() == pytest.approx(stated.item(), rel=0.15)
