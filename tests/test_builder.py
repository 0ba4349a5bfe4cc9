"""The builder: objects from config nodes, refusals and their messages."""

from __future__ import annotations

import copy
import functools
import inspect
from typing import Any

import pytest
import torch

from genmodels.builder import build, check, fits, parameters
from genmodels.core import DataSpec
from genmodels.errors import UserError

SPEC = {"_target_": "genmodels.core.DataSpec", "shape": [2], "levels": 3}


def test_builds_what_the_config_describes():
    assert build(SPEC, "spec") == DataSpec((2,), 3)


@pytest.mark.parametrize(
    "target",
    [
        "os.system",
        "builtins.eval",
        "genmodels.launch.os.system",  # reached through an allowed package, defined elsewhere
        "genmodels.runs.provenance.subprocess.run",
        "torch.hub.load",
        "genmodels.builder.evaluated",  # gadgets that once ran code, or wrote files, from a stranger's config
        "genmodels.runs.write_whole",
        "genmodels.cli.main",
        "lightning.fabric.utilities.cloud_io._load",
        "lightning.pytorch.cli.instantiate_class",
        "torch.nn.attention._fa3._fa3_import_module",
        "torch.nn.init.zeros_",
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


def test_a_refused_value_has_the_message_of_its_constructor():
    with pytest.raises(UserError, match=r"^spec\.levels must be an integer from 2 to 256, or None, got 1\.$"):
        build({**SPEC, "levels": 1}, "spec")
    with pytest.raises(UserError, match="optimizer: Invalid learning rate"):
        parameter = torch.nn.Parameter(torch.zeros(1))
        build({"_target_": "torch.optim.Adam", "lr": -1.0}, "optimizer", params=[parameter])


VAE = {
    "_target_": "genmodels.models.vae.VAE",
    "spec": SPEC,
    "latent_dim": 2,
    "encoder": {"_target_": "genmodels.networks.mlp.mlp", "_partial_": True, "width": 4, "depth": 1},
    "decoder": {"_target_": "genmodels.networks.mlp.mlp", "_partial_": True, "width": 4, "depth": 1},
    "observation": {"_target_": "genmodels.core.observation.observation_for", "_partial_": True},
    "optimizer": {"_target_": "torch.optim.Adam", "_partial_": True, "lr": 1e-3},
}


def changed(key, value):
    """The VAE's node with one value replaced, at a dotted key."""
    node = copy.deepcopy(VAE)
    *parents, last = key.split(".")
    functools.reduce(lambda inner, name: inner[name], parents, node)[last] = value
    return node


@pytest.mark.parametrize(
    ("key", "value", "sentence"),
    [
        ("latent_dim", -3, "model.latent_dim must be an integer from 1 to 1000000, got -3."),  # by the constructor
        (
            "spec.levels",
            300,
            "model.spec.levels must be an integer from 2 to 256, or None, got 300.",
        ),  # refused by a child
        ("observation._target_", "genmodels.core.observation.Gaussian", "model.observation: spec must be of real data"),
        ("encoder._target_", "genmodels.networks.unet.unet", "unknown key model.encoder.depth"),
    ],
)
def test_a_library_s_sentence_gets_the_key_of_the_node_that_refused_it(key, value, sentence):
    with pytest.raises(UserError) as caught:
        build(changed(key, value), "model")
    assert str(caught.value).startswith(sentence)


def test_a_factory_names_its_own_key_whenever_it_is_called():
    model = build(changed("optimizer.lr", -1.0), "model")
    with pytest.raises(UserError, match=r"^model\.optimizer: Invalid learning rate: -1\.0$"):
        model.configure_optimizers()


def test_lists_of_nodes_are_built_and_named_by_their_places():
    assert build([SPEC, {"x": [SPEC, 3]}], "data") == [DataSpec((2,), 3), {"x": [DataSpec((2,), 3), 3]}]
    with pytest.raises(UserError, match=r"^data\[1\]\.x\[0\]\.levels must be an integer from"):
        build([SPEC, {"x": [{**SPEC, "levels": 1}]}], "data")


def test_an_annotation_that_only_type_checkers_can_read_does_not_hide_the_others():
    def target(a: Unknown, b: int | None, c): ...  # noqa: F821

    assert parameters(target) == {"a": Any, "b": int | None, "c": inspect.Parameter.empty}


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
        ([1], list, True),  # only plain types are checked
    ],
)
def test_fits(value, hint, fit):
    assert fits(value, hint) is fit
