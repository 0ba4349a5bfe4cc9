"""Files and texts of strangers, such as those in a run folder that was downloaded, read with care."""

from __future__ import annotations

import json
import re
import stat
from pathlib import Path
from typing import Any

import yaml
from omegaconf import OmegaConf
from omegaconf.errors import OmegaConfBaseException

from genmodels.errors import UserError, require

MEBIBYTE = 2**20
CAUSES = (ValueError, TypeError, RecursionError, AttributeError, KeyError)  # by a damaged or hostile config
SCALARS = (str, int, float, bool, type(None))
SURROGATE = re.compile("[\ud800-\udfff]")  # halves of a character, which no encoding has
DEEPEST = 40  # containers within one another, far more than a record or a config has
OPENING = (
    yaml.BlockMappingStartToken, yaml.BlockSequenceStartToken, yaml.FlowMappingStartToken, yaml.FlowSequenceStartToken,
)  # fmt: skip
CLOSING = (yaml.BlockEndToken, yaml.FlowMappingEndToken, yaml.FlowSequenceEndToken)


def read_bytes(path: Path, most: int) -> bytes:
    """Content of a file that may be a stranger's.

    Args:
        path: the file.
        most: largest size in bytes.

    Raises:
        UserError: if it is missing, no regular file (a pipe would never end), or larger than ``most``.
    """
    try:
        found = path.stat()
        require(stat.S_ISREG(found.st_mode), f"{path} is not a regular file.")
        require(found.st_size <= most, f"{path} has {found.st_size} bytes, which is more than such a file can have.")
        return path.read_bytes()
    except (OSError, ValueError) as error:
        raise UserError(f"{path} cannot be read: {getattr(error, 'strerror', None) or error}.") from error


def read_text(path: Path, most: int = 16 * MEBIBYTE) -> str:
    """Content of a text file that may be a stranger's, with any line end as a line feed.

    Raises:
        UserError: if it cannot be read, see :func:`read_bytes`, or is not UTF-8.
    """
    try:
        return read_bytes(path, most).decode("utf-8").replace("\r\n", "\n").replace("\r", "\n")
    except UnicodeDecodeError as error:
        raise UserError(f"{path} cannot be read: it is not UTF-8.") from error


def read_json(file: Path) -> Any:
    """Content of a JSON file that may be a stranger's, with control characters in its texts replaced.

    Raises:
        UserError: see :func:`parsed`.
    """
    return parsed(read_text(file), str(file))


def parsed(text: str, what: str) -> Any:
    """Content of a JSON text that may be a stranger's, with control characters in its texts replaced.

    Args:
        text: the text.
        what: where it is from, for the error.

    Raises:
        UserError: if it is no JSON, has an entry twice, of which readers may take either, or is nested too deeply.
    """

    def unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
        found = dict(pairs)
        require(len(found) == len(pairs), f"{what} cannot be read: it has an entry twice.")
        return found

    try:
        content = json.loads(text, object_pairs_hook=unique)
    except (ValueError, RecursionError) as error:
        reason = "it is nested too deeply" if isinstance(error, RecursionError) else f"it is no JSON ({error})"
        raise UserError(f"{what} cannot be read: {reason}.") from error
    require(is_shallow(content), f"{what} cannot be read: it is nested too deeply.")
    return printable(content)


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
    except (yaml.YAMLError, OmegaConfBaseException, *CAUSES) as error:
        reason = error.problem if isinstance(error, yaml.MarkedYAMLError) else str(error)  # without an excerpt
        raise UserError(f"{file} cannot be read ({' '.join(str(reason).split())[:160]}).") from error
    require(isinstance(loaded, dict), f"{file} is not the config of a run.")
    require(is_plain(loaded), f"{file} is not the config of a run: it has a key or a value that is no plain text.")
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


def is_shallow(node: Any, levels: int = DEEPEST) -> bool:
    """Whether at most ``levels`` containers are within one another.

    >>> is_shallow([[3]], levels=2), is_shallow([[[]]], levels=2)
    (True, False)
    """
    children = contained(node)
    return children is None or (levels > 0 and all(is_shallow(child, levels - 1) for child in children))


def is_plain(node: Any) -> bool:
    """Whether nested containers hold nothing but numbers, true, false, null and texts that can be written as UTF-8."""
    texts = [node] if isinstance(node, str) else list(node) if isinstance(node, dict) else []
    whole = all(isinstance(text, str) and not SURROGATE.search(text) for text in texts)
    children = contained(node)
    return whole and (all(map(is_plain, children)) if children is not None else isinstance(node, SCALARS))


def contained(node: Any) -> list[Any] | None:
    """The children of a container; ``None`` for anything else."""
    if isinstance(node, dict):
        return list(node.values())
    return node if isinstance(node, list) else None


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
