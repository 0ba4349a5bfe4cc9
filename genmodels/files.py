"""Files that appear whole or not at all."""

from __future__ import annotations

import os
import secrets
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path


@contextmanager
def atomic(path: str | Path) -> Iterator[Path]:
    """Give a temporary path to write to, and rename it to ``path`` at the end: readers see the old file or the new one.

    The temporary file lies beside the target and has a name of its own, so that several processes may write the same
    target. It ends as the target does, because some writers go by the ending or append their own. The writer creates
    it, with the permissions of any new file. If the block raises, the temporary file is removed and the target stays
    as it was.

    Args:
        path: the file to write or replace, in a folder that exists.

    Raises:
        OSError: if nothing was written, or the target cannot be replaced.
    """
    path = Path(path)
    part = path.with_name(f".part-{secrets.token_hex(4)}-{path.name}")
    try:
        yield part
        os.replace(part, path)
    finally:
        part.unlink(missing_ok=True)


def write_whole(path: Path, text: str) -> None:
    """Replace ``path`` by ``text`` as a whole.

    Raises:
        OSError: if it cannot be written.
    """
    with atomic(path) as part:
        part.write_text(text)
