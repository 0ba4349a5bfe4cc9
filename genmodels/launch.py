"""Jobs of ``train.py``: checks before torch is imported, the end of a sweep, and the printing of errors.

Hydra composes the config before torch is imported, which makes ``--help`` and ``--cfg job`` fast.
"""

from __future__ import annotations

import logging
import os
import sys
import traceback
from argparse import Namespace
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any, NoReturn

from hydra._internal.config_loader_impl import ConfigLoaderImpl
from hydra._internal.core_plugins.basic_sweeper import BasicSweeper
from hydra._internal.utils import get_args_parser
from hydra.core.hydra_config import HydraConfig
from hydra.core.object_type import ObjectType
from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.experimental.callback import Callback
from hydra.types import RunMode
from omegaconf import DictConfig, OmegaConf

from genmodels.composition import check_parts, compose, compose_train, options
from genmodels.errors import UserError, nearest, require
from genmodels.hints import is_bad_input, sentence
from genmodels.overrides import explained
from genmodels.settings import ROOT, check_settings
from genmodels.signals import Interrupted, program

__all__ = ["CompareSweep", "compose", "job", "one_sentence_errors", "options", "print_error", "understood"]

logging.getLogger("hydra.utils").setLevel(logging.CRITICAL)  # it tells of errors that are raised besides
FOUND: set[Path] = set()  # folders that were there before Hydra created those of this job
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


ConfigLoaderImpl.get_group_options = options_of_group  # type: ignore[method-assign, assignment]


def job(config: DictConfig) -> float | None:
    """One run, alone or as a job of a sweep; in a sweep a failure is printed and recorded, and the next job runs."""
    hydra = HydraConfig.get()
    folder = Path(hydra.runtime.output_dir)
    sweeping = hydra.mode == RunMode.MULTIRUN
    try:
        check_config(config)
        refuse_nested_processes(config, sweeping)
        from genmodels.experiment import run

        return run(config, overrides=list(hydra.overrides.task))
    except Exception as error:
        print_error(error)
        if not sweeping:
            sys.exit(1)  # rather than raise, since Hydra would print another line
        CompareSweep.failures.append((folder.name, sentence(error)))
        return float(config.failure_value)
    finally:
        remove_if_empty(folder)


def refuse_nested_processes(config: DictConfig, sweeping: bool) -> None:
    """Refuse a sweep under a strategy that starts the command once per device, and so the whole sweep each time.

    Raises:
        UserError: naming the two alternatives.
    """
    strategy = str(config.trainer.strategy)
    if sweeping and strategy.startswith("ddp"):
        raise UserError(
            "this trainer.strategy starts the command once per device, so each process would run the whole sweep; "
            "sweep with trainer=default, or start the trainer=ddp jobs one by one."
        )


def check_config(config: DictConfig) -> None:
    """Refuse a config that lacks a value or has a wrong one, or whose model has a part of another model.

    Raises:
        UserError: naming the key.
    """
    missing = ", ".join(sorted(OmegaConf.missing_keys(config)))
    require(not missing, f"{missing} must be given on the command line.")
    for key in map(str, config):
        require(key in ROOT, f"unknown key '{key}'; {nearest(key, ROOT)}")
    check_settings(config)
    check_parts(config)


def remove_if_empty(folder: Path) -> None:
    """Remove the empty folders that Hydra created for a run that did not start."""
    with suppress(OSError):  # not empty
        for path in (folder, *folder.parents):
            if path in FOUND or Path.cwd().is_relative_to(path):
                return
            path.rmdir()


def note_existing(overrides: list[str]) -> None:
    """Note which of the folders that Hydra may create are there already."""
    chosen = [word.partition("=")[2] for word in overrides if word.startswith(("hydra.run.dir=", "hydra.sweep.dir="))]
    for place in (Path(name).absolute() for name in ("runs", *chosen)):
        FOUND.update(path for path in (place, *place.parents) if path.exists())


class CompareSweep(Callback):
    """Hydra callback that ends a sweep with tables of its runs, and with ``report.html`` in its folder."""

    failures: list[tuple[str, str]] = []  # noqa: RUF012  names of failed jobs, and reasons
    config: DictConfig | None = None  # of the sweep under way
    started = 0  # number of its jobs that have started
    left: list[list[str]] = []  # noqa: RUF012  overrides of the jobs that a signal left to do

    def on_multirun_start(self, config: DictConfig, **_: Any) -> None:
        """Remember the sweep, in case a signal ends it."""
        CompareSweep.config, CompareSweep.started = config, 0

    def on_job_start(self, config: DictConfig, **_: Any) -> None:
        """Count the job."""
        CompareSweep.started += 1

    def on_multirun_end(self, config: DictConfig, **_: Any) -> None:
        """Print the tables, write the report, then list the failed jobs with their reasons."""
        CompareSweep.config = None
        try:
            self.conclude(Path(config.hydra.sweep.dir), config)
        except Exception as error:  # in a run folder or in wandb; the runs themselves are complete
            print_error(error)
        for name, reason in self.failures:
            print(f"{name} failed: {reason}", file=sys.stderr)

    @classmethod
    def end_early(cls) -> None:
        """Conclude a sweep that a signal ended, with tables and a report of what is done."""
        if cls.config is None:
            return
        cls.left = jobs(cls.config)[cls.started :]
        cls().on_multirun_end(cls.config)

    def conclude(self, folder: Path, config: DictConfig) -> None:
        """Print the tables and write the report; if the runs are on wandb, log the comparison there."""
        from genmodels.compare import compared, find_runs, print_tables, write_report
        from genmodels.compare.mirror import to_wandb

        runs = find_runs(folder) if folder.is_dir() else []
        if not runs:
            return
        results = compared(runs, self.failures)
        print_tables(results)
        write_report(results, folder / "report.html", f"Comparison: {folder.name}")
        print(folder / "report.html")
        settings = (config.get("logger") or {}).get("wandb")
        if settings and "wandb" in sys.modules:
            to_wandb(results, settings, folder)


def jobs(config: DictConfig) -> list[list[str]]:
    """Overrides of each job of a sweep in their order; none if an optimizer chooses them one by one."""
    if not str(config.hydra.sweeper._target_).endswith(".BasicSweeper"):
        return []
    overrides = OverridesParser.create().parse_overrides(list(config.hydra.overrides.task))
    batches = BasicSweeper.split_arguments(overrides, max_batch_size=None)
    return [list(words) for batch in batches for words in batch]


@contextmanager
def understood(words: list[str]) -> Iterator[None]:
    """Check the command line of ``train.py``, and name the word with which Hydra cannot compose a config.

    Raises:
        UserError: for options that Hydra does not have, and for overrides that make no sense.
    """
    given = parsed(words)
    note_existing(given.overrides)
    sweep = given.multirun or "hydra.mode=MULTIRUN" in given.overrides
    with explained([] if given.shell_completion else given.overrides, compose_train, sweep):
        yield


def parsed(words: list[str]) -> Namespace:
    """The command line as Hydra's own parser reads it, which prints its usage where this raises.

    Raises:
        UserError: naming the option.
    """
    parser = get_args_parser()

    def refuse(message: str) -> NoReturn:
        raise UserError(f"{message}; see python train.py --help.")

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
def sweeps_concluded() -> Iterator[None]:
    """Show what a sweep has done that a signal ends, and name what it has not."""
    try:
        yield
    except Interrupted as signal:
        CompareSweep.end_early()
        signal.advice += "".join(f"\nnot started: {' '.join(words)}" for words in CompareSweep.left)
        raise


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


def print_error(error: Exception) -> None:
    """Print the error in one sentence, after its traceback if it is not due to bad input."""
    if not is_bad_input(error):
        traceback.print_exception(error)
    print(f"error: {sentence(error)}", file=sys.stderr)
