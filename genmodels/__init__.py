"""genmodels: train, sample, score and compare generative models.

The functions below are imported when they are first used, so that importing the package imports no torch.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from genmodels.api import evaluate, export, resume, sample, score, train, train_extractor
    from genmodels.errors import UserError
    from genmodels.runs import load

__version__ = "0.1.0"
__all__ = [
    "UserError", "compare", "evaluate", "export", "load", "resume", "sample", "score", "train", "train_extractor",
]  # fmt: skip

HOMES = {
    **dict.fromkeys(("evaluate", "export", "resume", "sample", "score", "train", "train_extractor"), "genmodels.api"),
    "UserError": "genmodels.errors",
    "load": "genmodels.runs",
}


def __getattr__(name: str) -> Any:
    if name == "compare":
        return import_module("genmodels.compare")  # the package itself is called
    if name in HOMES:
        return getattr(import_module(HOMES[name]), name)
    raise AttributeError(f"module 'genmodels' has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted([*globals(), *__all__])
