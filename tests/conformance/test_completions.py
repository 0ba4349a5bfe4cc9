"""Models that complete examples: known values stay as they are, and the others follow the model's conditional law.

The same check must fail on a model that ignores what is known.
"""

from __future__ import annotations

import copy

import pytest
import torch
from conformance.kinds import CONFIGURED, KINDS, model_on
from conformance.test_conformance import pairs, ready, train
from conformance.test_sums_to_one import SPEC, trained

from genmodels.core.abilities import Completes

COMPLETING = [name for name in CONFIGURED if isinstance(model_on(name, SPEC), Completes)]
ROWS, CANDIDATES = 1500, 8


@pairs
def test_known_values_come_back_unchanged_and_so_does_the_model(name, kind):
    model, x = ready(name, kind, n=4)
    if not isinstance(model, Completes):
        pytest.skip(f"{name} does not complete")
    train(model, x, steps=1)
    model.eval()
    before = copy.deepcopy((model.state_dict(), model.chains))
    known = torch.rand(x.shape) < 0.5
    known[0], known[1] = True, False
    with torch.no_grad():
        found = model.complete(x, known, 2)
    KINDS[kind].check(found)
    assert torch.equal(found[known], x[known]) and torch.isfinite(found.float()).all()
    for old, new in zip(before, (model.state_dict(), model.chains), strict=True):
        assert all(torch.equal(old[key], new[key]) for key in old)


@torch.no_grad()
def pairs_drawn(model):
    """How many of the model's samples are each pair ``[3, 3]``; row i over its sum is ``p(x_2 | x_1 = i)``."""
    sample = model.sample(15_000).long()
    return torch.bincount(sample[:, 0] * 3 + sample[:, 1], minlength=9).view(3, 3).double()


@torch.no_grad()
def completed(model, value):
    """Frequencies of x_2 in completions of pairs whose first value is given."""
    x = torch.full((ROWS, 2), value, dtype=torch.uint8)
    known = torch.tensor([True, False]).expand(ROWS, 2)
    return torch.bincount(model.complete(x, known, CANDIDATES)[:, 1].long(), minlength=3).double()


def assert_same_law(model):
    torch.manual_seed(4)
    for value, counts in enumerate(pairs_drawn(model)):
        found = completed(model, value)
        p, n = counts / counts.sum(), counts.sum()
        error = (p * (1 - p) * (1 / n + 1 / ROWS)).sqrt() + 2 / n
        assert ((found / ROWS - p).abs() < 4 * error + 0.01).all(), f"{found / ROWS} for {p} given {value}"


@pytest.mark.slow
@pytest.mark.parametrize("name", COMPLETING)
def test_completions_follow_the_conditional_law(name):
    model = copy.copy(trained(name))
    if hasattr(model, "temperatures"):  # until the annealed law is that of the energy
        model.temperatures = 200
    assert_same_law(model)


def test_a_model_that_ignores_what_is_known_is_caught():
    model = copy.copy(trained("ddpm"))
    model.complete = lambda x, known, candidates: torch.where(known, x, model.sample(len(x)))
    with pytest.raises(AssertionError):
        assert_same_law(model)


def test_one_candidate_is_the_replacement_method_which_is_caught():
    model = copy.copy(trained("ddpm"))
    complete = model.complete
    model.complete = lambda x, known, candidates: complete(x, known, 1)
    with pytest.raises(AssertionError):
        assert_same_law(model)


@pytest.mark.parametrize("name", COMPLETING)
def test_a_number_of_candidates_below_one_is_refused(name):
    x = torch.zeros(1, 2, dtype=torch.uint8)
    with pytest.raises(ValueError, match=r"^candidates must be"):
        model_on(name, SPEC).complete(x, x == 0, 0)
