"""What a search is about, checked before anything is written."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

from omegaconf import DictConfig, OmegaConf

from genmodels.errors import require
from genmodels.naming import short_hash
from genmodels.runs.values import TEST, VALIDATION
from genmodels.search.objectives import chosen, directions
from genmodels.search.space import Space
from genmodels.search.study import JOURNAL, make_pruner, make_sampler, optuna

OF_NO_MATTER = ("logger", "hydra", "retry", "sweep", "failure_value", "expected", "trial", "test")  # words of one call


@dataclass(frozen=True)
class Plan:
    """A search.

    Attributes:
        folder: folder of the sweep.
        storage: file or URL of the study.
        name: name of the study.
        n_trials: number of trials in all.
        n_jobs: number of trials launched together.
        better: the names of the objectives, each with ``lower`` or ``higher``.
        directions: Optuna's direction of each.
        sampler: class and arguments of the sampler.
        pruner: class and arguments of the pruner.
        validations: number of validations of a run.
        about: what distinguishes the study from others.
        retry: whether trials that failed are tried again.
    """

    folder: Path
    storage: str
    name: str
    n_trials: int
    n_jobs: int
    better: Mapping[str, str]
    directions: list[str]
    sampler: Mapping[str, Any]
    pruner: Mapping[str, Any]
    validations: int
    about: Mapping[str, Any]
    retry: bool

    @property
    def objectives(self) -> list[str]:
        """The names of the objectives."""
        return list(self.better)

    @cached_property
    def tests(self) -> bool:
        """Whether every trial is scored on test, since its score is an objective."""
        return any(name.startswith(TEST) or not name.startswith((VALIDATION, "cost.")) for name in self.better)

    @property
    def is_grid(self) -> bool:
        """Whether every combination of values is tried once."""
        return str(self.sampler["_target_"]).endswith(".GridSampler")


def plan(settings: Mapping[str, Any], space: Space, folder: Path) -> Plan:
    """The search that ``hydra.sweeper`` and the root keys describe.

    Raises:
        UserError: if it makes no sense.
    """
    optuna()
    options = {" ".join(words): space.compose(space.shared(words)) for words in space.combinations}
    root = next(iter(options.values()))
    require(not root.dry_run, "dry_run=true trains nothing, so that a search has nothing to choose by; leave it out.")
    objective = OmegaConf.to_container(root.objective) if OmegaConf.is_list(root.objective) else root.objective
    better = chosen(objective, options, bool(settings["allow_test"]))
    found = Plan(
        folder=folder,
        storage=str(settings["storage"] or folder / JOURNAL),
        name=str(settings["study_name"] or folder.name),
        n_trials=settings["n_trials"],
        n_jobs=settings["n_jobs"],
        better=better,
        directions=directions(settings["direction"], better),
        sampler=settings["sampler"],
        pruner=settings["pruner"],
        validations=int(root.validations),
        about=about(space, better, root),
        retry=root.get("retry") == "failed",
    )
    check(found, space)
    return found


def check(found: Plan, space: Space) -> None:
    """Refuse a sampler or pruner that does not go with the objectives or the space.

    Raises:
        UserError: naming another one.
    """
    make_sampler(found.sampler, 0, space.grid if found.is_grid else {})
    make_pruner(found.pruner, found.validations)
    several = len(found.better) > 1
    cmaes = str(found.sampler["_target_"]).endswith(".CmaEsSampler")
    require(not several or not cmaes, "cmaes has one objective; for several write hydra/sweeper/sampler=tpe.")
    if not str(found.pruner["_target_"]).endswith(".NopPruner"):
        fits = not several and found.objectives[0].startswith(VALIDATION)
        only = "a pruner watches the one objective, a validation value"
        require(fits, f"{only}; with objective={','.join(found.objectives)} write hydra/sweeper/pruner=none.")


def about(space: Space, better: Mapping[str, str], root: DictConfig) -> dict[str, Any]:
    """What distinguishes a study from others: the space, the other words, the objectives, and the whole config."""
    fixed = sorted(word for word in space.fixed if not word.lstrip("+~").startswith(OF_NO_MATTER))
    return {"space": space.texts, "words": fixed, "objectives": list(better), "config": short_hash(root)}
