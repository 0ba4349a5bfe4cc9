"""Error messages of one sentence that name the remedy, by the type of an error of ours, Hydra, OmegaConf or Python."""

from __future__ import annotations

import errno
import sys
import traceback
from difflib import get_close_matches
from textwrap import shorten
from typing import Any

from hydra.errors import HydraException, MissingConfigException, OverrideParseException
from omegaconf import OmegaConf
from omegaconf.errors import (
    ConfigAttributeError,
    ConfigKeyError,
    InterpolationKeyError,
    MissingMandatoryValue,
    OmegaConfBaseException,
)

from genmodels.errors import UserError, nearest
from genmodels.overrides import among
from genmodels.tree import dotted, groups, option, options, plain

SWEEPS = ("optuna", "joblib", "submitit_local", "submitit_slurm")  # options of Hydra's groups, of the extra [sweeps]
OURS = ("genmodels.", "hydra_plugins.genmodels.")  # beginnings of the targets whose YAML lists all parameters
ALLOCATOR = "DefaultCPUAllocator"  # named in torch's RuntimeError for the host's memory, which has no type of its own
REMEDIES = {
    errno.ENOSPC: "free some space on that disk, or choose another folder",
    errno.EDQUOT: "free some space within your quota, or choose another folder",
    errno.EROFS: "choose a folder on a disk that can be written",
    errno.EACCES: "choose a folder that you may use, or change its permissions",
    errno.EPERM: "choose a folder that you may use, or change its permissions",
    errno.ENAMETOOLONG: "choose a shorter name",
    errno.ENOENT: "check its name, and that its folder exists",
    errno.ENOTDIR: "choose another folder, since a file is in the way",
    errno.EEXIST: "choose another name",
    errno.EISDIR: "choose the name of a file",
    errno.EMFILE: "allow more open files: ulimit -n",
}


def is_bad_input(error: BaseException) -> bool:
    """Whether the error is due to bad input or to the machine, and needs no traceback."""
    kinds = (UserError, HydraException, OmegaConfBaseException)
    return isinstance(error, kinds) or is_of_a_file(error) or is_out_of_memory(error)


def is_of_a_file(error: BaseException) -> bool:
    """Whether the operating system refused to read or write; libraries raise some kinds of OSError by themselves."""
    return isinstance(error, OSError) and error.errno is not None


def is_out_of_memory(error: BaseException) -> bool:
    """Whether there is too little memory, on the host or on the device."""
    torch = sys.modules.get("torch")
    if isinstance(error, MemoryError) or (torch and isinstance(error, torch.OutOfMemoryError)):
        return True
    return isinstance(error, RuntimeError) and ALLOCATOR in str(error)


def sentence(error: BaseException) -> str:
    """The error's message, in one sentence."""
    if isinstance(error, UserError):
        return str(error)
    if isinstance(error, (HydraException, OmegaConfBaseException)):
        return of_config(error)
    if is_of_a_file(error):
        assert isinstance(error, OSError)
        return of_file(error)
    if is_out_of_memory(error):
        return "there is not enough memory; make data.batch_size, the model or the number of samples smaller."
    return f"{type(error).__name__}: {shorten(str(error), 300)}"


def of_config(error: HydraException | OmegaConfBaseException) -> str:
    """Sentence for an error of Hydra or OmegaConf."""
    if isinstance(error, MissingConfigException):
        return unknown_option(error)
    if isinstance(error, OverrideParseException):
        return f"'{error.override}' is not of the form key=value; put a value with special characters in quotes."
    if isinstance(error, HydraException):
        cause = error.__cause__
        if isinstance(cause, (ConfigKeyError, ConfigAttributeError)):
            return unknown_key(cause)
        return sentence(cause) if isinstance(cause, (OmegaConfBaseException, OSError)) else shorten(str(error), 300)
    key = error.full_key or error.key
    if isinstance(error, (ConfigKeyError, ConfigAttributeError)):  # raised after composition
        return f"{key} is missing in the config; it can be changed but not removed."
    if isinstance(error, MissingMandatoryValue):
        return f"{key} has no value; give it on the command line."
    if isinstance(error, InterpolationKeyError):
        value = literally(error.parent_node, error.key)
        return f"{key} refers to a key that the config does not have{f': {value}' if value else ''}."
    return f"{f'{key}: ' if key else ''}{shorten(str(error.msg or error).splitlines()[0], 200)}"


def of_file(error: OSError) -> str:
    """Sentence for a file that the operating system refuses to read or write."""
    name = error.filename2 or error.filename
    name = name.decode(errors="replace") if isinstance(name, bytes) else name
    unknown = name is None or isinstance(name, int)
    failure = "reading or writing failed" if unknown else f"{shortened(finished(str(name)))} cannot be read or written"
    remedy = REMEDIES.get(error.errno or 0)
    return f"{failure}: {error.strerror}{f'; {remedy}' if remedy else ''}."


def finished(name: str) -> str:
    """The file that a temporary file of :mod:`genmodels.files` was to become; any other name unchanged.

    >>> finished("/a/.part-1f-run.json"), finished("/a/run.json")
    ('/a/run.json', '/a/run.json')
    """
    folder, begin, rest = name.rpartition(".part-")
    return folder + rest.partition("-")[2] if begin else name


def shortened(name: str) -> str:
    """A file's name, without the middle if it is very long."""
    return name if len(name) <= 160 else f"{name[:80]}...{name[-60:]}"


def literally(parent: Any, key: Any) -> str:
    """The value of ``key`` as it is written in the config, or an empty string."""
    written = OmegaConf.to_container(parent, resolve=False) if OmegaConf.is_dict(parent) else {}
    return str(written.get(key, "")) if isinstance(written, dict) else ""


def unknown_option(error: MissingConfigException) -> str:
    """Sentence for an option that its group does not have."""
    group, _, name = str(error.missing_cfg_file or "").rpartition("/")
    if not name:
        return shorten(str(error), 300)
    if group.startswith("hydra/") and name in SWEEPS:
        return f"{group}={name} needs packages that are not installed: pip install 'genmodels[sweeps]'"
    known = [choice for choice in error.options or options(group) if not choice.startswith("_")]
    return f"unknown {group or 'config'} '{name}'; {nearest(name, known)}"


def unknown_key(error: ConfigKeyError | ConfigAttributeError) -> str:
    """Sentence for a key that the config, as composed from the chosen groups, does not have."""
    key, parent = str(error.full_key), error.parent_node
    config = {} if parent is None else plain(parent._get_root())
    if key in groups():
        return f"no {key} is chosen, whose keys could be set; {nearest('', options(key))}"
    names = [name for name in dotted(config) if not name.endswith("_")]  # such as _target_
    known = [name for name in names if name.startswith("hydra") == key.startswith("hydra") and name not in above(key)]
    others = [group for group in groups() if ("/" in group) == ("/" in key) and group not in above(key)]
    close = get_close_matches(key, [*known, *others], n=1)
    hint = other_options(key) or nearest(key, close or among(known, key))
    return f"unknown key '{key}'; {hint}{addition(key, parent)}"


def above(key: str) -> list[str]:
    """The nodes that ``key`` lies in.

    >>> above("model.encoder.width")
    ['model', 'model.encoder']
    """
    parts = key.split(".")
    return [".".join(parts[:depth]) for depth in range(1, len(parts))]


def other_options(key: str) -> str:
    """A hint at options with this key that were not chosen, or an empty string."""
    parent, _, name = key.rpartition(".")
    group = parent.replace(".", "/")
    having = [f"{group}={choice}" for choice in options(group) if name in option(group, choice)] if group else []
    return f"it is a key of {' and of '.join(having)}" if having else ""


def addition(key: str, parent: Any) -> str:
    """Hydra's own advice, for objects of other packages, which may have more parameters than their YAML lists."""
    target = parent.get("_target_") if OmegaConf.is_dict(parent) else None
    return f" (to add it, write +{key}=...)" if target and not str(target).startswith(OURS) else ""


def print_error(error: Exception, job: str = "") -> None:
    """Print the error in one sentence, with the name of its ``job``; one that no input explains has a traceback too."""
    if not is_bad_input(error):
        traceback.print_exception(error)
    print(f"error{f' in {job}' if job else ''}: {sentence(error)}", file=sys.stderr)
