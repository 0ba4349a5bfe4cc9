"""The differences between the configs of the rows, from their config.yaml, which may be strangers'."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping, Sequence
from typing import Any

from omegaconf import OmegaConf

from genmodels.compare.results import Group, differences
from genmodels.errors import UserError
from genmodels.nested import leaves
from genmodels.runs import RunFolder
from genmodels.runs.identity import moved, within
from genmodels.settings import INCIDENTAL

LACKING = "-"  # for a key that a config does not have


def settings(group: Group) -> dict[str, str] | None:
    """The settings of a group's first run as text, by dotted key, without those that do not define it.

    ``None`` if config.yaml is missing or cannot be read, or is not the one that the run was made with.
    """
    path = group.runs[0].path
    try:
        config = OmegaConf.to_container(RunFolder(path).config, resolve=True)
    except UserError:
        return None
    plain = moved(config, os.path.abspath(path), "run_dir")
    return {key: text(value) for key, value in leaves(plain) if not within(key, INCIDENTAL)}


def text(value: Any) -> str:
    """A setting as it is written on the command line."""
    return value if isinstance(value, str) else json.dumps(value)


def differing(groups: Sequence[Group]) -> tuple[list[str], list[Mapping[str, str] | None]]:
    """The keys whose values differ between groups, sorted, and the settings of each group."""
    found = [settings(group) for group in groups]
    return sorted(differences([each for each in found if each is not None])), list(found)
