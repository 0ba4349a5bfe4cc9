"""Objects built from config nodes, with the constructors' signatures as the schema.

A config may come with a stranger's run folder. A ``_target_`` is therefore accepted only at a place whose type asks for
an object, and only if it makes one of that type: a class or a function of the rooms below, one of a few classes of
PyTorch and Lightning, or what the user trusts, see :mod:`genmodels.trust`. Its keys must be parameters, and plain
values must be of the annotated type.

Libraries raise ``ValueError`` in their own terms, such as "depth must be at least 1, got 0."; here, and nowhere else,
this becomes a sentence with the config key: "model.network.depth must be at least 1, got 0."
"""

from __future__ import annotations

import inspect
import math
import re
import types
import typing
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, TypeVar

from lightning.pytorch.utilities.exceptions import MisconfigurationException
from omegaconf import MISSING, OmegaConf
from omegaconf.errors import OmegaConfBaseException

from genmodels import trust
from genmodels.annotations import UNKNOWN, describe, hint_of_items, kinds, require_fit
from genmodels.errors import UserError, nearest, require, require_known

T = TypeVar("T")
LIBRARIES = ("core", "networks", "transforms", "ode", "diffusion", "mcmc")
ROOMS = (*LIBRARIES, "data", "models", "metrics", "loggers", "callbacks")
OURS = tuple(f"genmodels.{room}." for room in ROOMS)
PURE = tuple(f"genmodels.{room}." for room in LIBRARIES)
OF_OTHERS = {
    "torch.optim": (
        "ASGD", "Adadelta", "Adafactor", "Adagrad", "Adam", "AdamW", "Adamax", "NAdam", "RAdam", "RMSprop", "Rprop",
        "SGD",
    ),
    "torch.optim.lr_scheduler": (
        "ConstantLR", "CosineAnnealingLR", "CosineAnnealingWarmRestarts", "CyclicLR", "ExponentialLR", "LinearLR",
        "MultiStepLR", "OneCycleLR", "PolynomialLR", "StepLR",
    ),
    "lightning": ("Trainer",),
    "lightning.pytorch.callbacks": (
        "DeviceStatsMonitor", "EarlyStopping", "LearningRateMonitor", "ModelSummary",
    ),
    "lightning.pytorch.loggers": (
        "CSVLogger", "CometLogger", "MLFlowLogger", "TensorBoardLogger", "WandbLogger",
    ),
}  # fmt: skip
"""Classes of other packages by module: those whose arguments are plain values."""

RESERVED = {"_target_", "_partial_"}


def build(node: Any, key: str, kind: Callable[..., T], **extra: Any) -> T:
    """Check ``node``, found under ``key`` in the config, and instantiate it, with ``extra`` arguments passed unchanged.

    Children are built before their parents, so that an error names the innermost key. A node with
    ``_partial_: true`` becomes a :class:`Factory`.

    Args:
        node: a mapping with a ``_target_``.
        key: its dotted key.
        kind: class of the result.
        extra: further arguments of the target.

    Raises:
        UserError: naming the key, for a target that is not allowed or makes another kind of object, an unknown or
            ill-typed argument, or a refused value.
    """
    if OmegaConf.is_config(node):
        missing = ", ".join(f"{key}.{name}" for name in sorted(OmegaConf.missing_keys(node)))
        require(not missing, f"{missing} must be given on the command line.")
    plain = resolved(node, key)
    require(is_described(plain), f"{key} must be {describe(kind)}, got {plain!r}.")
    check(plain, key, kind)
    factory: Factory = built({**plain, "_partial_": True}, key)
    return typing.cast("T", factory(**extra))


def check_node(node: Any, key: str, kind: Callable[..., Any]) -> None:
    """Check ``node`` as :func:`build` does, without building anything; values that are still missing are left out.

    Raises:
        UserError: naming the key, for a target that is not allowed or an unknown or ill-typed argument.
    """
    plain = given(resolved(node, key))
    require(is_described(plain), f"{key} must be {describe(kind)}, got {plain!r}.")
    check(plain, key, kind)


def resolved(node: Any, key: str) -> Any:
    """A config's node as plain containers with its interpolations resolved; any other value unchanged.

    Raises:
        UserError: naming the key, for an interpolation that leads nowhere.
    """
    if not OmegaConf.is_config(node):
        return node
    try:
        return OmegaConf.to_container(node, resolve=True)
    except OmegaConfBaseException as error:
        raise UserError(f"{key}: {str(error).splitlines()[0]}.") from error


def given(node: Any) -> Any:
    """A plain node without the keys whose value is missing.

    >>> given({"path": "???", "spec": {"shape": [1]}})
    {'spec': {'shape': [1]}}
    """
    if not isinstance(node, dict):
        return node
    return {name: given(child) for name, child in node.items() if child != MISSING}


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
            UserError: in place of the target's error for a bad argument or a missing package, with the key before its
                message.
        """
        try:
            return self.target(*args, **{**self.arguments, **kwargs})
        except (ValueError, TypeError, OverflowError, IndexError, ImportError, MisconfigurationException) as error:
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


def is_described(node: Any) -> bool:
    """Whether ``node`` describes an object: a mapping with a ``_target_``."""
    return isinstance(node, dict) and "_target_" in node


def check(node: Any, path: str, hint: Any) -> None:
    """Check a plain ``node`` at ``path`` against the type ``hint`` of its place, with all that it describes.

    Raises:
        UserError: naming the key of what is not allowed, unknown or of another type.
    """
    if is_described(node):
        check_object(node, path, hint)
    elif isinstance(node, (dict, list)) and holds_objects(node):
        keyed = node.items() if isinstance(node, dict) else enumerate(node)
        for name, child in keyed:
            check(child, f"{path}.{name}" if isinstance(node, dict) else f"{path}[{name}]", hint_of_items(hint))
    else:
        require_fit(node, path, hint)


def check_object(node: dict[str, Any], path: str, hint: Any) -> None:
    """Check that an object may be built at ``path``, and its arguments.

    Raises:
        UserError: naming the key of what is not allowed, unknown or ill-typed.
    """
    name, partial = node["_target_"], node.get("_partial_", False)
    target = resolve(name, path)
    wanted = [kind for kind, by_factory in kinds(hint) if by_factory == partial]
    made = made_by(target)
    unknown = "; annotate what it returns" if made in UNKNOWN else ""
    where = f"{path}._target_={name}{' with _partial_' * bool(partial)}"
    require(
        isinstance(made, type) and any(issubclass(made, kind) for kind in wanted),
        f"{where} is refused: {path} must be {describe(hint)}{unknown}.",
    )
    known = parameters(target)
    for argument, value in node.items():
        if argument not in RESERVED:
            require_known(argument, known, f"unknown key {path}.{argument}")
            check(value, f"{path}.{argument}", known[argument])
            endless = isinstance(value, float) and not math.isfinite(value)  # our own constructors say this themselves
            require(
                not endless or str(name).startswith(OURS), f"{path}.{argument} must be a finite number, got {value}."
            )


def holds_objects(node: Any) -> bool:
    """Whether a mapping with a ``_target_`` is at or below a plain ``node``."""
    if is_described(node):
        return True
    children = node.values() if isinstance(node, dict) else node if isinstance(node, list) else ()
    return any(holds_objects(child) for child in children)


def resolve(name: Any, path: str) -> Callable[..., Any]:
    """The class or function that a ``_target_`` names.

    Raises:
        UserError: if it is not a class that one of the rooms defines, a function of one of the libraries, which read
            and write no files, listed in ``OF_OTHERS``, or trusted by the user; or if it does not exist.
    """
    package, _, attribute = name.rpartition(".") if isinstance(name, str) else ("", "", "")
    allowed = f"{package}.".startswith(OURS) or attribute in OF_OTHERS.get(package, ())
    if not allowed and not (package and trust.is_trusted(name)):
        others = f"; {nearest(attribute, OF_OTHERS[package])}" if package in OF_OTHERS else trust.hint(package) or "."
        raise UserError(
            f"{path}._target_={name} is refused: what is built must be defined in "
            f"{', '.join(own[:-1] for own in OURS)} or be one of the listed classes of {', '.join(OF_OTHERS)}{others}"
        )
    module = module_of(package, f"{path}._target_={name}")
    if not hasattr(module, attribute):
        names = [known for known in vars(module) if not known.startswith("_")]
        raise UserError(f"{path}._target_={name} does not exist; {nearest(attribute, names)}")
    target = getattr(module, attribute)
    require(
        is_buildable(target, name),
        f"{path}._target_={name} is refused: it is no class that {package} defines, nor a function of a library.",
    )
    return typing.cast("Callable[..., Any]", target)


def module_of(package: str, where: str) -> types.ModuleType:
    """Import the module of a target.

    Raises:
        UserError: if there is none, or if it cannot be imported, which is said of the user's own only.
    """
    try:
        return trust.module(package)
    except Exception as error:
        absent = isinstance(error, ImportError) and f"{package}.".startswith(f"{error.name or package}.")
        if absent or f"{package}.".startswith(OURS):
            raise UserError(f"{where} is refused: there is no module {package}.") from error
        raise UserError(
            f"{where} cannot be imported: {type(error).__name__}: {' '.join(str(error).split())}."
        ) from error


def is_buildable(target: Any, name: str) -> bool:
    """Whether ``target``, found under an allowed ``name``, may be built, and is not what its module imports."""
    package, _, attribute = name.rpartition(".")
    home = f"{getattr(target, '__module__', '')}."
    rooms = OURS if isinstance(target, type) else PURE
    defines = isinstance(target, type | types.FunctionType) and (home.startswith(rooms) or trust.is_defined_by(home))
    return defines or attribute in OF_OTHERS.get(package, ()) or name in trust.named()


def made_by(target: Callable[..., Any]) -> Any:
    """What calling ``target`` returns: the class itself, or a function's annotation."""
    if inspect.isclass(target):
        return target
    return evaluated(inspect.signature(target).return_annotation, getattr(target, "__globals__", {}))


def parameters(target: Callable[..., Any]) -> dict[str, Any]:
    """Parameter names and annotations of ``target``.

    A target that takes any other keyword hands it on to a library that is not checked here: wandb, for one, would take
    the address of the server to which it sends the user's key.
    """
    named = inspect.signature(target).parameters.values()
    function = target.__init__ if inspect.isclass(target) else target
    scope = getattr(function, "__globals__", {})
    starred = (inspect.Parameter.VAR_POSITIONAL, inspect.Parameter.VAR_KEYWORD)
    return {p.name: evaluated(p.annotation, scope) for p in named if p.kind not in starred}


def evaluated(annotation: Any, scope: dict[str, Any]) -> Any:
    """The type behind an annotation that may be a string; ``Any`` for one that only type checkers can read."""
    alone = types.SimpleNamespace(__annotations__={"it": annotation})  # one at a time, since some may be unreadable
    try:
        return typing.get_type_hints(alone, scope)["it"]
    except Exception:
        return Any
