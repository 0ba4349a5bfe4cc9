"""A study of Optuna on disk, and what of it our config describes: storage, sampler, pruner."""

from __future__ import annotations

import importlib
import logging
import os
import warnings
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from filelock import FileLock

from genmodels.errors import UserError, require
from genmodels.settings import is_integer

if TYPE_CHECKING:
    from optuna import Study, Trial
    from optuna.pruners import BasePruner
    from optuna.samplers import BaseSampler
    from optuna.storages import BaseStorage

    from genmodels.search.plan import Plan

JOURNAL = "study.journal"
INSTALL = "pip install 'genmodels[sweeps]'"
OLDEST = 4  # version of Optuna
SEEDS = 2**32


def optuna() -> Any:
    """The library, with its notes on the console silenced.

    Raises:
        UserError: if it is not installed, or too old.
    """
    try:
        library = importlib.import_module("optuna")
    except ImportError as error:
        raise UserError(f"a search needs packages that are not installed ({error.name}): {INSTALL}") from error
    version = str(library.__version__)
    new = int(version.partition(".")[0]) >= OLDEST
    require(new, f"a search needs Optuna {OLDEST} or later, not {version}: {INSTALL}")
    library.logging.set_verbosity(logging.ERROR)
    warnings.filterwarnings("ignore", category=library.exceptions.ExperimentalWarning)
    return library


def storage_at(place: str) -> BaseStorage:
    """The storage at ``place``: a file, which is created if it is missing, or the URL of a database.

    Raises:
        UserError: if it cannot be opened.
    """
    library = optuna()
    try:
        if "://" in place:
            return library.storages.RDBStorage(place)
        return library.storages.JournalStorage(journal(Path(place)))
    except Exception as error:  # of any database
        raise UserError(f"the study {place} cannot be opened: {str(error).splitlines()[0]}.") from error


def journal(path: Path) -> Any:
    """Optuna's journal file, whose lock dies with its process, without a line that a killed process left unfinished."""
    from optuna.storages import journal as journals

    lock: Any = FileLock(f"{path}.lock")  # Optuna's own stay behind when their process is killed
    with lock:
        if path.exists() and not (content := path.read_bytes()).endswith(b"\n"):
            os.truncate(path, content.rfind(b"\n") + 1)
    return journals.JournalFileBackend(str(path), lock_obj=lock)


def make_pruner(node: Mapping[str, Any], validations: int) -> BasePruner:
    """The pruner that ``hydra.sweeper.pruner`` describes.

    Args:
        node: its class and arguments.
        validations: number of validations of a run, which a pruner that divides a budget takes for the whole.
    """
    extra = {"max_resource": validations} if str(node["_target_"]).endswith(".HyperbandPruner") else {}
    return make(node, "pruner", "optuna.pruners.BasePruner", extra)


def make_sampler(node: Mapping[str, Any], number: int, grid: Mapping[str, list[Any]]) -> BaseSampler:
    """The sampler that ``hydra.sweeper.sampler`` describes, for one trial.

    Its random numbers depend on the seed and the trial alone, so that an interrupted study proposes what it would have
    proposed anyway. A grid is shuffled once, by the seed.

    Args:
        node: its class and arguments.
        number: number of the trial.
        grid: the values of each parameter.
    """
    if str(node["_target_"]).endswith(".GridSampler"):
        return make(node, "sampler", "optuna.samplers.BaseSampler", {"search_space": grid})
    seed = node.get("seed")
    known = seed is None or (is_integer(seed) and seed >= 0)
    require(known, f"hydra.sweeper.sampler.seed={seed} is no integer of at least 0.")
    extra = {} if seed is None else {"seed": seed_of(seed, number)}
    return make(node, "sampler", "optuna.samplers.BaseSampler", extra)


def seed_of(seed: int, number: int) -> int:
    """Seed of the sampler for trial ``number`` of a search with ``seed``."""
    import numpy as np

    return int(np.random.SeedSequence([seed, number]).generate_state(1)[0]) % SEEDS


def make(node: Mapping[str, Any], name: str, kind: str, extra: Mapping[str, Any]) -> Any:
    """An object of Optuna from its class and its arguments.

    Raises:
        UserError: for a class of another kind, or arguments that it refuses.
    """
    library, key = optuna(), f"hydra.sweeper.{name}"
    path, _, own = str(node["_target_"]).rpartition(".")
    found = getattr(getattr(library, f"{name}s"), own, None)
    base = getattr(getattr(library, f"{name}s"), kind.rpartition(".")[2])
    known = path == f"optuna.{name}s" and isinstance(found, type) and issubclass(found, base)
    require(known, f"{key}._target_={node['_target_']} is no class of optuna.{name}s.")
    assert isinstance(found, type)
    arguments = {argument: value for argument, value in node.items() if argument != "_target_"} | dict(extra)
    try:
        return found(**arguments)
    except (TypeError, ValueError, ImportError) as error:
        raise UserError(f"{key}: {' '.join(str(error).split()).rstrip('.')}.") from error


def opened(plan: Plan, storage: BaseStorage) -> Study:
    """The study of a search, which is made if there is none.

    Raises:
        UserError: if there is one of another search.
    """
    if plan.name in [summary.study_name for summary in optuna().get_all_study_summaries(storage)]:
        study = existing(storage, plan.name)
        check_about(plan, study.user_attrs.get("about"))
    else:
        study = optuna().create_study(study_name=plan.name, storage=storage, directions=plan.directions)
    told = {"about": plan.about, "objectives": plan.objectives, "pruner": plan.pruner, "validations": plan.validations}
    for key, known in told.items():
        study.set_user_attr(key, known)
    study.pruner = make_pruner(plan.pruner, plan.validations)
    return study


def check_about(plan: Plan, found: Any) -> None:
    """Refuse to continue the study of another search.

    Raises:
        UserError: naming what is different.
    """
    where, other = f"{plan.storage} holds the study {plan.name}", "give the same, or another sweep=NAME"
    require(isinstance(found, Mapping), f"{where}, which is not of genmodels; {other}.")
    for name, words in (("objectives", "has the objectives"), ("space", "searches"), ("words", "was made with")):
        theirs, own = written(found.get(name)), written(plan.about[name])
        require(theirs == own, f"{where}, which {words} {theirs or 'nothing'}, not {own or 'nothing'}; {other}.")
    same = found.get("config") == plan.about["config"]
    require(same, f"{where}, which was made with other files in conf/, so that its trials do not compare; {other}.")


def written(node: Any) -> str:
    """Words of the command line, given as a list or by key."""
    return " ".join([f"{key}={text}" for key, text in node.items()] if isinstance(node, Mapping) else node or [])


def existing(storage: BaseStorage, name: str) -> Study:
    """The study ``name``.

    Raises:
        UserError: if there is none.
    """
    try:
        return optuna().load_study(study_name=name, storage=storage)
    except KeyError as error:
        raise UserError(f"there is no study {name}, of which this run is to be a trial.") from error


def trial_of(study: Study, storage: BaseStorage, number: int) -> Trial:
    """The trial ``number`` of a study, as an object that reports to it."""
    study_id = storage.get_study_id_from_name(study.study_name)
    return optuna().trial.Trial(study, storage.get_trial_id_from_study_id_trial_number(study_id, number))
