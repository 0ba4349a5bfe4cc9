"""Jobs of ``train.py`` and ``genmodels train``: checks before torch is imported, and what becomes of an error.

Hydra composes the config before torch is imported, which makes ``--help`` and ``--cfg job`` fast.
"""

from __future__ import annotations

import logging
import os
import sys
from argparse import Namespace
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NoReturn

from hydra._internal.config_loader_impl import ConfigLoaderImpl
from hydra._internal.hydra import Hydra
from hydra._internal.utils import get_args_parser
from hydra.core.hydra_config import HydraConfig
from hydra.core.object_type import ObjectType
from hydra.types import RunMode
from omegaconf import DictConfig, OmegaConf

from genmodels import naming
from genmodels.composition import check_parts, compose, compose_train, options, program_name, use_own_folders
from genmodels.errors import UserError, require, require_known
from genmodels.hints import print_error, sentence
from genmodels.naming import as_written, note_existing, remove_if_empty
from genmodels.overrides import compose_sweep, explained, parse
from genmodels.search.sweeper import refuse_other_plugin, register
from genmodels.settings import ROOT, check_settings
from genmodels.signals import program
from genmodels.sweeps import CompareSweep, check_sweep, refuse_nested_processes, sweeps_concluded
from genmodels.tree import config_folder
from genmodels.trust import use
from genmodels.typed import check_shown

__all__ = ["compose", "job", "one_sentence_errors", "options", "train", "understood"]

logging.getLogger("hydra.utils").setLevel(logging.CRITICAL)  # it tells of errors that are raised besides
os.environ["HYDRA_FULL_ERROR"] = "1"  # Hydra then raises its errors, and print_error prints them
if "OMP_WAIT_POLICY" not in os.environ:  # a thread that waits for others gives its core away soon, see runs/threads.py
    os.environ.setdefault("GOMP_SPINCOUNT", "10000")  # read when torch is imported


def options_of_group(
    self: ConfigLoaderImpl, group_name: str, results_filter: ObjectType | None = ObjectType.CONFIG, **_: Any
) -> list[str]:
    """Options of one of Hydra's groups, or groups within it, read from the folders alone.

    Hydra composes a config anew for each of the 160 questions that ``--help`` asks, which takes most of its time.
    """
    return list(self.repository.get_group_options(group_name, results_filter))


def mode_in_words(self: Hydra, config_name: str | None, overrides: list[str]) -> RunMode | None:
    """The mode that a word gives, where ``--multirun`` does not.

    Hydra composes a whole config to look for it, before it composes the one of the run or the sweep.
    """
    given = [word.partition("=")[2] for word in overrides if word.startswith("hydra.mode=")]
    return RunMode.__members__.get(given[-1]) if given else None


load_configuration = ConfigLoaderImpl.load_configuration


def load_jobs_or_sweep(
    self: ConfigLoaderImpl, config_name: str | None, overrides: list[str], run_mode: RunMode, **rest: Any
) -> DictConfig:
    """Hydra's config of a job, or for a sweep as a whole that of :func:`genmodels.overrides.compose_sweep`."""

    def load(words: list[str]) -> DictConfig:
        return load_configuration(self, config_name, words, run_mode, **rest)

    if run_mode is not RunMode.MULTIRUN:
        return load(overrides)
    config = compose_sweep(overrides, load)
    config.hydra.overrides.task = [each.input_line for each in parse(overrides) if not each.is_hydra_override()]
    return config


naming.register()
ConfigLoaderImpl.load_configuration = load_jobs_or_sweep  # type: ignore[method-assign, assignment]
ConfigLoaderImpl.get_group_options = options_of_group  # type: ignore[method-assign, assignment]
Hydra.get_mode = mode_in_words  # type: ignore[method-assign]


def train(words: list[str]) -> None:
    """What ``train.py`` does, with ``words`` for its command line; see :func:`one_sentence_errors` for errors."""
    from hydra import main

    typed = sys.argv

    @main(version_base="1.3", config_path=str(config_folder().resolve()), config_name="train")
    def task(config: DictConfig) -> Any:
        sys.argv = typed  # with which trainer=ddp starts further processes
        return job(config)

    with understood(words):
        sys.argv = [typed[0], *words]  # Hydra reads its words there
        try:
            task()
        finally:
            sys.argv = typed


def job(config: DictConfig) -> Any:
    """One run, alone or as a job of a sweep; in a sweep a failure is printed and recorded, and the next job runs."""
    hydra = HydraConfig.get()
    folder, words, alone = Path(hydra.runtime.output_dir), as_written(hydra.overrides.task), hydra.mode == RunMode.RUN
    try:
        check_config(config)
        if alone:
            require_one_folder(words)
            return run(config, words)
        refuse_nested_processes(config)
        return run_unless_in_use(config, words)
    except Exception as error:
        print_error(error, "" if alone else folder.name)
        if alone:
            sys.exit(1)  # rather than raise, since Hydra would print another line
        note_failure(folder, words, sentence(error))
        return float(config.failure_value)
    finally:
        remove_if_empty(folder)


def run(config: DictConfig, words: list[str]) -> Any:
    """The run, with torch imported for it."""
    from genmodels.experiment import run

    return run(config, words)


def require_one_folder(words: list[str]) -> None:
    """Require a run folder from processes that ``torchrun`` has started, each of which would name another by its time.

    Raises:
        UserError: naming the key.
    """
    several = "TORCHELASTIC_RUN_ID" in os.environ and os.environ.get("WORLD_SIZE", "1") != "1"
    named = any(word.startswith(("run_dir=", "hydra.run.dir=")) for word in words)
    require(not several or named, "the processes of torchrun need one folder; name it: run_dir=FOLDER")


def run_unless_in_use(config: DictConfig, words: list[str]) -> Any:
    """The run, on a GPU of its own; ``failure_value`` if another process is at it, which is no failure of the sweep."""
    from genmodels.runs import InUse
    from genmodels.runs.gpus import take_gpu

    take_gpu()
    try:
        return run(config, words)
    except InUse as error:
        print(error)
        return float(config.failure_value)


def note_failure(folder: Path, words: list[str], reason: str) -> None:
    """Note in the folder of a job why it is not finished, or in this process if that cannot be written."""
    from genmodels.runs import RunFolder

    try:
        RunFolder(folder).note_failure(words, reason)
    except (OSError, UserError):
        CompareSweep.failures.append((folder.name, reason))


def check_config(config: DictConfig) -> None:
    """Refuse a config that lacks a value or has a wrong one, or whose model has a part of another model.

    Raises:
        UserError: naming the key.
    """
    missing = ", ".join(sorted(OmegaConf.missing_keys(config)))
    require(not missing, f"{missing} must be given on the command line.")
    for key in map(str, config):
        require_known(key, ROOT, f"unknown key '{key}'")
    check_settings(config)
    check_parts(config)


@contextmanager
def understood(words: list[str]) -> Iterator[None]:
    """Check the command line of ``train.py``, and name the word with which Hydra cannot compose a config.

    Raises:
        UserError: for options that Hydra does not have, and for overrides that make no sense.
    """
    given = parsed(words)
    if given.config_dir:
        use(given.config_dir)
    use_own_folders()
    note_existing(given.overrides)
    sweep = given.multirun or "hydra.mode=MULTIRUN" in given.overrides
    if sweep:
        refuse_other_plugin(given.overrides)
        register()
    with explained([] if given.shell_completion else given.overrides, compose_train, sweep):
        if given.cfg or given.help:
            check_shown(given.overrides)
        elif sweep and not given.info:
            check_sweep(given.overrides)
        yield


def parsed(words: list[str]) -> Namespace:
    """The command line as Hydra's own parser reads it, which prints its usage where this raises.

    Raises:
        UserError: naming the option.
    """
    parser = get_args_parser()

    def refuse(message: str) -> NoReturn:
        raise UserError(f"{message}; see {program_name()} --help.")

    parser.error = refuse  # type: ignore[method-assign]
    given, rest = parser.parse_known_args(words)
    for word in rest:
        unknown = f"unknown option '{word}'; overrides are written without dashes, as in model=vae."
        require(not word.startswith("-"), unknown)
    require(not rest, f"{' '.join(rest)}: write options such as -m before or after all overrides, not between them.")
    commands = ("--run", "--multirun", "--cfg", "--info", "--shell-completion")
    chosen = [name for name in commands if getattr(given, name.lstrip("-").replace("-", "_"))]
    require(len(chosen) <= 1, f"{' and '.join(chosen)} exclude each other; give one of them.")
    require(not given.resolve or given.cfg or given.help, "--resolve needs --cfg job or --help beside it.")
    file = given.experimental_rerun
    require(file is None or Path(file).is_file(), f"--experimental-rerun={file}: there is no such file.")
    return given


@contextmanager
def one_sentence_errors() -> Iterator[None]:
    """Print errors in one sentence and exit with status 1; only those not due to bad input have a traceback.

    A signal ends the program as :func:`genmodels.signals.program` says; a sweep first shows what is done.
    """
    try:
        with program(), sweeps_concluded():
            yield
    except BrokenPipeError:  # the reader of our output, such as head, has closed it
        sys.stdout = None
        sys.exit(1)
    except Exception as error:
        print_error(error)
        sys.exit(1)
    if CompareSweep.failures:
        sys.exit(1)
