"""Types of what the command line sets, for a config that is only shown: ``--cfg job`` refuses what training refuses.

The signatures of the constructors are the schema, see :mod:`genmodels.builder`; to import them is to import torch,
which takes seconds. Here they are read from the source, as far as annotations are plain types: ``latent_dim: int``.
Where they are not, a value that is like that of the options in ``conf/`` fits too, since the tests hold these to their
places. Only if that cannot be said of every word, torch is imported.
"""

from __future__ import annotations

import ast
import math
from collections.abc import Iterable, Iterator, Mapping, Sequence
from copy import deepcopy
from functools import cache
from pathlib import Path
from typing import Any, Literal

from hydra.core.override_parser.types import Override
from omegaconf import DictConfig, OmegaConf

from genmodels.annotations import require_fit
from genmodels.composition import check_parts, compose_train
from genmodels.overrides import compose_sweep, parse
from genmodels.settings import check_settings
from genmodels.tree import config_folder, groups

BUILT = ("data", "model", "metrics", "logger", "scheduler", "callbacks", "checkpoint")  # check_settings knows the rest
PLAIN = {
    **{kind.__name__: kind for kind in (int, float, bool, str, list, dict, tuple, Path)},
    **{"Literal": Literal, "Sequence": Sequence, "Iterable": Iterable, "Mapping": Mapping},
}
"""Names in annotations whose meaning is known without importing anything."""
PACKAGE = "genmodels"


def check_shown(words: list[str]) -> None:
    """Refuse a value of the wrong type among ``words``, as training does.

    A word that gives several values is left to the jobs of the sweep.

    Raises:
        UserError: in the sentence of training.
    """
    overrides = [each for each in parse(words) if not each.is_sweep_override() and concerns(each)]
    if not overrides:
        return
    config = settled(compose_sweep(words, compose_train))
    OmegaConf.missing_keys(config)  # may be; an interpolation that leads nowhere may not
    check_settings(config)
    check_parts(config)
    open_ones = [each for each in overrides if not is_known_to_fit(each, config)]
    if not open_ones:
        return
    choices = [str(each.input_line) for each in parse(words) if each.key_or_group in groups()]
    before = settled(compose_sweep(choices, compose_train))
    if not all(is_like_the_option(each, before) for each in open_ones):
        check_types(config)


def concerns(override: Override) -> bool:
    """Whether a word sets a key of what is built, or brings values of one's own to it."""
    key = str(override.key_or_group)
    if override.is_delete():
        return False
    return key.partition(".")[0] in BUILT if key not in groups() else brings_own(override)


def brings_own(override: Override) -> bool:
    """Whether the choice of an option is not of one of ``conf/``, or not for its own place."""
    value = override.value()
    names = [name for name in (value if isinstance(value, list) else [value]) if name is not None]
    files = [config_folder() / str(override.key_or_group) / f"{name}.yaml" for name in names]
    return override.package is not None or not all(file.exists() for file in files)


def is_known_to_fit(override: Override, config: DictConfig) -> bool:
    """Whether the source says that the value of a key fits; ``False`` if the source does not say.

    Raises:
        UserError: if it says that the value does not.
    """
    key = str(override.key_or_group)
    parent, _, name = key.rpartition(".")
    target = OmegaConf.select(config, f"{parent}._target_") if parent else None
    if key in groups() or not isinstance(target, str) or name not in (known := plain_types(target)):
        return False
    value = value_of(config, key)
    if isinstance(value, dict):
        return False
    require_fit(value, key, known[name])
    return True


def is_like_the_option(override: Override, before: DictConfig) -> bool:
    """Whether the value of a word is like that of the chosen options, which ``before`` holds."""
    key = str(override.key_or_group)
    return key not in groups() and not override.is_add() and alike(override.value(), value_of(before, key))


def value_of(config: DictConfig, key: str) -> Any:
    """The value of a dotted key as plain containers."""
    found = OmegaConf.select(config, key)
    return OmegaConf.to_container(found, resolve=True) if OmegaConf.is_config(found) else found


def alike(value: Any, other: Any) -> bool:
    """Whether ``value`` fits wherever ``other`` does: a number of its type, or a list of as many of them.

    >>> alike(3, 4), alike(3, 4.0), alike(True, 1), alike([1, 2], [3, 4]), alike("a", "b"), alike("a", "a")
    (True, False, False, True, False, True)
    """
    if isinstance(value, list) and isinstance(other, list):
        return len(value) == len(other) and all(map(alike, value, other))
    number = isinstance(value, (bool, int, float)) and math.isfinite(value)
    return type(value) is type(other) and (number or value == other)


@cache
def plain_types(target: str) -> dict[str, Any]:
    """The parameters of a class or function of genmodels whose annotations are plain types, read from its source.

    Empty for what is not found: a class that inherits its constructor, and whatever is not of genmodels.

    >>> plain_types("genmodels.core.DataSpec")["levels"]
    int | None
    >>> plain_types("torch.optim.Adam")
    {}
    """
    module, _, name = target.rpartition(".")
    file = source_of(module)
    for node in ast.parse(file.read_text(encoding="utf-8")).body if file else ():
        if isinstance(node, ast.ImportFrom) and node.module and not node.level:
            for alias in node.names:
                if name == (alias.asname or alias.name):
                    return plain_types(f"{node.module}.{alias.name}")
        elif isinstance(node, (ast.ClassDef, ast.FunctionDef)) and node.name == name:
            return dict(plain_ones(node))
    return {}


def plain_ones(node: ast.ClassDef | ast.FunctionDef) -> Iterator[tuple[str, Any]]:
    """Parameters of a definition and their types, those that are plain."""
    for name, annotation in annotated(node):
        names = {each.id for each in ast.walk(annotation) if isinstance(each, ast.Name)}
        if names <= set(PLAIN):
            yield name, eval(compile(ast.Expression(annotation), name, "eval"), {"__builtins__": {}}, PLAIN)


def annotated(node: ast.ClassDef | ast.FunctionDef) -> Iterator[tuple[str, ast.expr]]:
    """Annotations of the parameters of a function, of a constructor, or of the fields of a dataclass."""
    inner = {each.name: each for each in node.body if isinstance(each, ast.FunctionDef)}
    function = inner.get("__init__") if isinstance(node, ast.ClassDef) else node
    if function is not None:
        arguments = (*function.args.args, *function.args.kwonlyargs)
        yield from ((each.arg, each.annotation) for each in arguments if each.annotation is not None)
    elif any("dataclass" in ast.unparse(each) for each in node.decorator_list):
        fields = (each for each in node.body if isinstance(each, ast.AnnAssign))
        yield from ((each.target.id, each.annotation) for each in fields if isinstance(each.target, ast.Name))


def source_of(module: str) -> Path | None:
    """The file of a module of genmodels."""
    first, *parts = module.split(".")
    if first != PACKAGE:
        return None
    place = Path(__file__).parent.joinpath(*parts)
    return next((file for file in (place.with_suffix(".py"), place / "__init__.py") if file.is_file()), None)


def settled(config: DictConfig) -> DictConfig:
    """The config with a name for the run's folder, which Hydra gives only to a run that begins."""
    config = deepcopy(config)
    if OmegaConf.is_interpolation(config, "run_dir"):
        config.run_dir = "runs"
    return config


def check_types(config: DictConfig) -> None:
    """Check all that the config describes against the signatures of what would be built, without building it.

    Raises:
        UserError: naming the key.
    """
    from genmodels.builder import check_node
    from genmodels.instruments import PLACES, described

    for place, kind in PLACES.items():
        for key, node in described(config, place).items():
            check_node(node, key, kind)
