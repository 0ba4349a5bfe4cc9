"""Annotations as the schema of plain values: whether a value fits its place, and the type of the place in words.

This module does not import torch.
"""

from __future__ import annotations

import collections.abc
import inspect
import types
import typing
from pathlib import Path
from typing import Any

from genmodels.errors import require

PLAIN = {int: "an integer", float: "a number", bool: "true or false", str: "text", type(None): "null", Path: "a path"}
UNKNOWN = (Any, object, inspect.Parameter.empty)


def require_fit(value: Any, path: str, hint: Any) -> None:
    """Require a plain ``value`` at the key ``path`` to be of the type ``hint``.

    Raises:
        UserError: naming the key and the type.
    """
    require(fits(value, hint), f"{path} must be {describe(hint)}, got {'null' if value is None else repr(value)}.")


def members(hint: Any) -> tuple[Any, ...]:
    """Alternatives of a union, or the hint itself."""
    return typing.get_args(hint) if typing.get_origin(hint) in (typing.Union, types.UnionType) else (hint,)


def kinds(hint: Any) -> list[tuple[type, bool]]:
    """Classes of the objects that a place of type ``hint`` takes, each with whether it takes a factory of them.

    >>> kinds(collections.abc.Callable[[int], Exception] | None)
    [(<class 'Exception'>, True)]
    """
    found = []
    for member in members(hint):
        if typing.get_origin(member) is collections.abc.Callable:
            found += [(kind, True) for kind, _ in kinds(typing.get_args(member)[1])]
        elif isinstance(member, type) and typing.get_origin(member) is None and member not in (*PLAIN, *UNKNOWN):
            found.append((member, False))
    return found


def hint_of_items(hint: Any) -> Any:
    """Type of the items of a sequence, or of the values of a mapping; ``None``'s type, if ``hint`` has no items.

    >>> hint_of_items(list[int]), hint_of_items(dict[str, float])
    (<class 'int'>, <class 'float'>)
    """
    items = [typing.get_args(member)[-1] for member in members(hint) if typing.get_args(member)]
    return typing.Union[tuple(items)] if items else type(None)  # noqa: UP007  built from a list


def fits(value: Any, hint: Any) -> bool:
    """Whether a plain ``value`` is of the type ``hint``; an integer counts as a number.

    >>> fits(1, float), fits(1.0, int), fits(True, int), fits([1, 2], tuple[int, ...])
    (True, False, False, True)
    """
    return any(fits_member(value, member) for member in members(hint))


def fits_member(value: Any, member: Any) -> bool:
    """Whether ``value`` is of one type that is not a union. Types that only others can read take any plain value."""
    origin, arguments = typing.get_origin(member), typing.get_args(member)
    if member is float:
        return isinstance(value, (int, float)) and not isinstance(value, bool)
    if member is Path:
        return isinstance(value, str)
    if member in PLAIN:
        return type(value) is member
    if origin is typing.Literal:
        return any(value == choice and type(value) is type(choice) for choice in arguments)
    if origin in (list, tuple, collections.abc.Sequence, collections.abc.Iterable):
        return isinstance(value, list) and fits_items(value, arguments)
    if origin in (dict, collections.abc.Mapping):
        return isinstance(value, dict) and all(fits(child, arguments[1]) for child in value.values())
    return not kinds(member)


def fits_items(values: list[Any], arguments: tuple[Any, ...]) -> bool:
    """Whether ``values`` fit the arguments of a sequence's type: one for all, or one for each item of a tuple."""
    if len(arguments) == 1 or arguments[-1] is Ellipsis:
        return all(fits(value, arguments[0]) for value in values)
    return len(values) == len(arguments) and all(map(fits, values, arguments))


def describe(hint: Any) -> str:
    """The type of a place in words.

    >>> describe(int | None), describe(collections.abc.Callable[[int], Exception]), describe(typing.Literal["a", "b"])
    ('an integer or null', 'a factory of class Exception', 'a or b')
    """
    return " or ".join(dict.fromkeys(word for member in members(hint) for word in words_for(member)))


def words_for(member: Any) -> list[str]:
    """One type that is not a union, in words; the alternatives of a ``Literal``."""
    origin, arguments = typing.get_origin(member), typing.get_args(member)
    if member in PLAIN:
        return [PLAIN[member]]
    if origin is typing.Literal:
        return [str(choice) for choice in arguments]
    if origin in (list, tuple, collections.abc.Sequence, collections.abc.Iterable):
        return [f"a list, each item {describe(arguments[0])}"]
    if origin in (dict, collections.abc.Mapping):
        return [f"a mapping, each value {describe(arguments[1])}"]
    found = [f"{'a factory' if factory else 'an object'} of class {kind.__name__}" for kind, factory in kinds(member)]
    return found or ["a plain value"]
