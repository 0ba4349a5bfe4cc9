"""Whether Weights & Biases can be reached: asked once per process, for a few seconds at most, and without a prompt."""

from __future__ import annotations

import os
from functools import cache
from importlib.util import find_spec
from threading import Thread
from typing import Any, Literal, cast

from genmodels.console import tell
from genmodels.errors import UserError, require

PATIENCE = 5.0  # seconds
MODE = "WANDB_MODE"
Mode = Literal["online", "offline", "disabled", "shared"]


def mode_for(wanted: Mode | None, folder: str) -> Mode:
    """The mode of a run: the one ``wanted``, else that of ``WANDB_MODE``, else online, or offline if that fails.

    Args:
        wanted: ``online``, ``offline``, ``disabled``, ``shared`` or ``None``.
        folder: folder of the run, or a glob of several, for the sentence that says how to upload them later.

    Raises:
        UserError: if the package is not installed.
    """
    require(find_spec("wandb") is not None, "wandb is not installed; for the next time: pip install wandb")
    mode = cast("Mode", wanted or os.environ.get(MODE) or "online")
    if mode != "online":
        return mode
    reason = obstacle()
    if reason is not None:
        go_offline(reason, folder)
        return "offline"
    return mode


def settle(wanted: Mode | None, folder: str) -> None:
    """Ask once for all jobs of a sweep, in the process that starts them, which inherit the answer."""
    try:
        if mode_for(wanted, folder) == "offline":
            import wandb

            os.environ[MODE] = "offline"
            wandb.teardown()  # it has read its environment already
    except UserError as error:
        tell(f"Weights & Biases: {error}")


@cache
def go_offline(reason: str, folder: str) -> None:
    """Say once why runs are kept offline, and how to upload them."""
    tell(f"Weights & Biases: {reason}; going on offline. To upload later: wandb sync {folder}/wandb/offline-run-*")


@cache
def obstacle() -> str | None:
    """Why runs cannot be sent to the server, or ``None``."""
    import wandb

    settings = wandb.setup().settings
    url = str(settings.base_url)
    if not has_account(settings):
        return f"there is no API key for {url} (wandb login makes one known)"
    return None if answers(url) else f"{url} does not answer"


def has_account(settings: Any) -> bool:
    """Whether a key is in the environment, in wandb's settings or in the file ``.netrc``."""
    from requests.utils import get_netrc_auth

    given = settings.api_key or settings.identity_token_file or os.environ.get("WANDB_API_KEY")
    return bool(given or get_netrc_auth(str(settings.base_url)))


def answers(url: str) -> bool:
    """Whether a server answers in time, with whatever status; a name server that never does is not waited for."""
    import requests

    found: list[int] = []

    def ask() -> None:
        try:
            found.append(requests.head(url, timeout=PATIENCE, allow_redirects=False).status_code)
        except requests.RequestException:
            return

    thread = Thread(target=ask, daemon=True)
    thread.start()
    thread.join(PATIENCE)
    return bool(found)
