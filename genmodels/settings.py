"""Types and ranges of the root keys and of the trainer's keys, which no constructor's signature of ours describes.

This module does not import torch, so that a config is checked as soon as it is composed.
"""

from __future__ import annotations

import math
import os
import re
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from omegaconf import DictConfig, OmegaConf

from genmodels.errors import UserError, require, require_known

EXPECTED = ("metric", "value", "tolerance", "source")  # keys of a result that a recipe expects
ENOUGH_DEVICES = 4096
NOT_IN_HASH = (  # root keys that do not define the experiment
    "seed", "run_dir", "logger", "dry_run", "expected", "hydra", "sweep", "retry", "test", "objective", "failure_value",
    "trial",
)  # fmt: skip
OF_DATA_NOT_IN_HASH = ("seed", "root")  # keys of data that do not either
INCIDENTAL = (*NOT_IN_HASH, *(f"data.{key}" for key in OF_DATA_NOT_IN_HASH))
PRECISIONS = (32, "32", "32-true", "bf16", "bf16-mixed", 16, "16", "16-mixed")  # those with parameters in float32


@dataclass(frozen=True)
class Rule:
    """What the value of a key may be.

    Attributes:
        holds: whether a value, as plain containers, is allowed.
        wanted: the allowed values in words, as they follow "must be".
        remedy: what to do instead, or why; may be empty.
        required: whether a config must have the key.
    """

    holds: Callable[[Any], bool]
    wanted: str
    remedy: str = ""
    required: bool = False


def is_integer(value: Any) -> bool:
    """Whether ``value`` is an integer; true and false are none."""
    return isinstance(value, int) and not isinstance(value, bool)


def is_number(value: Any) -> bool:
    """Whether ``value`` is a finite number; true and false are none."""
    return is_integer(value) or (isinstance(value, float) and math.isfinite(value))


def is_text(value: Any) -> bool:
    """Whether ``value`` is text that is not empty."""
    return isinstance(value, str) and bool(value.strip())


def is_name(value: Any) -> bool:
    """Whether ``value`` can be the name of a folder on any system."""
    return isinstance(value, str) and bool(re.fullmatch(r"\w[\w.,=+-]{0,99}", value))


def is_names(value: Any) -> bool:
    """Whether ``value`` is a text, or a list of different texts."""
    names = value if isinstance(value, list) else [value]
    return bool(names) and all(map(is_text, names)) and len(set(names)) == len(names)


def is_share(value: Any) -> bool:
    """Whether ``value`` is a fraction in (0, 1], or a count of at least 1."""
    return is_number(value) and (value >= 1 if is_integer(value) else 0 < value <= 1)


def is_devices(value: Any) -> bool:
    """Whether ``value`` says which devices to use, in one of Lightning's ways."""
    if isinstance(value, list):
        return bool(value) and all(is_integer(each) and 0 <= each < ENOUGH_DEVICES for each in value)
    if isinstance(value, str):
        return value == "auto" or is_devices([int(each) if each.isdecimal() else None for each in value.split(",")])
    return is_integer(value) and (value == -1 or 1 <= value <= ENOUGH_DEVICES)


def is_expected(value: Any) -> bool:
    """Whether ``value`` describes the results that a recipe expects."""
    if isinstance(value, list):
        return all(isinstance(entry, dict) and is_expected(entry) for entry in value)
    if not isinstance(value, dict):
        return value is None
    texts, numbers = (value.get("metric"), value.get("source")), (value.get("value"), value.get("tolerance"))
    return set(value) == set(EXPECTED) and all(map(is_text, texts)) and all(map(is_number, numbers))


def is_node(value: Any) -> bool:
    """Whether ``value`` describes an object to build; the builder checks which."""
    return isinstance(value, dict) and "_target_" in value


def is_environment(value: Any) -> bool:
    """Whether ``value`` lists variables of the environment."""
    return isinstance(value, list) and all(isinstance(name, str) and name in os.environ for name in value)


def is_amount(value: Any) -> bool:
    """Whether ``value`` may be a limit of the budget; which texts are amounts is the budget's own matter."""
    return value is None or is_text(value) or (is_number(value) and value > 0)


def integer(low: int, high: int | None = None, **more: Any) -> Rule:
    """A rule for integers from ``low`` to ``high``."""
    wanted = f"an integer from {low} to {high}" if high is not None else f"an integer of at least {low}"
    return Rule(lambda value: is_integer(value) and low <= value <= (value if high is None else high), wanted, **more)


def one_of(*values: Any, **more: Any) -> Rule:
    """A rule for a few values, where 1 is neither true nor 1.0, which Lightning takes for a count and a fraction."""

    def holds(value: Any) -> bool:
        return any(value == each and type(value) is type(each) for each in values)

    names = [shown(each) for each in values]
    return Rule(holds, names[0] if len(names) == 1 else f"{', '.join(names[:-1])} or {names[-1]}", **more)


def optional(rule: Rule) -> Rule:
    """``rule``, or null."""
    return Rule(lambda value: value is None or rule.holds(value), f"{rule.wanted} or null", rule.remedy, rule.required)


def shown(value: Any) -> str:
    """A value as it is written on the command line, shortened.

    >>> [shown(value) for value in (None, True, 3, "a", "", [1, None])]
    ['null', 'true', '3', 'a', "''", '[1,null]']
    """
    words = {None: "null", True: "true", False: "false", "": "''"}
    if isinstance(value, list):
        text = f"[{','.join(map(shown, value))}]"
    elif isinstance(value, dict):
        text = f"{{{','.join(f'{key}:{shown(child)}' for key, child in value.items())}}}"
    else:
        text = words[value] if value is None or isinstance(value, bool) or value == "" else str(value)
    return text if len(text) <= 80 else f"{text[:77]}..."


SWITCH, TEXT, ANYTHING = one_of(True, False), Rule(is_text, "text"), Rule(lambda value: True, "anything")
A_SWITCH = Rule(SWITCH.holds, "true or false", required=True)
NODE = Rule(is_node, "a node with a _target_", required=True)
NODES = Rule(lambda value: value is None or isinstance(value, dict), "the nodes of its options or null")
PART = Rule(is_node, "a node with a _target_", "to leave it out, write ~{key}")
PART_OR_NULL = Rule(lambda value: value is None or isinstance(value, dict), "a node with a _target_ or null")
CHOSEN = Rule(
    lambda value: value is None or is_node(value),
    "a node with a _target_ or null",
    "choose an option that has it, or write ~{key}",
)
FOLDER = Rule(lambda value: is_text(value) or is_integer(value), "the name of a folder")
AMOUNT = Rule(is_amount, "a positive amount such as 5000, 50k or 10m, or null")
BUDGET = "max_batches, max_epochs, max_examples and max_time"

ROOT = {
    "seed": integer(0, 2**32 - 1, required=True),
    "run_dir": Rule(is_text, "the name of a folder", required=True),
    "budget": Rule(
        lambda value: is_text(value) or isinstance(value, dict),
        f"text such as batches:5000, or a mapping with {BUDGET}",
        required=True,
    ),
    "default_budget": Rule(lambda value: isinstance(value, dict), f"a mapping with {BUDGET}", required=True),
    "validations": integer(1, required=True),
    "checkpoint": NODE,
    "weights": one_of("ema", "raw", required=True),
    "channels_last": one_of(True, False, "auto", required=True),
    "compile": A_SWITCH,
    "dry_run": A_SWITCH,
    "test": SWITCH,
    "sweep": optional(Rule(is_name, "the name of a folder, of letters, digits and any of _.,=+-")),
    "retry": one_of("failed", None),
    "objective": optional(Rule(is_names, "a name such as val/bits_per_dim, or a list of names")),
    "trial": Rule(lambda value: isinstance(value, dict), "a mapping with storage, study, number and of"),
    "expected": Rule(is_expected, f"null, one entry of {', '.join(EXPECTED)}, or a list of such entries"),
    "failure_value": Rule(is_number, "a finite number", required=True),
    "data": NODE,
    "model": NODE,
    "trainer": NODE,
    "metrics": NODES,
    "logger": NODES,
    "callbacks": NODES,
    "scheduler": NODES,
}

HYDRA = {
    **dict.fromkeys(("hydra.run.dir", "hydra.sweep.dir", "hydra.sweep.subdir"), FOLDER),
    "hydra.job.env_copy": Rule(is_environment, "a list of environment variables that are set"),
    "hydra.callbacks.compare_sweep": PART,
    "hydra.verbose": Rule(lambda value: isinstance(value, (bool, str, list)), "true, false or names of loggers"),
}

TRAINER = {
    "_target_": ANYTHING,
    "accelerator": one_of("auto", "cpu", "gpu", "cuda", "mps", "tpu", "hpu", required=True),
    "devices": Rule(is_devices, f"auto, -1 for all, a number from 1 to {ENOUGH_DEVICES}, or a list of indices"),
    "num_nodes": integer(1, ENOUGH_DEVICES),
    "strategy": Rule(
        lambda value: is_text(value) and not value.endswith(("spawn", "fork", "notebook")),
        "text such as auto or ddp, and none that copies a running process",
        required=True,
    ),
    "precision": Rule(
        one_of("auto", *PRECISIONS).holds,
        "auto, 32-true, bf16-mixed or 16-mixed",
        "parameters, likelihoods and chains are float32 whatever the networks compute in",
    ),
    "accumulate_grad_batches": integer(1, required=True),
    "log_every_n_steps": integer(1, required=True),
    "limit_val_batches": Rule(
        is_share, "a fraction up to 1.0 or a positive integer", "checkpoints are saved at validations", required=True
    ),
    "deterministic": one_of(True, False, "warn", None),
    "benchmark": one_of(True, False, None),
    "detect_anomaly": SWITCH,
    "sync_batchnorm": SWITCH,
    "enable_model_summary": SWITCH,
    "enable_autolog_hparams": SWITCH,
    "overfit_batches": Rule(lambda value: value == 0 or is_share(value), "0, a fraction or a positive integer"),
    "profiler": optional(TEXT),
    "model_registry": one_of(None, remedy="runs are kept in their folders"),
    "default_root_dir": optional(TEXT),
    "plugins": ANYTHING,
    # What would break a run has one allowed value, and a word on what to use instead.
    "max_epochs": one_of(-1, remedy="set budget.max_epochs instead", required=True),
    "min_epochs": one_of(None, remedy="set budget.max_epochs instead"),
    "max_steps": one_of(-1, remedy="set budget.max_batches instead"),
    "min_steps": one_of(None, remedy="set budget.max_batches instead"),
    "max_time": one_of(None, remedy="set budget.max_time instead"),
    "fast_dev_run": one_of(False, remedy="write debug=fast instead"),
    "barebones": one_of(False, remedy="write debug=fast instead"),
    "limit_train_batches": one_of(1.0, None, remedy="set data.limit instead"),
    "limit_test_batches": one_of(1.0, None, remedy="set data.limit instead"),
    "limit_predict_batches": one_of(1.0, None, remedy="set data.limit instead"),
    "val_check_interval": one_of(None, remedy="set validations instead"),
    "check_val_every_n_epoch": one_of(None, remedy="set validations instead"),
    "num_sanity_val_steps": one_of(0, remedy="runs validate only as often as validations says", required=True),
    "gradient_clip_val": one_of(None, remedy="set model.clip_norm instead"),
    "gradient_clip_algorithm": one_of(None, remedy="set model.clip_norm instead"),
    "enable_checkpointing": one_of(False, remedy="set checkpoint.minutes and validations instead"),
    "enable_progress_bar": one_of(False, remedy="runs have a progress bar of their own", required=True),
    "inference_mode": one_of(False, remedy="sampling and metrics need gradients", required=True),
    "use_distributed_sampler": one_of(False, remedy="the data loader shards by itself", required=True),
    "reload_dataloaders_every_n_epochs": one_of(0, remedy="the data loader shuffles by itself"),
    "logger": one_of(None, remedy="choose logger=... instead"),
    "callbacks": one_of(None, remedy="choose callbacks=... instead"),
}

LIMITS = dict.fromkeys(("max_batches", "max_epochs", "max_examples", "max_time"), AMOUNT)
TRIAL = {
    **dict.fromkeys(("storage", "study"), optional(TEXT)), **dict.fromkeys(("number", "of"), optional(integer(0))),
}  # fmt: skip
SECTIONS = {"trainer": TRAINER, "budget": LIMITS, "default_budget": LIMITS, "trial": TRIAL}  # with no other keys
OPEN = {"logger": PART, "callbacks": CHOSEN, "metrics": PART_OR_NULL}  # mappings with any keys
RULES = {**ROOT, **HYDRA, **{f"{name}.{key}": rule for name, rules in SECTIONS.items() for key, rule in rules.items()}}


def check_settings(config: DictConfig) -> None:
    """Check the types and ranges of the root keys and of the trainer's keys, and that none is missing.

    Raises:
        UserError: naming the key.
    """
    found = settings(config)
    for key, value in found.items():
        check_value(key, value)
    for key, rule in RULES.items():
        section = key.rpartition(".")[0]
        absent = rule.required and key not in found and (not section or isinstance(found[section], dict))
        require(not absent, f"{key} is missing in the config; it can be changed but not removed.")


def check_value(key: str, value: Any) -> None:
    """Check one key, as it is in a config or on the command line. Keys that others check pass.

    Raises:
        UserError: naming the key.
    """
    section, _, name = key.rpartition(".")
    known: dict[str, Rule] = SECTIONS.get(section, {})
    if known:
        require_known(name, known, f"unknown key '{key}'")
    rule = RULES.get(key) or OPEN.get(section, ANYTHING)
    if not rule.holds(value):
        remedy = f"; {rule.remedy.format(key=key)}" if rule.remedy else ""
        raise UserError(f"{key} must be {rule.wanted}, got {shown(value)}{remedy}.")


def settings(config: DictConfig) -> dict[str, Any]:
    """The root keys of a config and the keys of its sections, dotted, with plain values."""
    found: dict[str, Any] = {}
    for key in map(str, config):
        if OmegaConf.is_missing(config, key):
            continue  # check_config names it
        resolve = key not in ("data", "model", *OPEN)  # their parts are checked where they are built
        node = config[key]
        found[key] = OmegaConf.to_container(node, resolve=resolve) if OmegaConf.is_config(node) else node
    return found | {
        f"{key}.{name}": child
        for key, node in found.items()
        if (key in SECTIONS or key in OPEN) and isinstance(node, dict)
        for name, child in node.items()
    }


def plain(node: Any) -> Any:
    """A config node as resolved dicts and lists; any other value unchanged."""
    return OmegaConf.to_container(node, resolve=True) if OmegaConf.is_config(node) else node
