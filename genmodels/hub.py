"""Exports that were uploaded to the Hugging Face Hub, as run folders."""

from __future__ import annotations

import re
import shutil
from importlib.util import find_spec
from pathlib import Path

from genmodels.console import tell
from genmodels.errors import UserError, require
from genmodels.files import PART

PREFIX = "hf://"  # beginning of the name of an export on the hub
NAME = re.compile(r"(\w[\w.-]{,95}/\w[\w.-]{,95})(?:@([\w./-]{1,200}))?")
NEEDED = ("config.yaml", "run.json", "model.safetensors")
FILES = (*NEEDED, "README.md", "samples/final.png")  # of an export; nothing else is downloaded
REASONS = {
    "RepositoryNotFoundError": "there is no such repository, or it is private",
    "GatedRepoError": "its owner must grant you access first",
    "RevisionNotFoundError": "it has no such revision",
    "LocalEntryNotFoundError": "the hub cannot be reached, and there is no copy in its cache",
    "OfflineModeIsEnabled": "the hub's offline mode is on, and there is no copy in its cache",
    "ConnectError": "the hub cannot be reached",
    "ConnectionError": "the hub cannot be reached",
}
"""What the hub's errors mean, by their names, since its versions derive them from different classes."""


def snapshot(name: str) -> Path:
    """The folder of an export in the hub's cache, downloaded unless it is there.

    What comes from the hub is a stranger's: only the files of an export are taken, none of which can run code, and they
    are checked as any other run folder is.

    Args:
        name: ``user/name``, or ``user/name@revision``.

    Raises:
        UserError: if there is no such export, or it cannot be had.
    """
    found = NAME.fullmatch(name)
    if found is None:
        raise UserError(f"{PREFIX}{name} is not of the form {PREFIX}USER/NAME or {PREFIX}USER/NAME@REVISION.")
    needs = f"{PREFIX}{name} needs a package that is not installed: pip install 'genmodels[hub]'"
    require(find_spec("huggingface_hub") is not None, needs)
    from huggingface_hub import snapshot_download

    repository, revision = found.groups()
    try:
        folder = Path(snapshot_download(repository, revision=revision, allow_patterns=list(FILES)))
    except Exception as error:
        names = [kind.__name__ for kind in type(error).__mro__]
        known = next((REASONS[each] for each in names if each in REASONS), None)
        reason = known or " ".join(str(error).split())[:160].rstrip(".") or names[0]
        raise UserError(f"{PREFIX}{name} cannot be downloaded: {reason}.") from error
    missing = [file for file in NEEDED if not (folder / file).is_file()]
    require(not missing, f"{PREFIX}{name} holds no export of genmodels: it has no {' and no '.join(missing)}.")
    return folder


def downloaded(name: str, home: Path = Path("runs/hub")) -> Path:
    """A copy of :func:`snapshot` below ``home``, to which scores may be added; one for each version.

    The files in the cache are links, and of others too.
    """
    source = snapshot(name)
    folder = home / f"{name.partition('@')[0].replace('/', '_')}_{source.name[:12]}"
    if not folder.exists():
        part = folder.with_name(f"{PART}{folder.name}")
        shutil.rmtree(part, ignore_errors=True)
        for file in FILES:
            if (source / file).is_file():
                (part / file).parent.mkdir(parents=True, exist_ok=True)
                shutil.copyfile(source / file, part / file)
        part.rename(folder)
    tell(str(folder))
    return folder
