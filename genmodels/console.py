"""Output to the console."""

from __future__ import annotations

import logging
import warnings

from rich.console import Console


def tell(*lines: str) -> None:
    """Print each line unchanged, without line breaks or markup."""
    for line in lines:
        Console().print(line, highlight=False, soft_wrap=True, markup=False)


def quiet_lightning() -> None:
    """Silence Lightning's hints about settings that this project makes itself."""
    logging.getLogger("lightning.pytorch").setLevel(logging.WARNING)
    for pattern in (".*does not have many workers.*", ".*LeafSpec.*", ".*logging interval.*", ".*no val.*"):
        warnings.filterwarnings("ignore", pattern)
