"""Data sets published as files."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from genmodels.data.files import fetch


@dataclass(frozen=True)
class Published:
    """Files of one folder, identified by their hashes.

    Args:
        folder: name of the folder under the data root.
        url: address of the files, see :func:`genmodels.data.files.fetch`.
        files: SHA-256 of the content by file name, decompressed if the name ends in ``.gz``.
    """

    folder: str
    url: str
    files: Mapping[str, str]

    def fetched(self, root: Path) -> Path:
        """The folder, after every file in it has been located or downloaded, and verified.

        Raises:
            UserError: if a file is missing and cannot be downloaded, or does not match its hash.
        """
        fetch(root / self.folder, self.files, self.url)
        return root / self.folder
