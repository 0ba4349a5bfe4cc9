"""Versions of the packages of others, such as the user's own, whose classes and functions a run is built of."""

from __future__ import annotations

import importlib.metadata
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

UNKNOWN = "unknown"
RECORDED = ("genmodels", "torch", "lightning")  # in every record


def targets(node: Any) -> Iterator[str]:
    """The dotted names of all that a plain config describes, in its order.

    >>> list(targets({"a": [{"_target_": "x.Y", "b": {"_target_": "z.W"}}], "c": 3}))
    ['x.Y', 'z.W']
    """
    children = node.values() if isinstance(node, dict) else node if isinstance(node, list) else ()
    if isinstance(node, dict) and isinstance(node.get("_target_"), str):
        yield node["_target_"]
    for child in children:
        yield from targets(child)


def packages_of(config: Any) -> dict[str, str]:
    """Packages of others that a plain config names, each with the first module of it that the config names.

    >>> packages_of({"model": {"_target_": "mine.models.A", "optimizer": {"_target_": "torch.optim.Adam"}}})
    {'mine': 'mine.models'}
    """
    found: dict[str, str] = {}
    for target in targets(config):
        package = target.partition(".")[0]
        if package not in RECORDED:
            found.setdefault(package, target.rpartition(".")[0])
    return found


def version_of(package: str) -> str:
    """The version of an imported package: that of what installed it, else its ``__version__``, else ``unknown``."""
    names = importlib.metadata.packages_distributions().get(package, [])
    if names:
        return importlib.metadata.version(names[0])
    return str(getattr(sys.modules.get(package), "__version__", UNKNOWN))


def sources_of(modules: dict[str, str]) -> dict[str, Any]:
    """The state of the repositories that the packages lie in; those that lie in none are left out.

    Args:
        modules: for each package a module, whose file is looked for if the package itself has none.
    """
    states = {}
    for package, module in modules.items():
        files = [getattr(sys.modules.get(name), "__file__", None) for name in (package, module)]
        states[package] = next((git_state(Path(file)) for file in files if file), None)
    return {package: state for package, state in states.items() if state}


def git_state(file: Path = Path(__file__)) -> dict[str, Any] | None:
    """Commit of the repository that has ``file``, by default our own, and whether files differ from it.

    ``None`` if no repository has it. A package that is installed below somebody's repository is no part of it.
    """

    def git(*words: str) -> str:
        done = subprocess.run(["git", *words], cwd=file.parent, capture_output=True, text=True, check=True)
        return done.stdout.strip()

    try:
        git("ls-files", "--error-unmatch", file.name)
        return {"commit": git("rev-parse", "HEAD"), "modified": bool(git("status", "--porcelain", "-uno"))}
    except (OSError, subprocess.CalledProcessError):
        return None
