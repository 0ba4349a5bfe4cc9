"""Errors that users read: sentences that state what is wrong and how to fix it."""

from __future__ import annotations

import math
from difflib import get_close_matches
from numbers import Integral, Real
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable


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


def require_known(name: str, known: Collection[str], sentence: str) -> None:
    """Raise :class:`UserError` with ``sentence`` and a hint unless ``name`` is ``known``.

    Only then is the nearest name sought, which takes longer than all checks of a config together.

    >>> require_known("vae", ["gan", "vae"], "unknown model 'vae'")
    """
    if name not in known:
        raise UserError(f"{sentence}; {nearest(name, known)}")


def ensure(condition: bool, sentence: str) -> None:
    """Raise ``ValueError`` with ``sentence`` unless ``condition`` holds, for libraries, which have no configuration.

    A sentence about a parameter begins with its name (``"depth must be at least 1, got 0."``); the builder puts the
    configuration's key before it (``"model.network.depth must be at least 1, got 0."``).
    """
    if not condition:
        raise ValueError(sentence)


def ensure_counts(low: int = 1, high: int = 10**6, /, *, optional: bool = False, **values: Any) -> None:
    """Check that every named value is an integer from ``low`` to ``high``, or ``None`` if ``optional``.

    The default upper bound is far beyond any sensible size; it keeps a typing error from filling the memory.

    Raises:
        ValueError: naming the first value that is not.

    >>> ensure_counts(width=64, depth=3)
    >>> ensure_counts(0, 10, blocks=-1)
    Traceback (most recent call last):
    ValueError: blocks must be an integer from 0 to 10, got -1.
    """
    for name, value in values.items():
        whole = isinstance(value, Integral) and not isinstance(value, bool)
        fits = whole and low <= value <= high
        wanted = f"an integer from {low} to {high}" + (", or None" if optional else "")
        ensure(fits or (optional and value is None), f"{name} must be {wanted}, got {value!r}.")


def ensure_numbers(
    *,
    above: float = -math.inf,
    at_least: float = -math.inf,
    below: float = math.inf,
    at_most: float = math.inf,
    optional: bool = False,
    **values: Any,
) -> None:
    """Check that every named value is a finite number within the bounds, or ``None`` if ``optional``.

    Raises:
        ValueError: naming the first value that is not.

    >>> ensure_numbers(at_least=0, below=1, dropout=0.1)
    >>> ensure_numbers(at_least=0, below=1, dropout=1)
    Traceback (most recent call last):
    ValueError: dropout must be a number of at least 0 and below 1, got 1.
    """
    bounds = {"above": above, "of at least": at_least, "below": below, "of at most": at_most}
    words = " and ".join(f"{word} {bound:g}" for word, bound in bounds.items() if math.isfinite(bound))
    wanted = (f"a number {words}" if words else "a finite number") + (", or None" if optional else "")
    for name, value in values.items():
        real = isinstance(value, Real) and not isinstance(value, bool)
        fits = real and _is_finite(value) and above < value < below and at_least <= value <= at_most
        ensure(fits or (optional and value is None), f"{name} must be {wanted}, got {value!r}.")


def _is_finite(value: Any) -> bool:
    try:
        return math.isfinite(value)
    except OverflowError:  # an integer beyond all floats
        return False
