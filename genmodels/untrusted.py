"""Files and texts of strangers, such as those in a run folder that was downloaded, read with care."""

from __future__ import annotations

import re
import stat
from pathlib import Path
from typing import Any

import yaml
from omegaconf import OmegaConf
from omegaconf.errors import OmegaConfBaseException

from genmodels.errors import UserError, require

MEBIBYTE = 2**20
DEEPEST = 50  # levels of a config
OPENING = (
    yaml.BlockMappingStartToken, yaml.BlockSequenceStartToken, yaml.FlowMappingStartToken, yaml.FlowSequenceStartToken,
)  # fmt: skip
CLOSING = (yaml.BlockEndToken, yaml.FlowMappingEndToken, yaml.FlowSequenceEndToken)


def read_text(path: Path, most: int = 16 * MEBIBYTE) -> str:
    """Content of a text file that may be a stranger's.

    Args:
        path: the file.
        most: largest size in bytes.

    Raises:
        UserError: if it is missing, no regular file (a pipe would never end), larger than ``most``, or not UTF-8.
    """
    try:
        found = path.stat()
        require(stat.S_ISREG(found.st_mode), f"{path} is not a regular file.")
        require(found.st_size <= most, f"{path} has {found.st_size} bytes, which is more than such a file can have.")
        return path.read_text(encoding="utf-8")
    except (OSError, ValueError) as error:
        reason = getattr(error, "strerror", None) or "it is not UTF-8"
        raise UserError(f"{path} cannot be read: {reason}.") from error


def read_config(file: Path) -> dict[str, Any]:
    """The content of a run's config.yaml, which may be a stranger's, with nothing resolved.

    Raises:
        UserError: if it cannot be read, is not a mapping, is nested too deeply to be read in a reasonable time, or
            contains what the config of a run never does: an alias, by which a small file becomes a huge config, or
            characters that a terminal would interpret.
    """
    text = read_text(file, most=MEBIBYTE // 16)
    try:
        check_tokens(text, file)
        loaded = OmegaConf.to_container(OmegaConf.create(text))
    except (yaml.YAMLError, OmegaConfBaseException, ValueError, TypeError, RecursionError) as error:
        reason = error.problem if isinstance(error, yaml.MarkedYAMLError) else str(error)  # without an excerpt
        raise UserError(f"{file} cannot be read ({' '.join(str(reason).split())[:160]}).") from error
    require(isinstance(loaded, dict), f"{file} is not the config of a run.")
    assert isinstance(loaded, dict)
    require(printable(loaded) == loaded, f"{file} contains control characters, which the config of a run never does.")
    return {str(key): value for key, value in loaded.items()}


def check_tokens(text: str, file: Path) -> None:
    """Scan YAML, and stop at what would take memory or time beyond its size.

    Raises:
        UserError: for an alias, or for deep nesting.
    """
    depth = 0
    for token in yaml.scan(text):
        depth += isinstance(token, OPENING) - isinstance(token, CLOSING)
        require(depth <= DEEPEST, f"{file} is nested more deeply than the config of a run ever is.")
        alias = isinstance(token, yaml.AliasToken)
        require(not alias, f"{file} contains a YAML alias, which the config of a run never does.")


def literal(node: Any) -> Any:
    r"""Plain containers with every ``${`` escaped, so that OmegaConf takes it for text.

    >>> literal({"run_dir": "runs/${oc.env:HOME}", "n": [1, "a"]})
    {'run_dir': 'runs/\\${oc.env:HOME}', 'n': [1, 'a']}
    """
    if isinstance(node, dict):
        return {key: literal(child) for key, child in node.items()}
    if isinstance(node, list):
        return [literal(child) for child in node]
    return re.sub(r"(\\*)\$\{", r"\1\1\\${", node) if isinstance(node, str) else node


def printable(node: Any) -> Any:
    r"""Nested lists and mappings with control characters, which a terminal would interpret, replaced.

    >>> printable({"a": ["red \x1b[31m"]})
    {'a': ['red �[31m']}
    """
    if isinstance(node, dict):
        return {printable(key): printable(value) for key, value in node.items()}
    if isinstance(node, list):
        return [printable(value) for value in node]
    if isinstance(node, str):
        return "".join(c if c.isprintable() else " " if c.isspace() else "\ufffd" for c in node)
    return node
