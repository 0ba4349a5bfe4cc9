"""Where a run is: a folder here, an artifact on Weights & Biases, or an export on the Hugging Face Hub.

This module does not import torch before something is downloaded.
"""

from __future__ import annotations

import os
from pathlib import Path

from genmodels import hub
from genmodels.files import path_named

ARTIFACT = "wandb:"  # beginning of the name of a run on Weights & Biases


def located(run: str | os.PathLike[str]) -> Path:
    """The run folder that is named, downloaded below ``runs`` if it is elsewhere.

    Args:
        run: a folder, ``wandb:ENTITY/PROJECT/NAME:ALIAS`` or ``hf://USER/NAME@REVISION``.

    Raises:
        UserError: if it cannot be downloaded, or is neither a text nor a path.
    """
    path, name = path_named(run, "run"), os.fspath(run)
    if name.startswith(ARTIFACT):
        from genmodels.runs import artifact

        return artifact.downloaded(name.removeprefix(ARTIFACT))
    if name.startswith(hub.PREFIX):
        return hub.downloaded(name.removeprefix(hub.PREFIX))
    return path.expanduser()
