"""Data sets published as files."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path, PurePosixPath, PureWindowsPath

from genmodels.data.files import fetch
from genmodels.errors import ensure

SCHEMES = ("http://", "https://")


@dataclass(frozen=True)
class Published:
    """Files of one folder, identified by their hashes.

    Args:
        folder: name of the folder under the data root.
        url: address of the files, see :func:`genmodels.data.files.fetch`.
        files: SHA-256 of the content by file name, decompressed if the name ends in ``.gz``.

    Raises:
        ValueError: if ``folder`` or the name of a file is a path, or ``url`` is no web address, or a
            hash is none.
    """

    folder: str
    url: str
    files: Mapping[str, str]

    def __post_init__(self) -> None:
        ensure(is_plain(self.folder), f"folder must be the name of a folder, without a path, got {self.folder!r}.")
        ensure(str(self.url).startswith(SCHEMES), f"url must begin with http:// or https://, got {self.url!r}.")
        listed = isinstance(self.files, Mapping) and len(self.files) > 0
        ensure(listed, f"files must map names to SHA-256 hashes, got {self.files!r}.")
        for name, sha in self.files.items():
            ensure(is_plain(name), f"files must have names without a path, got {name!r}.")
            ensure(bool(re.fullmatch("[0-9a-f]{64}", str(sha))), f"files must have a SHA-256 for {name}, got {sha!r}.")

    def fetched(self, root: Path) -> Path:
        """The folder, after every file in it has been located or downloaded, and verified.

        Raises:
            UserError: if a file is missing and cannot be downloaded, or does not match its hash.
        """
        fetch(root / self.folder, self.files, self.url)
        return root / self.folder


def is_plain(name: object) -> bool:
    r"""Whether ``name`` is that of a file or folder within another one, on every system.

    >>> [is_plain(name) for name in ("mnist", "../mnist", "/mnist", "..", "", "a\x1b")]
    [True, False, False, False, False, False]
    """
    if not isinstance(name, str) or name in ("", ".", "..") or not name.isprintable():
        return False
    return PurePosixPath(name).name == PureWindowsPath(name).name == name
