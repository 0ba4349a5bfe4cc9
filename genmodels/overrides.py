"""The words of a command line, checked before Hydra composes a config from them.

Hydra accepts some words that make no sense, as ``data=[digits,gaussian]``, and refuses others with an exception that
holds nothing but a text. Both are found here, from the words themselves.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from itertools import islice, product
from typing import Any

from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.core.override_parser.types import Override, ValueType
from hydra.errors import ConfigCompositionException, HydraException, MissingConfigException
from omegaconf import DictConfig

from genmodels.errors import UserError, nearest, require
from genmodels.settings import ROOT, RULES, check_value, is_text, shown
from genmodels.tree import dotted, groups, options, owners, plain, takes_none, takes_several

MOST_JOBS = 64  # of a sweep, and values of one word in it, that are examined
Compose = Callable[[list[str]], DictConfig]


def parse(words: list[str]) -> list[Override]:
    """The words in Hydra's grammar: ``key=value``, ``group=option``, ``+key=value``, ``~key``.

    Raises:
        UserError: for what is no word, as a list of words in the place of one.
    """
    for word in words:
        require(isinstance(word, str), f"overrides are words such as 'seed=1', each by itself, got {word!r}.")
    return OverridesParser.create().parse_overrides(words)


@contextmanager
def explained(words: list[str], compose: Compose, sweep: bool = False) -> Iterator[None]:
    """Check ``words``, and name the wrong one if the block, which composes them, finds that it cannot.

    Args:
        words: overrides as they are written on the command line.
        compose: Hydra's composition of the words that it is given.
        sweep: whether a word may give several values.

    Raises:
        UserError: in one sentence.
    """
    for override in parse(words):
        check_override(override, sweep)
    try:
        yield
    except MissingConfigException:  # knows the option and its group
        raise
    except ConfigCompositionException as error:
        found = None if error.__cause__ else next(filter(None, (fault(job, compose) for job in jobs(words))), None)
        if found is None:
            raise
        raise UserError(found) from error


def check_override(override: Override, sweep: bool = False) -> None:
    """Refuse a word that is wrong whatever the others are.

    Raises:
        UserError: naming the word.
    """
    word, key = str(override.input_line), str(override.key_or_group)
    require(bool(key), f"'{word}' is not of the form key=value.")
    several = override.is_sweep_override()
    require(sweep or not several, f"{word} gives several values; add -m to sweep over them, or write a list as [a,b].")
    require(not several or not override.is_hydra_override(), f"{word}: one sweep has one value of {key}.")
    root = key.partition(".")[0]
    adds = override.is_add() or override.is_force_add()
    if override.is_delete() and key not in groups():
        require("." in key or key not in ROOT, f"{word}: {key} can be changed but not removed.")
    elif adds and root not in ("hydra", *groups()) and "/" not in root:
        if root not in ROOT:
            raise UserError(f"unknown key '{root}'; {nearest(root, [*ROOT, *groups()])}")
        require(override.is_force_add() or key not in ROOT, f"{word}: {key} has a value already; write {word[1:]}")
    for value in alternatives(override):
        check_choice(override, value) if key in groups() else check_plain(override, value)


def check_plain(override: Override, value: Any) -> None:
    """Refuse a value of a root key, of the trainer or of Hydra's, unless only the composed config can tell.

    Raises:
        UserError: naming the key.
    """
    word, key = str(override.input_line), str(override.key_or_group)
    if override.is_delete() or isinstance(value, dict) or (is_text(value) and "${" in value):
        return
    if key.startswith("hydra/"):
        require(is_text(value), f"{word}: {key} needs the name of an option.")
    require(key != "hydra", f"{word}: hydra has keys and groups of its own, as in hydra.run.dir=FOLDER.")
    if key in RULES:
        check_value(key, value)


def check_choice(override: Override, value: Any) -> None:
    """Refuse what no group takes, and a list or nothing for a group that takes one option.

    Raises:
        UserError: naming the group.
    """
    word, group = str(override.input_line), str(override.key_or_group)
    known, empty = f"choose one of: {', '.join(options(group))}", f"to choose none, write {group}=[]"
    if override.is_delete():
        advice = empty if takes_none(group) else f"to choose another, write {group}=OPTION; {known}"
        require(takes_none(group) and not takes_several(group), f"{word}: {group} cannot be removed; {advice}")
        return
    require(not override.is_force_add(), f"{word}: an option is chosen without +; write {word[2:]}")
    if isinstance(value, dict):
        return  # keys of the option, rather than its name
    advice = empty if takes_none(group) else known
    require(value not in (None, ""), f"{word}: {group} needs an option; {advice}")
    if isinstance(value, list) and not takes_several(group):
        require(not value and takes_none(group), f"{word}: {group} takes one option; {advice}")
    names = value if isinstance(value, list) else [value]
    for name in names:
        inner = not isinstance(name, str) or any(part[:1] in ("_", ".", "") for part in name.split("/"))
        if inner:
            raise UserError(f"unknown {group} '{shown(name)}'; {nearest(shown(name), options(group))}")
        require(names.count(name) == 1, f"{word} names {name} more than once.")
    top = override.is_add() and "/" not in group and not override.package
    require(not top or takes_several(group), f"{word}: {group} takes one option; write {word[1:]}")


def alternatives(override: Override) -> list[Any]:
    """The values that a word gives: one, or in a sweep those that can be listed."""
    if not override.is_sweep_override():
        return [override.value()]
    return [parse([f"a={text}"])[0].value() for text in listed(override)]


def listed(override: Override) -> list[str]:
    """The first values of a word of a sweep, as they are written; none for an interval or a pattern.

    Raises:
        UserError: for a range without an end.
    """
    if not override.is_discrete_sweep() or override.value_type is ValueType.GLOB_CHOICE_SWEEP:
        return []
    try:
        return list(islice(override.sweep_string_iterator(), MOST_JOBS))
    except (ValueError, HydraException) as error:  # a range that does not move
        raise UserError(f"{override.input_line}: {error}.") from error


def jobs(words: list[str]) -> Iterator[list[str]]:
    """The words of the first jobs of a sweep; without a sweep, the words."""
    columns = []
    for override in parse(words):
        if not override.is_sweep_override():
            columns.append([str(override.input_line)])
        elif texts := listed(override):
            columns.append([f"{override.get_key_element()}={text}" for text in texts])
    for job in islice(product(*columns), MOST_JOBS):
        yield list(job)


def compose_sweep(words: list[str], compose: Compose) -> DictConfig:
    """A config for a sweep as a whole: that of the first job whose options can have the keys that all jobs share.

    Keys of several values are left out. Hydra would leave out the options, too, and compose the default ones, which may
    lack a shared key.

    Raises:
        ConfigCompositionException: that of the first job, if no job's config can be composed.
    """
    shared = [each for each in parse(words) if not each.is_sweep_override() or each.key_or_group in groups()]
    first = None
    for job in jobs([str(each.input_line) for each in shared]):
        try:
            return compose(job)
        except ConfigCompositionException as error:
            first = first or error
    assert first is not None
    raise first


def fault(words: list[str], compose: Compose) -> str | None:
    """What is wrong with the first word with which a config cannot be composed, as one after another is added."""
    before: list[str] = []
    config = DictConfig({})
    for override in sorted(parse(words), key=is_key):
        try:
            config = compose([*before, str(override.input_line)])
        except ConfigCompositionException as error:
            return None if error.__cause__ else reason(override, config)
        except Exception:  # of the composition itself, within a job of a sweep
            return None
        before.append(str(override.input_line))
    return None


def is_key(override: Override) -> int:
    """0 for the choice of an option, 1 for that of a part of it, 2 for a key: the order in which Hydra heeds them."""
    return 2 if override.key_or_group not in groups() else int("/" in str(override.key_or_group))


def reason(override: Override, config: DictConfig) -> str | None:
    """Why the word cannot be applied to ``config``, which was composed without it."""
    word, key = str(override.input_line), str(override.key_or_group)
    if key in groups():
        having = owners(key)
        place = f"it belongs to {' and '.join(having)}" if having else f"to add it, write +{key}=..."
        return f"no chosen option has the group {key}; {place}"
    names = list(dotted(plain(config)))
    if override.is_delete():
        other = f"{word}: {key} has another value; write ~{key}"
        return other if key in names else f"~{key}: the config has no {key}; {nearest(key, among(names, key))}"
    if override.package is not None:
        return f"{word}: there is no group {key}; {nearest(key, groups())}"
    if override.is_add() and key in names:
        return f"{word}: {key} has a value already; write {word[1:]}"
    return None


def among(names: list[str], key: str) -> list[str]:
    """The names beside ``key``, or all if there are none."""
    parent = key.rpartition(".")[0]
    return [name for name in names if name.rpartition(".")[0] == parent] or names
