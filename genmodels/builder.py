"""From a config node to an object: only ours and torch's, only with arguments that the signature knows.

The constructor's signature is the schema. Every ``_target_`` must lie, as named and as defined, under an allowed
package; its keys must be parameters, and plain values must be of the annotated type.
"""

from __future__ import annotations

import inspect
import types
import typing
from collections.abc import Callable, Iterator
from typing import Any

from hydra.errors import InstantiationException
from hydra.utils import get_object, instantiate
from omegaconf import OmegaConf
from omegaconf.errors import OmegaConfBaseException

from genmodels.errors import UserError, nearest, require

ALLOWED = ("genmodels.", "torch.optim.", "torch.nn.", "lightning.")
PLAIN = (int, float, bool, str, type(None))
RESERVED = {"_target_", "_partial_", "_recursive_", "_convert_"}


def build(node: Any, key: str, **extra: Any) -> Any:
    """Check ``node``, found under ``key`` in the config, and instantiate it, with ``extra`` arguments as they are.

    Raises:
        UserError: naming the key, for a forbidden target, an unknown or ill-typed argument, or a refused value.
    """
    try:
        plain = node
        if OmegaConf.is_config(node):
            missing = ", ".join(f"{key}.{name}" for name in sorted(OmegaConf.missing_keys(node)))
            require(not missing, f"{missing} must be given on the command line.")
            plain = OmegaConf.to_container(node, resolve=True)
        check(plain, key)
        built = instantiate(plain, _convert_="all", _partial_=bool(extra))
        return built(**extra) if extra else built
    except OmegaConfBaseException as error:
        raise UserError(f"{key}: {str(error).splitlines()[0]}.") from error
    except Exception as error:
        cause = error.__cause__ or error if isinstance(error, InstantiationException) else error
        if isinstance(cause, (ValueError, TypeError)) or type(cause).__name__ == "MisconfigurationException":
            raise UserError(f"{key}: {' '.join(str(cause).split())}") from error
        raise cause from error


def check(node: Any, key: str) -> None:
    """Hold every object described in ``node`` against its target's signature."""
    for path, described in objects(node, key):
        target = resolve(described["_target_"], path)
        known = parameters(target)
        for name, value in described.items():
            if name in RESERVED or known is None:
                continue
            if name not in known:
                raise UserError(f"unknown key {path}.{name}; {nearest(name, known)}")
            if not fits(value, known[name]):
                wanted = describe(known[name])
                raise UserError(f"{path}.{name} must be {wanted}, got {value!r}.")


def objects(node: Any, path: str) -> Iterator[tuple[str, dict[str, Any]]]:
    """Every mapping with a ``_target_`` at or below ``node``, with its dotted path."""
    if isinstance(node, dict):
        if "_target_" in node:
            yield path, node
        for name, child in node.items():
            yield from objects(child, f"{path}.{name}")
    elif isinstance(node, list):
        for index, child in enumerate(node):
            yield from objects(child, f"{path}[{index}]")


def resolve(name: Any, path: str) -> Callable[..., Any]:
    """The callable a ``_target_`` names.

    Raises:
        UserError: if it lies outside the allowed packages, by name or by where it is defined, or does not exist.
    """
    allowed = ", ".join(prefix.rstrip(".") for prefix in ALLOWED)
    refusal = f"{path}._target_={name} is refused: only what {allowed} define may be built."
    if not isinstance(name, str) or not name.startswith(ALLOWED):
        raise UserError(refusal)
    try:
        target = get_object(name)
    except Exception as error:
        module, _, attribute = name.rpartition(".")
        try:
            names = [n for n in vars(get_object(module)) if not n.startswith("_")]
        except Exception:
            raise UserError(f"{path}._target_={name} does not exist.") from error
        raise UserError(f"{path}._target_={name} does not exist; {nearest(attribute, names)}") from error
    if not callable(target) or not f"{getattr(target, '__module__', '')}.".startswith(ALLOWED):
        raise UserError(refusal)
    return typing.cast("Callable[..., Any]", target)


def parameters(target: Callable[..., Any]) -> dict[str, Any] | None:
    """Parameter names and annotations of ``target``, or ``None`` if it takes any keyword."""
    signature = inspect.signature(target)
    if any(p.kind is p.VAR_KEYWORD for p in signature.parameters.values()):
        return None
    function = target.__init__ if inspect.isclass(target) else target
    scope = getattr(function, "__globals__", {})
    return {name: evaluated(p.annotation, scope) for name, p in signature.parameters.items()}


def evaluated(annotation: Any, scope: dict[str, Any]) -> Any:
    """The type behind an annotation that may be a string; ``Any`` for one that only type checkers can read."""
    if not isinstance(annotation, str):
        return annotation
    try:
        return eval(annotation, scope)
    except Exception:
        return Any


def members(hint: Any) -> tuple[Any, ...]:
    """Alternatives of a union, or the hint itself."""
    return typing.get_args(hint) if typing.get_origin(hint) in (typing.Union, types.UnionType) else (hint,)


def fits(value: Any, hint: Any) -> bool:
    """Whether ``value`` may stand where ``hint`` is annotated. Only plain types are judged; an int is a float."""
    allowed = members(hint)
    if not all(member in PLAIN for member in allowed):
        return True
    if isinstance(value, bool):
        return bool in allowed
    return isinstance(value, allowed) or (isinstance(value, int) and float in allowed)


def describe(hint: Any) -> str:
    """A plain type, or a union of them, in words.

    >>> describe(int | None)
    'an integer or null'
    """
    words = {int: "an integer", float: "a number", bool: "true or false", str: "text", type(None): "null"}
    return " or ".join(words[member] for member in members(hint))
