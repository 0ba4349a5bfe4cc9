"""Errors that users read: sentences that state what is wrong and how to fix it."""

from __future__ import annotations

from difflib import get_close_matches
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable


MOST_NAMES = 20  # that a sentence lists


class UserError(Exception):
    """Invalid input. The entry points print the sentence without a traceback and exit with status 1."""


def nearest(name: str, known: Iterable[str]) -> str:
    """Hint naming the known name closest to ``name``, or if none is close, all of them, or the first of very many.

    >>> nearest("vea", ["gan", "vae", "ddpm"])
    "did you mean 'vae'?"
    >>> nearest("zzz", ["gan", "vae"])
    'choose one of: gan, vae'
    """
    choices = sorted(set(known))
    close = get_close_matches(name, choices, n=1)
    if close:
        return f"did you mean '{close[0]}'?"
    return f"choose one of: {', '.join(choices[:MOST_NAMES])}{', ...' * (len(choices) > MOST_NAMES)}"


def require(condition: bool, sentence: str) -> None:
    """Raise :class:`UserError` with ``sentence`` unless ``condition`` holds."""
    if not condition:
        raise UserError(sentence)


def ensure(condition: bool, sentence: str) -> None:
    """Raise ``ValueError`` with ``sentence`` unless ``condition`` holds, for libraries, which have no configuration.

    A sentence about a parameter begins with its name (``"depth must be at least 1, got 0."``); the builder puts the
    configuration's key before it (``"model.network.depth must be at least 1, got 0."``).
    """
    if not condition:
        raise ValueError(sentence)
