"""The configuration tree on disk, ``conf/`` and the user's own: groups, options, and how many options each takes.

This module imports neither torch nor Hydra.
"""

from __future__ import annotations

from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import Any

from omegaconf import DictConfig, OmegaConf

from genmodels.trust import config_folder, files, folders


def config_folders() -> list[Path]:
    """``conf/`` of the package, and the user's own folders of options."""
    return [config_folder(), *folders()]


def groups() -> list[str]:
    """Config groups, nested ones as Hydra spells them: ``model``, ``model/sampler``."""
    return sorted({group for root in config_folders() for group in groups_in(root)})


@cache
def groups_in(root: Path) -> list[str]:
    """The groups in one folder of options."""
    return sorted({file.parent.relative_to(root).as_posix() for file in files(root) if file.parent != root})


def options(group: str) -> list[str]:
    """Options of a config group. Files whose names begin with ``_`` are fragments, not options."""
    return sorted({path.stem for root in config_folders() for path in (root / group).glob("[!_]*.yaml")})


def option(group: str, name: str) -> DictConfig:
    """The content of one option's file, with its defaults list not yet followed."""
    found = [file for root in config_folders() if (file := root / group / f"{name}.yaml").exists()]
    content = OmegaConf.load(found[0] if found else config_folder() / group / f"{name}.yaml")
    assert isinstance(content, DictConfig)
    return content


@cache
def primary() -> dict[str, Any]:
    """The content of ``conf/train.yaml``, with its defaults list not yet followed."""
    return plain(OmegaConf.load(config_folder() / "train.yaml"))


def takes_several(group: str) -> bool:
    """Whether any number of the group's options can be chosen, as of ``metrics``: their default is a list."""
    return any(isinstance(entry, dict) and isinstance(entry.get(group), list) for entry in primary()["defaults"])


def takes_none(group: str) -> bool:
    """Whether the group may be left without an option, as ``experiment``: its default is null or a list."""
    optional = any(isinstance(entry, dict) and entry.get(group, "") is None for entry in primary()["defaults"])
    return optional or takes_several(group)


def owners(group: str) -> list[str]:
    """Options, such as ``model=ddpm``, whose defaults list has the nested ``group``."""
    parent, _, name = group.rpartition("/")
    having = []
    for choice in options(parent) if parent else []:
        defaults = option(parent, choice).get("defaults") or []
        if any(OmegaConf.is_dict(entry) and name in entry for entry in defaults):
            having.append(f"{parent}={choice}")
    return having


def plain(config: Any) -> dict[str, Any]:
    """A config as nested dicts and lists, with interpolations left as they are."""
    content = OmegaConf.to_container(config)
    assert isinstance(content, dict)
    return {str(key): value for key, value in content.items()}


def dotted(node: Any, prefix: str = "") -> Iterator[str]:
    """Every key of nested mappings as ``a.b.c``."""
    for key, value in node.items():
        yield f"{prefix}{key}"
        if isinstance(value, dict):
            yield from dotted(value, f"{prefix}{key}.")
