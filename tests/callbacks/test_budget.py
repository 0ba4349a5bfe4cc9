"""Budgets mean the same for one optimizer and for two."""

from __future__ import annotations

import itertools

import pytest
from conformance.kinds import MODELS
from conformance.test_laboratory import settings

from genmodels.callbacks import Budget
from genmodels.errors import UserError
from genmodels.experiment import run
from genmodels.runs import RunFolder

NONE = {"max_batches": None, "max_epochs": None, "max_examples": None, "max_time": None}


LIMITS = {"budget.max_batches=7": 7, "budget.max_examples=41": 6, "budget.max_epochs=2": 8, "budget=examples:24": 3}
OF_A_GAME = [("gan", limit) for limit in LIMITS]  # whose batch takes two steps; the others take the limits in turn
OF_OTHERS = zip((name for name in MODELS if name != "gan"), itertools.cycle(LIMITS), strict=False)


@pytest.mark.parametrize(("name", "limit"), [*OF_A_GAME, *OF_OTHERS])
def test_limits_mean_the_same_for_every_model(name, limit, tmp_path):
    """32 training examples (40 less the validation split's 8) in batches of 8: four batches per epoch."""
    words = ("data.val_size=8", "budget.max_batches=null", limit, "callbacks.samples=null")
    config = settings(name, "points", tmp_path, *words)
    run(config)
    assert RunFolder(tmp_path / "run").read()["cost"]["batches"] == LIMITS[limit]


def test_without_a_limit_the_data_sets_own_holds():
    assert Budget.parse(NONE, {"max_batches": 5}).limits == {"batches": 5}
    assert Budget.parse(NONE | {"max_time": "2m"}, {"max_batches": 5}).limits == {"time": 120}


@pytest.mark.parametrize("bad", [0, -3, "soon", "10x", True, "", "nan"])
def test_invalid_amounts(bad):
    with pytest.raises(UserError, match=r"budget\.max_batches must be a positive amount"):
        Budget(max_batches=bad)


def test_an_invalid_short_form():
    with pytest.raises(UserError, match="write budget=time:10m"):
        Budget.parse("10m", {})


def test_no_limit_at_all():
    with pytest.raises(UserError, match="set one of"):
        Budget()
