"""The kinds of data that models are tested on, as small arrays, and all models, found automatically."""

from __future__ import annotations

import copy
import importlib.util
import os
from functools import cache
from pathlib import Path
from types import ModuleType

import torch
from conformance.doubles import DOUBLES
from omegaconf import DictConfig, OmegaConf

from genmodels import builder
from genmodels.builder import build
from genmodels.core import DataSpec
from genmodels.launch import compose, options
from genmodels.models.base import BaseModel, make_optimizers, train_batch

ROOT = Path(__file__).parents[2]
CHOSEN = os.environ.get("GENMODELS_CONFORMANCE", "").split()  # by genmodels.conformance, outside a checkout
MODELS = CHOSEN or options("model")
SMALL_FLOW = ["model.prior.network.width=8", "model.prior.depth=4", "model.prior.base.components=5"]
ONE_RESOLUTION = ["model.network.width_multipliers=[1]", "model.network.attention=1"]
BY_SOLVING = "cnf by maximum likelihood"  # of which a step on images takes half a second
VARIANTS = {
    "vae with a flow prior": ("vae", ["model/prior=flow", *SMALL_FLOW]),
    "realnvp of matrix couplings": ("realnvp", ["model/coupling=matrix"]),
    "realnvp of splines": ("realnvp", ["model/coupling=spline"]),
    "maf of mixtures in random orders": ("maf", ["model.components=3", "model.order=random"]),
    BY_SOLVING: ("cnf", ["model/objective=maximum_likelihood", "model.objective.steps=1", *ONE_RESOLUTION]),
    "rbm beyond enumeration": ("rbm", ["model.hidden=24", "model.exact=false"]),
}
"""Models with a part so unlike the default one that they are tested as models of their own: model and overrides."""
CONFIGURED = MODELS if CHOSEN else [*MODELS, *VARIANTS]
SUITE = CONFIGURED if CHOSEN else [*CONFIGURED, *DOUBLES]
builder.OURS = (*builder.OURS, "conformance.")  # the doubles are built from a config like models of the package

KINDS = {
    "binary images": DataSpec((1, 8, 8), 2),
    "gray images": DataSpec((1, 8, 8), 17),
    "color images": DataSpec((3, 12, 12), 256),
    "odd images": DataSpec((1, 7, 7), 256),
    "points": DataSpec((2,)),
    "integer pairs": DataSpec((2,), 3),
}


@cache
def own_test(name: str) -> ModuleType:
    """The test file of one model, with what is particular to it."""
    name, _ = VARIANTS.get(name, (name, []))
    file = os.environ.get("GENMODELS_CONFORMANCE_OWN") or ROOT / "tests" / "models" / f"test_{name}.py"
    if CHOSEN and not Path(file).exists():
        return ModuleType(f"no_test_of_{name}")
    module_spec = importlib.util.spec_from_file_location(f"own_test_of_{name}", file)
    module = importlib.util.module_from_spec(module_spec)
    module_spec.loader.exec_module(module)
    return module


def tiny(name: str) -> list[str]:
    """Overrides that make a model small, declared in its test file."""
    return getattr(own_test(name), "TINY", []) if CHOSEN else own_test(name).TINY


@cache
def once(*words: str) -> DictConfig:
    """The config of some words, composed once in a process and read-only, since all tests share it."""
    config = compose(list(words))
    OmegaConf.set_readonly(config, True)
    return config


def composed(name: str, *overrides: str) -> DictConfig:
    """The config of a run of a tiny model, which may be a test double; the caller may change it.

    It is a copy, which takes a thirtieth of the time of a composition.
    """
    model, variation = VARIANTS.get(name, (name, []))
    chosen = [] if name in DOUBLES else [f"model={model}", *tiny(name), *variation]
    config = copy.deepcopy(once(*chosen, *overrides))
    OmegaConf.set_readonly(config, None)
    if name in DOUBLES:
        config.model = {"_target_": f"conformance.doubles.{DOUBLES[name].__name__}", "spec": "${data.spec}"}
        del config.callbacks.kl  # of the default model
    return config


def model_on(name: str, spec: DataSpec, *overrides: str, seed: int = 0):
    """A tiny model for data of ``spec``.

    Raises:
        UserError: if the model declines such data.
    """
    config = composed(name, *overrides)
    OmegaConf.update(config, "data.spec.shape", list(spec.shape))
    OmegaConf.update(config, "data.spec.levels", spec.levels)
    if spec.classes is not None:
        OmegaConf.update(config, "data.spec.classes", spec.classes)
    torch.manual_seed(seed)
    return build(config.model, "model", BaseModel)


def trainer_of(model, lr: float):
    """A function that trains ``model`` on one batch ``[B, *shape]``, by the step of Lightning's hook."""
    optimizers = make_optimizers(model)
    for optimizer in optimizers:
        for group in optimizer.param_groups:
            group["lr"] = lr
    return lambda x: train_batch(model, x, optimizers)


def examples(spec: DataSpec, n: int, seed: int = 0) -> torch.Tensor:
    """``n`` structured examples ``[n, *shape]``: blobs of random place, or points near a parabola."""
    generator = torch.Generator().manual_seed(seed)
    if not spec.is_discrete:
        t = torch.rand(n, 1, generator=generator) * 4 - 2
        return torch.cat([t, t.square() + 0.2 * torch.randn(n, 1, generator=generator)], dim=1)
    if not spec.is_image:
        weights = torch.tensor([0.3, 0.05, 0.1, 0.02, 0.2, 0.08, 0.1, 0.05, 0.1])
        cell = torch.multinomial(weights, n, replacement=True, generator=generator)
        return torch.stack([cell // 3, cell % 3], dim=1).to(torch.uint8)
    side = spec.shape[-1]
    grid = torch.arange(side).float()
    center = torch.rand(n, 2, 1, generator=generator) * side
    bump = torch.exp(-((grid - center) ** 2) / side)  # [n, 2, side]
    image = (bump[:, 0, :, None] * bump[:, 1, None, :])[:, None].expand(n, *spec.shape)
    return (image * (spec.levels - 1)).round().to(torch.uint8)
