"""The folder of data files."""

from __future__ import annotations

import os
from pathlib import Path


def data_root(root: str | Path | None = None) -> Path:
    """Folder of all data files: ``root`` if given, else ``$GENMODELS_DATA``, else the user's cache folder.

    >>> str(data_root("/srv/data"))
    '/srv/data'
    """
    chosen = root or os.environ.get("GENMODELS_DATA")
    if chosen:
        return Path(chosen).expanduser().resolve()
    import pooch

    return Path(pooch.os_cache("genmodels"))
