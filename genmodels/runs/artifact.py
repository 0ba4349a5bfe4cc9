"""Runs that were uploaded to Weights & Biases, as run folders."""

from __future__ import annotations

import re
import shutil
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from genmodels.console import tell
from genmodels.errors import UserError, require
from genmodels.files import PART

FILES = re.compile(r"config\.yaml|run\.json|checkpoints/(best|last)\.ckpt")  # what such an artifact holds, nothing else
NAME = re.compile(r"(?:[\w.~@-]+/){1,2}[\w.~@-]+(?::[\w.-]+)?")
LARGEST = 64 * 2**30  # bytes


def downloaded(name: str, home: Path = Path("runs/wandb")) -> Path:
    """The run folder of an artifact, downloaded unless this version is there already.

    What comes from the server is a stranger's: only the files of a run are taken, and every command checks the folder
    as it checks any other.

    Args:
        name: ``entity/project/name:alias``.
        home: folder of the folders that were downloaded.

    Raises:
        UserError: if there is no such artifact, it cannot be had, or it holds anything but a run.
    """
    require(bool(NAME.fullmatch(name)), f"wandb:{name} is not of the form wandb:ENTITY/PROJECT/NAME:ALIAS.")
    require(find_spec("wandb") is not None, f"wandb:{name} needs a package that is not installed: pip install wandb")
    artifact = found(name if ":" in name else f"{name}:latest")
    check(artifact, name)
    folder = home / f"{name.partition(':')[0].replace('/', '_')}_{artifact.version}"
    if not folder.exists():
        home.mkdir(parents=True, exist_ok=True)
        part = folder.with_name(f"{PART}{folder.name}")
        shutil.rmtree(part, ignore_errors=True)
        artifact.download(root=str(part))
        part.rename(folder)
    tell(str(folder))
    return folder


def found(name: str) -> Any:
    """The artifact on the server.

    Raises:
        UserError: if it cannot be had, with wandb's reason.
    """
    import wandb

    from genmodels.loggers.connection import obstacle

    reason = obstacle()
    require(reason is None, f"wandb:{name} cannot be downloaded: {reason}.")
    try:
        return wandb.Api().artifact(name)
    except (wandb.Error, ValueError) as error:
        raise UserError(f"wandb:{name} cannot be downloaded: {str(error)[:200].rstrip('.')}.") from error


def check(artifact: Any, name: str) -> None:
    """Refuse an artifact that holds anything but the files of a run, or files that lie elsewhere.

    Raises:
        UserError: naming what is wrong.
    """
    entries = artifact.manifest.entries
    require("run.json" in entries and "config.yaml" in entries, f"wandb:{name} holds no run of genmodels.")
    for path, entry in entries.items():
        require(FILES.fullmatch(path) is not None, f"wandb:{name} holds {path[:80]!r}, which is no file of a run.")
        require(entry.ref is None, f"wandb:{name} does not hold {path} but refers to it elsewhere.")
    size = sum(entry.size or 0 for entry in entries.values())
    require(size <= LARGEST, f"wandb:{name} has {size} bytes, which is more than a run can have.")
