"""The one place where config becomes objects: what it refuses, and with which sentence."""

from __future__ import annotations

import pytest
import torch

from genmodels.builder import build, check, fits
from genmodels.core import DataSpec, UserError

SPEC = {"_target_": "genmodels.core.DataSpec", "shape": [2], "levels": 3}


def test_builds_what_the_config_says():
    assert build(SPEC, "spec") == DataSpec((2,), 3)


@pytest.mark.parametrize(
    "target",
    [
        "os.system",
        "builtins.eval",
        "genmodels.launch.os.system",  # reached through an allowed package, defined elsewhere
        "genmodels.runs.subprocess.run",
        "torch.hub.load",
        3,
    ],
)
def test_targets_outside_the_allowed_packages_are_refused(target):
    with pytest.raises(UserError, match="refused"):
        check({"inner": [{"_target_": target}]}, "model")


def test_a_misspelt_target_names_the_nearest():
    with pytest.raises(UserError, match="did you mean 'DataSpec'"):
        build({"_target_": "genmodels.core.DataSpek"}, "spec")


def test_an_unknown_argument_names_the_nearest():
    with pytest.raises(UserError, match=r"unknown key model\.spec\.level; did you mean 'levels'"):
        build({**{k: v for k, v in SPEC.items() if k != "levels"}, "level": 3}, "model.spec")


def test_a_value_of_the_wrong_type_is_named_with_the_right_one():
    with pytest.raises(UserError, match=r"spec\.levels must be an integer or null, got 'many'"):
        build({**SPEC, "levels": "many"}, "spec")


def test_a_refused_value_is_told_by_its_constructor():
    with pytest.raises(UserError, match="from 2 to 256"):
        build({**SPEC, "levels": 1}, "spec")
    with pytest.raises(UserError, match="optimizer: Invalid learning rate"):
        parameter = torch.nn.Parameter(torch.zeros(1))
        build({"_target_": "torch.optim.Adam", "lr": -1.0}, "optimizer", params=[parameter])


@pytest.mark.parametrize(
    ("value", "hint", "fit"),
    [
        (1, int, True),
        (1, float, True),
        (1.0, int, False),
        (True, int, False),
        (True, bool, True),
        (None, int | None, True),
        ("1", int | None, False),
        ([1], list, True),  # only plain types are judged
    ],
)
def test_fits(value, hint, fit):
    assert fits(value, hint) is fit
