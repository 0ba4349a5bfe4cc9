"""The objectives of a search: which values a run of a config will have, and which way each is better."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from omegaconf import DictConfig

from genmodels.builder import build
from genmodels.callbacks import Quality
from genmodels.callbacks.validate import name_of
from genmodels.core import Likelihood
from genmodels.core.randomness import fixed_seed
from genmodels.data import DataModule
from genmodels.errors import nearest, require
from genmodels.models.base import BaseModel
from genmodels.runs.record import COSTS
from genmodels.runs.values import COST, TEST, VALIDATION

DIRECTIONS = ("minimize", "maximize")
FEW = 4  # examples on which a model shows what validation monitors


def validation_values(config: DictConfig) -> dict[str, str]:
    """The validation values that a run of ``config`` logs, each ``lower`` or ``higher``; first the one it monitors."""
    import torch

    data = build(config.data, "data", DataModule)
    data.setup("fit")
    with fixed_seed(0, torch.device("cpu")), torch.no_grad():
        model = build(config.model, "model", BaseModel).eval()
        with model.given(data.given_labels("train", FEW)):
            monitored = name_of(model, isinstance(model.monitor(data.first_train(FEW)), Likelihood))
    quality = (config.get("callbacks") or {}).get("quality")
    found = {f"{VALIDATION}{monitored}": "lower"}
    if quality and "_target_" in quality:
        callback = build(quality, "callbacks.quality", Quality)
        for metric in callback.metrics.values():
            found |= {f"{VALIDATION}{name}": metric.better for name in metric.names(data, callback.n)}
    return found


def chosen(objective: Any, options: Mapping[str, DictConfig], allow_test: bool) -> dict[str, str]:
    """The names of the objectives, each with what is better, checked for every model before anything is trained.

    Args:
        objective: a name, a list of names, or ``None`` for the value that validation of all models monitors.
        options: configs of the options that are searched, by words that name them.
        allow_test: whether a test score may be an objective.

    Raises:
        UserError: for a value that some of them lack, or a test score that is not allowed.
    """
    known = {words: validation_values(config) for words, config in options.items()}
    if objective is None:
        objective = common(known)
    names = [objective] if isinstance(objective, str) else list(objective)
    costs = [f"{COST}{name}" for name in COSTS]
    for name in names:
        if name.startswith(COST):
            require(name in costs, f"objective={name} is no cost; {nearest(name, costs)}")
        elif name.startswith(TEST):
            advice = "choose by a validation value, such as val/bits_per_dim, or write hydra.sweeper.allow_test=true"
            require(allow_test, f"objective={name} is a test score, which a search must not see; {advice}.")
        else:
            check_validation(name, known)
    return {name: next((own[name] for own in known.values() if name in own), "lower") for name in names}


def common(known: Mapping[str, Mapping[str, str]]) -> str:
    """The value that validation monitors for all options.

    Raises:
        UserError: if it is not the same for all.
    """
    monitored = {words: next(iter(own)) for words, own in known.items()}
    different = "; ".join(f"{words or 'the model'}: {name}" for words, name in monitored.items())
    require(
        len(set(monitored.values())) == 1,
        f"validation monitors different values ({different}), which do not compare; name one that all have, "
        "objective=val/..., such as a distance of callbacks=[quality].",
    )
    return next(iter(monitored.values()))


def check_validation(name: str, known: Mapping[str, Mapping[str, str]]) -> None:
    """Refuse a validation value that some options do not have.

    Raises:
        UserError: naming them, and what they have.
    """
    for words, own in known.items():
        where = f" of {words}" if words else ""
        require(name in own, f"objective={name} is no validation value{where}; {nearest(name, own)}")


def directions(wanted: Any, better: Mapping[str, str]) -> list[str]:
    """Optuna's direction of each objective: the one that is ``wanted``, or by which side is better.

    Raises:
        UserError: for an unknown direction, another number of them than of objectives, or one that seeks what is worse.
    """
    known = ["maximize" if side == "higher" else "minimize" for side in better.values()]
    found: Sequence[Any] = known if wanted is None else wanted if isinstance(wanted, list) else [wanted]
    for each in found:
        require(each in DIRECTIONS, f"hydra.sweeper.direction={each}: {nearest(str(each), DIRECTIONS)}")
    count = f"hydra.sweeper.direction has {len(found)} entries, there are {len(better)} objectives; give one for each."
    require(len(found) == len(better), count)
    for name, own, right in zip(better, found, known, strict=True):
        sure = name.startswith((VALIDATION, COST))
        require(not sure or own == right, f"{name} is better if {better[name]}; write hydra.sweeper.direction={right}.")
    return list(found)
