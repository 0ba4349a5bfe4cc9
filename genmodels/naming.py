"""Folders below ``runs/``: a job is named by what it is, so that the same command finds it again.

``conf/train.yaml`` refers to these functions as resolvers, which Hydra calls when a job begins. Torch is only
imported then.
"""

from __future__ import annotations

import hashlib
import os
import re
from collections.abc import Iterable, Mapping
from contextlib import suppress
from pathlib import Path

from omegaconf import DictConfig, OmegaConf
from omegaconf.errors import OmegaConfBaseException

from genmodels.overrides import parse
from genmodels.settings import INCIDENTAL

LONGEST = 80  # characters of a sweep's name
DIGITS = 8  # of the hash of a config, or of a name that is cut
FOUND: set[Path] = set()  # folders that were there before Hydra created those of this command
ARRAY = ("SLURM_ARRAY_JOB_ID", "SLURM_ARRAY_TASK_ID")


def job_name(_root_: DictConfig) -> str:
    """``<model>_<data>_<hash>_seed<seed>`` for the config of a job: the same for the same experiment in any order.

    A seed of the data's split that is not the run's is part of it.
    """
    choices = _root_.hydra.runtime.choices
    split = OmegaConf.select(_root_, "data.seed", default=_root_.seed)
    seeds = f"seed{_root_.seed}" + ("" if split == _root_.seed else f"_split{split}")
    return f"{choices.model}_{choices.data}_{short_hash(_root_)}_{seeds}"


def short_hash(config: DictConfig) -> str:
    """First digits of the hash of a config that has no ``run_dir`` yet; of its words, if it cannot be resolved."""
    from genmodels.runs.identity import config_hash

    own = OmegaConf.masked_copy(config, [str(key) for key in config if key != "hydra"])
    OmegaConf.update(own, "run_dir", "/run", force_add=True)
    try:
        return config_hash(own)[:DIGITS]
    except (OmegaConfBaseException, KeyError):  # the job itself says what is wrong
        return digest(" ".join(sorted(as_written(config.hydra.overrides.task))))


def sweep_name(sweep: str | None, words: Iterable[str], choices: Mapping[str, str]) -> str:
    """The name of a sweep: ``sweep``, else its recipes, else the words of its command that say what is trained.

    The seeds are no part of it, so that a sweep grows by seeds in its folder; it grows by other values in a folder that
    ``sweep`` or ``experiment`` names.

    >>> sweep_name(None, ["model=gan,vae", "seed=0,1", "logger=wandb", "data=moons", "data.root=/data"], {})
    'data=moons_model=gan,vae'
    >>> sweep_name(None, ["experiment=vae_digits", "model.beta=1,2"], {})
    'vae_digits'
    """
    if sweep:
        return sweep
    overrides = [(str(override.key_or_group), str(override.input_line)) for override in parse(as_written(words))]
    telling = [word for key, word in overrides if not is_incidental(key)]
    recipes = [word.partition("=")[2] for key, word in overrides if key == "experiment"]
    return as_name("_".join(recipes or sorted(telling) or [choices["model"], choices["data"]]))


def as_written(words: Iterable[str]) -> list[str]:
    """Words of a command line, in which a ``${`` is left as it is."""
    return list(OmegaConf.to_container(words, resolve=False) if OmegaConf.is_list(words) else words)  # type: ignore[arg-type]


def is_incidental(key: str) -> bool:
    """Whether an override of ``key`` leaves what is trained as it is, but for its seeds."""
    return key in INCIDENTAL or re.split("[./]", key)[0] in INCIDENTAL


def run_name(time: str, _root_: DictConfig) -> str:
    """The name of a single run: time, model and data; under Slurm its job and what it is.

    Slurm's number stays the same when a job is requeued, which then goes on in its folder.
    """
    array = [os.environ[name] for name in ARRAY if name in os.environ]
    if job := "-".join(array) or os.environ.get("SLURM_JOB_ID"):
        return f"slurm-{job}/{job_name(_root_)}"
    choices = _root_.hydra.runtime.choices
    return f"{time}_{choices.model}_{choices.data}"


def as_name(text: str) -> str:
    """A name of a folder on any system, which ends in a hash of ``text`` if that had to be changed.

    >>> as_name("model=gan,vae"), as_name("model=${x}")
    ('model=gan,vae', 'model=-x-7a95001b')
    """
    name = re.sub(r"[^\w.,=+-]+", "-", text).strip("-.")
    return name if name == text and len(name) <= LONGEST else f"{name[: LONGEST - DIGITS]}-{digest(text)}"


def digest(text: str) -> str:
    """First digits of the SHA-256 of a text."""
    return hashlib.sha256(text.encode()).hexdigest()[:DIGITS]


def register() -> None:
    """Make the names known to OmegaConf. That of a sweep is computed once, for all its jobs."""
    OmegaConf.register_new_resolver("genmodels.job", job_name, replace=True)
    OmegaConf.register_new_resolver("genmodels.run", run_name, replace=True)
    OmegaConf.register_new_resolver("genmodels.sweep", sweep_name, replace=True, use_cache=True)


def remove_if_empty(folder: Path) -> None:
    """Remove the empty folders that Hydra created for a run that did not start."""
    with suppress(OSError):  # not empty
        for path in (folder, *folder.parents):
            if path in FOUND or Path.cwd().is_relative_to(path):
                return
            path.rmdir()


def note_existing(overrides: list[str]) -> None:
    """Note which of the folders that Hydra may create are there already."""
    chosen = [word.partition("=")[2] for word in overrides if word.startswith(("hydra.run.dir=", "hydra.sweep.dir="))]
    for place in (Path(name).absolute() for name in ("runs", *chosen)):
        FOUND.update(path for path in (place, *place.parents) if path.exists())
