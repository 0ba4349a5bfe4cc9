"""genmodels: train, sample, score and compare generative models.

Importing the package imports no torch; :func:`genmodels.load` does, when it is first used.
"""

from __future__ import annotations

from typing import Any

__version__ = "0.1.0"
__all__ = ["load"]


def __getattr__(name: str) -> Any:
    if name == "load":
        from genmodels.runs import load

        return load
    raise AttributeError(f"module 'genmodels' has no attribute {name!r}")
