"""What may be built besides genmodels' own classes: what the user trusts by an explicit act of his own.

- ``GENMODELS_TRUST=mypkg,other`` in the environment: all classes and functions that these packages define;
- an entry point of the group ``genmodels`` of an installed package, whose value is the package's name: likewise;
- ``GENMODELS_CONFIG=conf`` in the environment, or ``--config-dir conf``: a folder of options of one's own, and the
  classes and functions that its files name, and no others.

A folder ``conf/`` inside a trusted package is a folder of options too. Nothing in a run folder, which may be a
stranger's, changes any of this. This module imports neither torch nor Hydra.
"""

from __future__ import annotations

import importlib
import os
import re
import sys
from collections.abc import Sequence
from functools import cache
from importlib.machinery import ModuleSpec, PathFinder
from importlib.metadata import entry_points
from importlib.util import find_spec
from pathlib import Path
from types import ModuleType

from genmodels.errors import require
from genmodels.untrusted import read_text

TRUST, CONFIG = "GENMODELS_TRUST", "GENMODELS_CONFIG"
GROUP = "genmodels"  # of entry points
TARGET = re.compile(r"""\b_target_["']?\s*[:=]\s*["']?([A-Za-z_][\w.]*)""")
NO_PACKAGES = ("genmodels", "torch", "lightning", "hydra", "omegaconf", "numpy")  # that a hint would propose to trust


def packages() -> tuple[str, ...]:
    """Names of the packages that are trusted as a whole."""
    named = [name.strip() for name in os.environ.get(TRUST, "").split(",")]
    return tuple(dict.fromkeys([*filter(None, named), *registered()]))


@cache
def registered() -> tuple[str, ...]:
    """Names of the installed packages that have an entry point."""
    return tuple(sorted({entry.module for entry in entry_points(group=GROUP)}))


def config_folder() -> Path:
    """``conf/`` next to the package in a checkout, inside it when installed."""
    inside = Path(__file__).parent / "conf"
    return inside if inside.is_dir() else Path(__file__).parent.parent / "conf"


def chosen() -> list[Path]:
    """The folders of options that the user names.

    Raises:
        UserError: for one that does not exist.
    """
    named = [Path(name).expanduser().absolute() for name in filter(None, os.environ.get(CONFIG, "").split(os.pathsep))]
    for folder in named:
        require(folder.is_dir(), f"{CONFIG}={folder} is not a folder; name that of your options.")
    return [folder for folder in named if folder.resolve() != config_folder().resolve()]


def folders() -> list[Path]:
    """All folders of options besides genmodels' own: those that the user names, and those in trusted packages.

    Raises:
        UserError: for one that does not exist.
    """
    return list(dict.fromkeys([*chosen(), *(home / "conf" for home in homes() if (home / "conf").is_dir())]))


def homes() -> list[Path]:
    """The folders of the trusted packages, none of which is imported; those that are not found are left out."""
    specs = [find_spec(name) for name in packages() if name.isidentifier()]
    return [Path(place) for spec in specs if spec for place in spec.submodule_search_locations or ()]


def use(folder: str) -> None:
    """Add a folder of options of one's own, for this process and those that it starts.

    Raises:
        UserError: if there is none.
    """
    path = Path(folder).expanduser().absolute()
    require(bool(folder) and path.is_dir(), f"--config-dir={folder} is not a folder; name that of your options.")
    known = list(filter(None, os.environ.get(CONFIG, "").split(os.pathsep)))
    os.environ[CONFIG] = os.pathsep.join(dict.fromkeys([*known, str(path)]))


def named() -> set[str]:
    """The classes and functions that the user's options name."""
    return {name for folder in folders() for file in files(folder) for name in TARGET.findall(read_text(file))}


def files(folder: Path) -> list[Path]:
    """The YAML files of a folder of options: those in it, and those in and under the folders of genmodels' groups.

    A project may hold much else, such as run folders, whose files are no options.
    """
    groups = [path.name for path in config_folder().iterdir() if path.is_dir()]
    found = [*folder.glob("*.yaml"), *(file for group in groups for file in (folder / group).rglob("*.yaml"))]
    runs = {file.parent for file in found if (file.parent / "run.json").exists()}
    return sorted(file for file in found if not runs & set(file.parents))


def is_trusted(name: str) -> bool:
    """Whether the user trusts the class or function of this dotted name."""
    return name.partition(".")[0] in packages() or name in named()


def is_defined_by(module: str) -> bool:
    """Whether a module belongs to a package that is trusted as a whole."""
    return module.partition(".")[0] in packages()


def hint(name: str) -> str:
    """How to trust the package of a dotted name, unless it is one of Python's or of our own requirements."""
    package = name.partition(".")[0]
    if not package.isidentifier() or package in sys.stdlib_module_names or package in NO_PACKAGES:
        return ""
    return f"; if you trust {package}, set {TRUST}={package} in the environment"


class Beside:
    """Finds a trusted package that is not installed, beside a folder of options that the user names; nothing else."""

    @staticmethod
    def find_spec(name: str, path: Sequence[str] | None = None, target: ModuleType | None = None) -> ModuleSpec | None:
        """Python asks this last."""
        if path is not None:
            return None
        found = PathFinder.find_spec(name, [str(folder.parent) for folder in chosen()])
        trusted = found and name in (*packages(), *(each.partition(".")[0] for each in named()))
        return found if trusted else None


def module(name: str) -> ModuleType:
    """Import a module that is ours or of a trusted package."""
    if Beside not in sys.meta_path:
        sys.meta_path.append(Beside)
    return importlib.import_module(name)


def check_names() -> None:
    """Refuse options of one's own that have the name of one of genmodels', which would be taken in their place.

    Raises:
        UserError: naming the file.
    """
    for folder in folders():
        for file in files(folder):
            place = file.relative_to(folder)
            free = not (config_folder() / place).exists()
            require(free, f"{file} has the name of an option of genmodels; rename it, and choose it by that name.")
