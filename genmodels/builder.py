"""Objects built from config nodes, with the constructors' signatures as the schema.

Every ``_target_`` must lie in an allowed package, by its name and by where it is defined; its keys must be parameters,
and plain values must be of the annotated type.

Libraries raise ``ValueError`` in their own terms, such as "depth must be at least 1, got 0."; here, and nowhere else,
this becomes a sentence with the config key: "model.network.depth must be at least 1, got 0."
"""

from __future__ import annotations

import inspect
import re
import types
import typing
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

from hydra.utils import get_object
from lightning import Callback, Trainer
from lightning.pytorch.loggers import Logger
from lightning.pytorch.utilities.exceptions import MisconfigurationException
from omegaconf import OmegaConf
from omegaconf.errors import OmegaConfBaseException
from torch import nn
from torch.optim import Optimizer
from torch.optim.lr_scheduler import LRScheduler

from genmodels.errors import UserError, nearest, require

LIBRARIES = ("core", "networks", "transforms", "ode", "diffusion", "mcmc")
ROOMS = (*LIBRARIES, "data", "models", "metrics", "loggers", "callbacks")
LIGHTNING = ("Trainer", "pytorch.trainer.", "pytorch.callbacks.", "pytorch.loggers.")
ALLOWED = (
    *(f"genmodels.{room}." for room in ROOMS),
    "torch.optim.",
    "torch.nn.",
    *(f"lightning.{place}" for place in LIGHTNING),
)
OF_OTHERS = (nn.Module, Optimizer, LRScheduler, Trainer, Callback, Logger)
KINDS_OF_OTHERS = "torch's modules, optimizers and schedulers and Lightning's trainer, callbacks and loggers"
PLAIN = (int, float, bool, str, type(None))
RESERVED = {"_target_", "_partial_"}


def build(node: Any, key: str, **extra: Any) -> Any:
    """Check ``node``, found under ``key`` in the config, and instantiate it, with ``extra`` arguments passed unchanged.

    Children are built before their parents, so that an error names the innermost key. A node with
    ``_partial_: true`` becomes a :class:`Factory`.

    Raises:
        UserError: naming the key, for a forbidden target, an unknown or ill-typed argument, or a refused value.
    """
    plain = node
    if OmegaConf.is_config(node):
        missing = ", ".join(f"{key}.{name}" for name in sorted(OmegaConf.missing_keys(node)))
        require(not missing, f"{missing} must be given on the command line.")
        try:
            plain = OmegaConf.to_container(node, resolve=True)
        except OmegaConfBaseException as error:
            raise UserError(f"{key}: {str(error).splitlines()[0]}.") from error
    check(plain, key)
    if not extra:
        return built(plain, key)
    factory: Factory = built({**plain, "_partial_": True}, key)
    return factory(**extra)


def built(node: Any, key: str) -> Any:
    """A copy of a checked plain ``node`` with the objects that its mappings with a ``_target_`` describe."""
    if isinstance(node, list):
        return [built(child, f"{key}[{index}]") for index, child in enumerate(node)]
    if not isinstance(node, dict):
        return node
    children = {name: built(child, f"{key}.{name}") for name, child in node.items() if name not in RESERVED}
    if "_target_" not in node:
        return children
    factory = Factory(resolve(node["_target_"], key), children, key)
    return factory if node.get("_partial_") else factory()


@dataclass(frozen=True)
class Factory:
    """A target and the arguments that the config gives it; like ``functools.partial``, with errors that name the key.

    Args:
        target: class or function.
        arguments: keyword arguments; those of a call take precedence.
        key: dotted key of the node in the config.
    """

    target: Callable[..., Any]
    arguments: dict[str, Any]
    key: str

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        """Call the target.

        Raises:
            UserError: in place of the target's ``ValueError`` or ``TypeError``, with the key before its message.
        """
        try:
            return self.target(*args, **{**self.arguments, **kwargs})
        except (ValueError, TypeError, MisconfigurationException) as error:
            names = list(inspect.signature(self.target).parameters)
            of_caller = {*names[: len(args)], *kwargs}
            raise UserError(self.located(" ".join(str(error).split()), set(names) - of_caller)) from error

    def located(self, sentence: str, names: set[str]) -> str:
        """A library's sentence after the key, joined by a dot if it begins with one of the ``names``.

        The names are those of the parameters that the config can set; others have no key.

        >>> factory = Factory(lambda depth: None, {}, "model.network")
        >>> factory.located("depth must be at least 1.", {"depth"}), factory.located("Widths differ.", {"depth"})
        ('model.network.depth must be at least 1.', 'model.network: Widths differ.')
        """
        first = re.match(r"[A-Za-z_]\w*", sentence)
        return f"{self.key}.{sentence}" if first and first.group() in names else f"{self.key}: {sentence}"


def check(node: Any, key: str) -> None:
    """Check every object described in ``node`` against its target's signature.

    Raises:
        UserError: naming the key of a forbidden target, or of an unknown or ill-typed argument.
    """
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
    refusal = f"{path}._target_={name} is refused: only objects that {allowed} define can be built."
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
    ours = name.startswith("genmodels.")
    if not ours and not (inspect.isclass(target) and issubclass(target, OF_OTHERS)):
        raise UserError(f"{path}._target_={name} is refused: it is none of {KINDS_OF_OTHERS}.")
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
    alone = types.SimpleNamespace(__annotations__={"it": annotation})  # one at a time, since some may be unreadable
    try:
        return typing.get_type_hints(alone, scope)["it"]
    except Exception:
        return Any


def members(hint: Any) -> tuple[Any, ...]:
    """Alternatives of a union, or the hint itself."""
    return typing.get_args(hint) if typing.get_origin(hint) in (typing.Union, types.UnionType) else (hint,)


def fits(value: Any, hint: Any) -> bool:
    """Whether ``value`` is of the annotated type ``hint``. Only plain types are checked; an int counts as a float."""
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
