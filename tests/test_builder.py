"""The builder: objects from config nodes, refusals and their messages."""

from __future__ import annotations

import copy
import functools
import inspect
import math
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, Literal

import pytest
import torch
from lightning import Callback, Trainer
from lightning.pytorch.loggers import Logger
from torch import Tensor

from genmodels.annotations import fits
from genmodels.builder import build, built, check, parameters
from genmodels.callbacks import Checkpoint, LearningRate
from genmodels.core import DataSpec
from genmodels.data import DataModule
from genmodels.data.sources.base import Source
from genmodels.errors import UserError
from genmodels.metrics import Evaluation
from genmodels.metrics.extractors import ExtractorFactory
from genmodels.models.base import BaseModel, NetworkFactory, OptimizerFactory, SchedulerFactory

SPEC = {"_target_": "genmodels.core.DataSpec", "shape": [2], "levels": 3}


def test_builds_what_the_config_describes():
    assert build(SPEC, "spec", DataSpec) == DataSpec((2,), 3)


GADGETS = [  # they run code, read, write or fetch files, or import modules
    {"_target_": "os.system", "command": "id"},
    {"_target_": "builtins.eval", "source": "1"},
    {"_target_": "genmodels.launch.os.system", "command": "id"},  # reached through an allowed package
    {"_target_": "genmodels.runs.provenance.subprocess.run", "args": "id"},
    {"_target_": "genmodels.metrics.cache.hashlib.new", "name": "md5"},
    {"_target_": "genmodels.builder.evaluated", "annotation": "__import__('os').system('id')", "scope": {}},
    {"_target_": "genmodels.builder.build", "node": {"_target_": "os.system"}, "key": "x", "kind": "x"},
    {"_target_": "genmodels.builder.Factory", "target": "os.system", "arguments": {}, "key": "x"},
    {"_target_": "genmodels.files.write_whole", "path": "x", "text": "x"},
    {"_target_": "genmodels.runs.write_whole", "path": "x", "text": "x"},
    {"_target_": "genmodels.cli.main", "arguments": ["compare", "x", "html=x"]},
    {"_target_": "genmodels.launch.job", "config": {}},
    {"_target_": "genmodels.experiment.run", "config": {}},
    {"_target_": "genmodels.data.files.fetch", "folder": "x", "files": {}, "urls": "http://x"},
    {"_target_": "genmodels.data.files._download", "folder": "x", "missing": {}, "url": "http://x"},
    {"_target_": "genmodels.data.root.data_root", "root": "x"},
    {"_target_": "genmodels.data.sources.idx.read_idx", "path": "x"},
    {"_target_": "genmodels.metrics.inception_file.load_layers", "root": "x"},
    {"_target_": "genmodels.metrics.cache.write", "path": "x", "tensors": {}},
    {"_target_": "genmodels.metrics.sample_sets.read", "path": "x", "model": None},
    {"_target_": "genmodels.loggers.MetricsCsv.save"},
    {"_target_": "lightning.fabric.utilities.cloud_io._load", "path_or_url": "x", "weights_only": False},
    {"_target_": "lightning.pytorch.cli.instantiate_class", "args": "id", "init": {"class_path": "os.system"}},
    {"_target_": "lightning.pytorch.callbacks.LambdaCallback", "on_fit_start": "id"},
    {"_target_": "lightning.pytorch.callbacks.OnExceptionCheckpoint", "dirpath": "x"},
    {"_target_": "lightning.pytorch.callbacks.ModelCheckpoint"},  # it deletes files that a checkpoint names
    {"_target_": "lightning.pytorch.trainer.call._call_and_handle_interrupt"},
    {"_target_": "torch.hub.load", "repo_or_dir": "x", "model": "x"},
    {"_target_": "torch.load", "f": "x", "weights_only": False},
    {"_target_": "torch.jit.load", "f": "x"},
    {"_target_": "torch.nn.attention._fa3._fa3_import_module", "module_path": "x"},
    {"_target_": "torch.nn.init.zeros_", "tensor": 1},
    {"_target_": "torch.nn.Linear", "in_features": 10**9, "out_features": 10**9},
    {"_target_": "torch.optim.LBFGS"},
    {"_target_": "torch.optim.lr_scheduler.LambdaLR", "lr_lambda": {"_target_": "os.system"}},
    {"_target_": "hydra.utils.call", "config": {"_target_": "os.system"}},
    {"_target_": 3},
    {"_target_": None},
    {"_target_": ["os.system"]},
    {"_target_": "genmodels.models..vae"},
]
PLACES = {
    "model": BaseModel, "data": DataModule, "metrics.fd": Evaluation, "callbacks.x": Callback, "logger.x": Logger,
    "scheduler": LearningRate, "trainer": Trainer, "checkpoint": Checkpoint, "model.spec": DataSpec, "x": Any,
    "model.encoder": NetworkFactory, "model.optimizer": OptimizerFactory, "model.scheduler": SchedulerFactory | None,
    "model.schedule": Tensor, "data.source": Source, "metrics.fd.extractor": ExtractorFactory, "model.latent_dim": int,
    "data.source.files": Mapping[str, str], "trainer.plugins": list[Any],
}  # fmt: skip


@pytest.mark.parametrize("gadget", GADGETS, ids=lambda node: str(node["_target_"]))
@pytest.mark.parametrize("place", PLACES)
def test_nothing_is_called_that_a_strangers_config_has_no_business_with(place, gadget):
    for node in (gadget, {**gadget, "_partial_": True}, [gadget], {"inner": [gadget]}):
        with pytest.raises(UserError, match="refused"):
            check(node, place, PLACES[place])


def test_what_is_allowed_elsewhere_is_refused_where_another_kind_is_expected():
    for target, key in [("torch.optim.Adam", "encoder"), ("genmodels.networks.mlp.mlp", "optimizer")]:
        node = changed(key, {"_target_": target, "_partial_": True})
        refusal = rf"^model\.{key}\._target_={target} with _partial_ is refused: model\.{key} must be a factory of"
        with pytest.raises(UserError, match=refusal):
            build(node, "model", BaseModel)
    with pytest.raises(UserError, match="model must be an object of class BaseModel"):
        build(SPEC, "model", BaseModel)
    with pytest.raises(UserError, match=r"model\.encoder must be a factory of class Module, got null"):
        build(changed("encoder", None), "model", BaseModel)


def test_a_misspelt_target_names_the_nearest():
    with pytest.raises(UserError, match="did you mean 'DataSpec'"):
        build({"_target_": "genmodels.core.DataSpek"}, "spec", DataSpec)


def test_an_unknown_argument_names_the_nearest():
    with pytest.raises(UserError, match=r"unknown key model\.spec\.level; did you mean 'levels'"):
        build({**{k: v for k, v in SPEC.items() if k != "levels"}, "level": 3}, "model.spec", DataSpec)


def test_a_value_of_the_wrong_type_is_named_with_the_right_one():
    with pytest.raises(UserError, match=r"spec\.levels must be an integer or null, got 'many'"):
        build({**SPEC, "levels": "many"}, "spec", DataSpec)


def test_a_refused_value_has_the_message_of_its_constructor():
    with pytest.raises(UserError, match=r"^spec\.levels must be an integer from 2 to 256, or None, got 1\.$"):
        build({**SPEC, "levels": 1}, "spec", DataSpec)
    with pytest.raises(UserError, match="optimizer: Invalid learning rate"):
        parameter = torch.nn.Parameter(torch.zeros(1))
        build({"_target_": "torch.optim.Adam", "lr": -1.0}, "optimizer", torch.optim.Optimizer, params=[parameter])


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
        (
            "latent_dim",
            -3,
            "model.latent_dim must be an integer from 1 to 1000000, or None, got -3.",
        ),  # by the constructor
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
        build(changed(key, value), "model", BaseModel)
    assert str(caught.value).startswith(sentence)


@pytest.mark.parametrize("value", [math.inf, math.nan])
def test_the_arguments_of_others_are_finite(value):
    with pytest.raises(UserError, match=r"^model\.optimizer\.lr must be a finite number, got "):
        build(changed("optimizer.lr", value), "model", BaseModel)


def test_a_factory_names_its_own_key_whenever_it_is_called():
    model = build(changed("optimizer.lr", -1.0), "model", BaseModel)
    with pytest.raises(UserError, match=r"^model\.optimizer: Invalid learning rate: -1\.0$"):
        model.configure_optimizers()


def test_lists_of_nodes_are_built_and_named_by_their_places():
    assert built([SPEC, {"x": [SPEC, 3]}], "data") == [DataSpec((2,), 3), {"x": [DataSpec((2,), 3), 3]}]
    with pytest.raises(UserError, match=r"^data\[1\]\.x\[0\]\.levels must be an integer from"):
        built([SPEC, {"x": [{**SPEC, "levels": 1}]}], "data")
    check([SPEC, SPEC], "data", list[DataSpec])
    with pytest.raises(UserError, match=r"^data\[1\]\._target_=.* is refused: data\[1\] must be an object of class"):
        check([SPEC, {"_target_": "torch.optim.Adam"}], "data", list[DataSpec])


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
        ([1], list[int], True),
        ([1.5], Sequence[int], False),
        (1, Sequence[int], False),
        ([1, 2, 3], tuple[int, int], False),
        ({"a": "b"}, Mapping[str, str], True),
        ({"a": 1}, Mapping[str, str], False),
        ("a", Literal["a", "b"], True),
        ("c", Literal["a", "b"] | None, False),
        ("a/b", Path, True),
        (None, DataSpec, False),
        (3, Callable[..., DataSpec], False),
    ],
)
def test_fits(value, hint, fit):
    assert fits(value, hint) is fit
