"""The space of a search: keys and groups with the values that they may take, written as in any sweep of Hydra's."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from copy import deepcopy
from dataclasses import dataclass
from functools import cached_property
from itertools import islice, product
from typing import TYPE_CHECKING, Any

from hydra._internal.config_loader_impl import ConfigLoaderImpl
from hydra.core.config_loader import ConfigLoader
from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.core.override_parser.types import IntervalSweep, Override, RangeSweep
from hydra.errors import HydraException
from omegaconf import DictConfig, OmegaConf

from genmodels.errors import UserError, nearest, require
from genmodels.nested import leaves
from genmodels.overrides import parse
from genmodels.tree import dotted, groups, plain

if TYPE_CHECKING:
    from optuna import Trial

MOST_VALUES = 1000  # of one parameter
MOST_OPTIONS = 64  # combinations of options that are examined
Compose = Callable[[Sequence[str]], DictConfig]


@dataclass(frozen=True)
class Parameter:
    """What is searched under one key: a choice, a range of numbers, or an interval.

    Attributes:
        key: the key or group, with the sign before it if it adds one.
        text: its values as they were written.
        values: those of a choice, as words of the command line, or of a range, as numbers; ``None`` for an interval.
        low: lower end of a range or an interval; ``None`` for a choice.
        high: upper end, which is included.
        step: spacing of a range.
        log: whether an interval is searched by its logarithm.
    """

    key: str
    text: str
    values: tuple[Any, ...] | None = None
    low: float | None = None
    high: float | None = None
    step: float | None = None
    log: bool = False

    @classmethod
    def of(cls, override: Override) -> Parameter:
        """The parameter that a word of the command line gives.

        Raises:
            UserError: for values that cannot be searched.
        """
        key, text = override.get_key_element(), str(override.input_line).partition("=")[2]
        value = override.value()
        if isinstance(value, IntervalSweep):
            low, high, log = value.start, value.end, "log" in value.tags
            assert low is not None and high is not None
            require(math.isfinite(low) and math.isfinite(high) and low < high, f"{key}={text}: the interval is empty.")
            require(not log or low > 0, f"{key}={text}: an interval by logarithm must begin above 0.")
            return cls(key, text, None, low, high, None, log)
        found = listed(override)
        if not isinstance(value, RangeSweep) or value.shuffle or len(found) == 1:
            return cls(key, text, found)
        numbers = tuple(sorted(int(each) if isinstance(value.range(), range) else float(each) for each in found))
        return cls(key, text, numbers, numbers[0], numbers[-1], abs(value.step))

    @property
    def is_group(self) -> bool:
        """Whether an option of a group is searched."""
        return self.key.lstrip("+").partition("@")[0] in groups()

    @property
    def rank(self) -> int:
        """0 for a group, 1 for a group of an option's parts, 2 for a key: the order in which they are chosen."""
        return (1 if "/" in self.key else 0) if self.is_group else 2

    def suggested(self, trial: Trial) -> Any:
        """The value that the study proposes for a trial."""
        low, high, step = self.low, self.high, self.step
        if low is None or high is None:
            return trial.suggest_categorical(self.key, self.values or ())
        if isinstance(low, int) and isinstance(high, int) and isinstance(step or 1, int):
            return trial.suggest_int(self.key, low, high, step=int(step or 1), log=self.log)
        return trial.suggest_float(self.key, low, high, step=step, log=self.log)

    @property
    def example(self) -> str:
        """A word that gives the key one of the values."""
        return self.word(self.low if self.values is None else self.values[0])

    def word(self, value: Any) -> str:
        """The word of the command line that gives the key a value; a range is rid of errors of rounding."""
        if self.low is not None and self.values:
            value = min(self.values, key=lambda each: abs(each - value))
        return f"{self.key}={value}"


def listed(override: Override) -> tuple[str, ...]:
    """The values of a choice, a range or a pattern, as words of the command line.

    Raises:
        UserError: for none, or too many.
    """
    word = override.input_line
    try:
        found = tuple(dict.fromkeys(islice(override.sweep_string_iterator(), MOST_VALUES + 1)))
    except (ValueError, HydraException) as error:  # a range that does not move
        raise UserError(f"{word}: {error}.") from error
    require(bool(found), f"{word} has no value.")
    require(len(found) <= MOST_VALUES, f"{word} has more than {MOST_VALUES} values; write an interval.")
    return found


@dataclass(frozen=True)
class Space:
    """What is searched, and the words that all trials share.

    A key that only some of the options have, as ``model.latent_dim`` in a search over ``model=vae,realnvp``, is set for
    these alone.

    Attributes:
        parameters: in the order in which they are chosen.
        fixed: the words that do not give several values.
        compose: Hydra's composition of the config for the words that it is given.
    """

    parameters: tuple[Parameter, ...]
    fixed: tuple[str, ...]
    compose: Compose

    @classmethod
    def of(cls, params: Mapping[str, Any], words: Sequence[str], loader: ConfigLoader, compose: Compose) -> Space:
        """The space of ``hydra.sweeper.params`` and the command line, of which the latter wins.

        Raises:
            UserError: if nothing is searched, or something that cannot be.
        """
        parser = OverridesParser.create(config_loader=loader)
        entries = {key: parser.parse_override(f"{key}={text}") for key, text in leaves(params)}
        found = entries | {each.get_key_element(): each for each in parser.parse_overrides(list(words))}
        several = {key: each for key, each in found.items() if each.is_sweep_override()}
        require(
            bool(several),
            "nothing is searched; give a key several values, as in 'model.optimizer.lr=tag(log,interval(1e-4,1e-2))'.",
        )
        require(
            "seed" not in several,
            "a search over seeds would choose the luckiest one; give one seed, and repeat the winner with others.",
        )
        fixed = tuple(str(each.input_line) for key, each in found.items() if key not in several)
        parameters = sorted((Parameter.of(each) for each in several.values()), key=lambda each: each.rank)
        return cls(tuple(parameters), fixed, compose)

    @cached_property
    def texts(self) -> dict[str, str]:
        """The values of each parameter as they were written."""
        return {each.key: each.text for each in self.parameters}

    @cached_property
    def combinations(self) -> list[tuple[str, ...]]:
        """Words for every combination of the options that are searched.

        Raises:
            UserError: for too many.
        """
        columns = [[each.word(value) for value in each.values or ()] for each in self.parameters if each.rank == 0]
        found = list(islice(product(*columns), MOST_OPTIONS + 1))
        require(len(found) <= MOST_OPTIONS, f"the search is over more than {MOST_OPTIONS} combinations of options.")
        return found

    def check(self) -> None:
        """Refuse a key that no combination of options has.

        Raises:
            UserError: naming the nearest.
        """
        options = [self.options(words) for words in self.combinations]
        for parameter in self.parameters:
            having = [words for words in options if self.applies(parameter, words)]
            if not having:
                known = {name for words in options for name in dotted(plain(self.compose(words)))}
                known = {name for name in known if not name.startswith("hydra") and not name.endswith("_")}
                raise UserError(f"unknown key '{parameter.key}'; {nearest(parameter.key, known)}")
            if parameter.rank == 1:
                options += [(*words, parameter.word(value)) for words in having for value in parameter.values or ()]

    def options(self, words: Sequence[str] = ()) -> tuple[str, ...]:
        """The fixed words that choose options, and ``words``, without parts that the other options do not have."""
        found = [str(each.input_line) for each in self.parsed if is_choice(each) and not is_part(each)]
        found += [word for word in words if "/" not in word.partition("=")[0]]
        parts = [*(str(each.input_line) for each in self.parsed if is_part(each)), *words]
        for word in parts:
            if word not in found and self.composes((*found, word)):
                found.append(word)
        return tuple(found)

    def shared(self, words: Sequence[str] = ()) -> tuple[str, ...]:
        """The ``words``, which choose options, and the fixed words that these options have."""
        options = self.options(words)
        keys = [str(each.input_line) for each in self.parsed if not is_choice(each) and self.has(each, options)]
        return (*options, *keys)

    @cached_property
    def parsed(self) -> list[Override]:
        """The fixed words."""
        return parse(list(self.fixed))

    def has(self, override: Override, options: tuple[str, ...]) -> bool:
        """Whether the config of ``options`` has the key of ``override``, or may be given it."""
        added = override.is_add() or override.is_force_add()
        return added or holds(self.compose(options), str(override.key_or_group))

    def applies(self, parameter: Parameter, options: tuple[str, ...]) -> bool:
        """Whether the config of ``options`` has what ``parameter`` searches."""
        if parameter.rank == 0 or parameter.key.startswith("+"):
            return True
        if parameter.is_group:
            return self.composes((*options, parameter.example))
        return holds(self.compose(options), parameter.key)

    def composes(self, words: tuple[str, ...]) -> bool:
        """Whether the options chosen by ``words`` go together."""
        try:
            self.compose(words)
        except HydraException:
            return False
        return True

    def propose(self, trial: Trial) -> tuple[str, ...]:
        """The words of a trial, whose values the study chooses one after another, each given those before it."""
        chosen: list[str] = []
        keys: list[str] = []
        options = self.options()
        for parameter in self.parameters:
            if not self.applies(parameter, options):
                continue
            word = parameter.word(parameter.suggested(trial))
            if parameter.is_group:
                chosen.append(word)
                options = self.options(chosen)
            else:
                keys.append(word)
        return (*self.shared(chosen), *keys)

    def config(self, words: Sequence[str]) -> DictConfig:
        """The config of a trial, composed from its options once, and from its keys without Hydra, which is faster."""
        overrides = parse(list(words))
        config = deepcopy(self.compose(tuple(str(each.input_line) for each in overrides if is_choice(each))))
        ConfigLoaderImpl._apply_overrides_to_config([each for each in overrides if not is_choice(each)], config)
        return config

    @property
    def grid(self) -> dict[str, list[Any]]:
        """The values of every parameter.

        Raises:
            UserError: for an interval, whose values cannot be listed.
        """
        for each in self.parameters:
            advice = f"{each.key}={each.text} has no list of values for a grid; write choice(...) or range(...)."
            require(each.values is not None, advice)
        return {each.key: list(each.values or ()) for each in self.parameters}


def is_choice(override: Override) -> bool:
    """Whether the word chooses an option of a group."""
    return override.key_or_group in groups()


def is_part(override: Override) -> bool:
    """Whether the word chooses a part of an option, as ``model/sampler=ddim``."""
    return is_choice(override) and "/" in str(override.key_or_group)


def holds(config: DictConfig, key: str) -> bool:
    """Whether ``config`` has the dotted ``key``, whatever its value."""
    *parents, name = key.split(".")
    node: Any = config
    for parent in parents:
        node = node.get(parent) if OmegaConf.is_dict(node) and parent in node else None
    return OmegaConf.is_dict(node) and node is not None and name in node
