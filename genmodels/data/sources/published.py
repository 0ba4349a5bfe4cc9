"""Data sets published as files."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from genmodels.data.files import fetch


@dataclass(frozen=True)
class Published:
    """Files known by their hashes, kept in one folder.

    Args:
        folder: their folder under the data root.
        url: where they come from, see :func:`genmodels.data.files.fetch`.
        files: name to SHA-256 of the content, decompressed if the name ends in ``.gz``.
    """

    folder: str
    url: str
    files: Mapping[str, str]

    def fetched(self, root: Path) -> Path:
        """The folder, with every file in it verified.

        Raises:
            UserError: if a file is missing and cannot be downloaded, or is not what its hash says.
        """
        fetch(root / self.folder, self.files, self.url)
        return root / self.folder
