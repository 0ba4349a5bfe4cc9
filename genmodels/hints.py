"""Error messages of one sentence that name the remedy, for errors of this package, of Hydra and of OmegaConf."""

from __future__ import annotations

import re
from difflib import get_close_matches
from textwrap import shorten
from typing import Any

from hydra.errors import HydraException, MissingConfigException, OverrideParseException
from omegaconf import OmegaConf
from omegaconf.errors import (
    ConfigAttributeError,
    ConfigKeyError,
    InterpolationResolutionError,
    MissingMandatoryValue,
    OmegaConfBaseException,
)

from genmodels.composition import dotted, groups, option, options
from genmodels.errors import UserError, nearest

SWEEPS = ("optuna", "joblib")  # options of Hydra's groups that the extra [sweeps] installs
NULL_GROUP = "Config group override must be"  # beginning of a plain ValueError of Hydra's


def is_bad_input(error: Exception) -> bool:
    """Whether the error is due to bad input and needs no traceback."""
    return isinstance(error, (UserError, HydraException, OmegaConfBaseException)) or str(error).startswith(NULL_GROUP)


def sentence(error: Exception) -> str:
    """The error's message, in one sentence."""
    text = " ".join(str(error).split())
    if isinstance(error, UserError):
        return str(error)
    if isinstance(error, MissingConfigException):
        return unknown_option(error)
    if isinstance(error, OverrideParseException):
        return f"'{error.override}' is not of the form key=value; put a value with special characters in quotes."
    if isinstance(error, HydraException):
        cause = error.__cause__
        if isinstance(cause, (ConfigKeyError, ConfigAttributeError)):
            return unknown_key(cause)
        return sentence(cause) if isinstance(cause, OmegaConfBaseException) else of_hydra(text)
    if isinstance(error, (ConfigKeyError, ConfigAttributeError)):  # raised after composition
        return f"the config has no {error.full_key}; it can be changed but not removed."
    if isinstance(error, MissingMandatoryValue):
        return f"{error.full_key} has no value; give it on the command line."
    if isinstance(error, InterpolationResolutionError) and (match := re.search("key '([^']+)' not found", text)):
        return f"{error.full_key} refers to {match.group(1)}, which the config does not have."
    if isinstance(error, OmegaConfBaseException):
        return f"{error.full_key}: {shorten(str(error.msg).splitlines()[0], 200)}"
    if text.startswith(NULL_GROUP):
        return "null is not an option of this config group; to choose none, write an empty list, as in metrics=[]."
    return f"{type(error).__name__}: {shorten(text, 300)}"


def of_hydra(text: str) -> str:
    """Sentence for an error of Hydra whose details are in its text only."""
    if match := re.search(r"Could not override '([^'@]+)'\. No match in the defaults list", text):
        group = match.group(1)
        having = owners(group)
        place = f"it belongs to {' and '.join(having)}" if having else f"to add it, write +{group}=..."
        return f"no chosen option has the group {group}; {place}"
    if match := re.search(r"Could not delete '([^'@]+)'\. No match in the defaults list", text):
        return f"~{match.group(1)} cannot be removed as a group; to choose no option, write {match.group(1)}=[]"
    if match := re.search(r"(?:Ambiguous value for argument|Sweep parameters) '(.+?)'", text):
        return f"{match.group(1)} gives several values; add -m to sweep over them, or write a list as [a,b]."
    return shorten(text, 300)


def unknown_option(error: MissingConfigException) -> str:
    """Sentence for an option that its group does not have."""
    group, _, name = str(error.missing_cfg_file).rpartition("/")
    if group.startswith("hydra/") and name in SWEEPS:
        return f"{group}={name} needs packages that are not installed: pip install 'genmodels[sweeps]'"
    known = [choice for choice in error.options or options(group) if not choice.startswith("_")]
    return f"unknown {group} '{name}'; {nearest(name, known)}"


def unknown_key(error: ConfigKeyError | ConfigAttributeError) -> str:
    """Sentence for a key that the config, as composed from the chosen groups, does not have."""
    key, parent = str(error.full_key), error.parent_node
    config = {} if parent is None else OmegaConf.to_container(parent._get_root())
    assert isinstance(config, dict)
    names = [name for name in dotted(config) if not name.endswith("_")]  # such as _target_
    known = [name for name in names if name.startswith("hydra") == key.startswith("hydra")]
    siblings = [name for name in known if name.rpartition(".")[0] == key.rpartition(".")[0]]
    close = get_close_matches(key, [*known, *(group for group in groups() if ("/" in group) == ("/" in key))], n=1)
    return f"unknown key '{key}'; {other_options(key) or nearest(key, close or siblings)}{addition(key, parent)}"


def other_options(key: str) -> str:
    """A hint at options with this key that were not chosen, or an empty string."""
    parent, _, name = key.rpartition(".")
    group = parent.replace(".", "/")
    having = [f"{group}={choice}" for choice in options(group) if name in option(group, choice)] if group else []
    return f"it is a key of {' and of '.join(having)}" if having else ""


def addition(key: str, parent: Any) -> str:
    """Hydra's own advice, for objects of other packages, which may have more parameters than their YAML lists."""
    target = parent.get("_target_") if OmegaConf.is_dict(parent) else None
    return f" (to add it, write +{key}=...)" if target and not str(target).startswith("genmodels.") else ""


def owners(group: str) -> list[str]:
    """Options, such as ``model=ddpm``, whose defaults list has the nested ``group``."""
    parent, _, name = group.rpartition("/")
    having = []
    for choice in options(parent) if parent else []:
        defaults = option(parent, choice).get("defaults") or []
        if any(OmegaConf.is_dict(entry) and name in entry for entry in defaults):
            having.append(f"{parent}={choice}")
    return having
