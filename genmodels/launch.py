"""Between the command line and an experiment: what happens before torch is imported, and how errors are told.

Hydra composes the config first, so ``--help`` and ``--cfg job`` answer at once.
"""

from __future__ import annotations

import os
import re
import sys
import traceback
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from textwrap import shorten
from typing import Any

from hydra.core.hydra_config import HydraConfig
from hydra.errors import HydraException
from hydra.experimental.callback import Callback
from hydra.types import RunMode
from omegaconf import DictConfig, OmegaConf
from omegaconf.errors import OmegaConfBaseException

from genmodels.errors import UserError, nearest

os.environ.setdefault("HYDRA_FULL_ERROR", "1")  # Hydra then raises what we tell in one sentence


def config_folder() -> Path:
    """``conf/`` beside the package in a checkout, inside it when installed."""
    inside = Path(__file__).parent / "conf"
    return inside if inside.is_dir() else Path(__file__).parent.parent / "conf"


def job(config: DictConfig) -> float | None:
    """One run, alone or as a job of a sweep; in a sweep a failure is told and recorded, and the next job goes on."""
    hydra = HydraConfig.get()
    folder = Path(hydra.runtime.output_dir)
    sweeping = hydra.mode == RunMode.MULTIRUN
    try:
        refuse_nested_processes(config, sweeping)
        from genmodels.experiment import run

        return run(config, overrides=list(hydra.overrides.task))
    except Exception as error:
        tell(error)
        if not sweeping:
            sys.exit(1)  # past Hydra, which would add a line of its own
        Comparison.failures.append((folder.name, sentence(error)))
        return float(config.failure_value)
    finally:
        remove_if_empty(folder)


def refuse_nested_processes(config: DictConfig, sweeping: bool) -> None:
    """A strategy that starts the command again, once a device, would start the whole sweep again.

    Raises:
        UserError: naming the two ways out.
    """
    strategy = str(config.trainer.strategy)
    if sweeping and strategy.startswith("ddp") and "spawn" not in strategy:
        raise UserError(
            "a sweep in which every job starts processes of its own would run whole in each of them; "
            "sweep with trainer=default, or start the trainer=ddp jobs one by one."
        )


def remove_if_empty(folder: Path) -> None:
    """Take back the folders that Hydra made for a run that never began."""
    with suppress(OSError):  # not empty
        for path in (folder, folder.parent, folder.parent.parent):
            path.rmdir()


class Comparison(Callback):
    """Hydra callback: a sweep ends in one table of its runs, and in ``report.html`` in its folder."""

    failures: list[tuple[str, str]] = []  # noqa: RUF012  the jobs of one process's sweep

    def on_multirun_end(self, config: DictConfig, **_: Any) -> None:
        """Print the table, write the report, then name the jobs that failed and why."""
        try:
            self.conclude(Path(config.hydra.sweep.dir), config)
        except Exception as error:  # of a run folder, or of wandb: the runs themselves are done
            tell(error)
        for name, reason in self.failures:
            print(f"{name} failed: {reason}", file=sys.stderr)

    def conclude(self, folder: Path, config: DictConfig) -> None:
        """Table, report and, where the runs are on wandb, a run there that compares them."""
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


@contextmanager
def one_sentence_errors() -> Iterator[None]:
    """Turn bad input into one sentence and exit status 1; a defect of ours keeps its traceback."""
    try:
        yield
    except BrokenPipeError:  # whoever read our output, like head, has had enough
        sys.stdout = None
        sys.exit(1)
    except Exception as error:
        tell(error)
        sys.exit(1)
    if Comparison.failures:
        sys.exit(1)


def tell(error: Exception) -> None:
    """Print the sentence, after the traceback if the error is not the user's."""
    if not isinstance(error, (UserError, HydraException, OmegaConfBaseException)):
        traceback.print_exception(error)
    print(f"error: {sentence(error)}", file=sys.stderr)


def sentence(error: Exception) -> str:
    """What went wrong, in one sentence that names the mend."""
    text = str(error)
    if isinstance(error, UserError):
        return text
    if match := re.search(r"Could not (?:find|load) '(\w+)/([^']+)'", text):
        group, name = match.groups()
        return f"unknown {group} '{name}'; {nearest(name, options(group))}"
    if match := re.search(r"Could not override '([^']+)'", text):
        return unknown_key(match.group(1))
    if match := re.search(r"Key '([^']+)' is not in struct[\s\S]*full_key: (\S+)", text):
        return unknown_key(match.group(2))
    if match := re.search(r"Missing mandatory value: (\S+)", text):
        return f"{match.group(1)} has no value; give it on the command line."
    return f"{type(error).__name__}: {shorten(text, 300)}"


def unknown_key(key: str) -> str:
    """Sentence for a key, or a config group, that does not exist."""
    config: Any = OmegaConf.to_container(compose([]))
    known = [name for name in dotted(config) if not name.startswith("hydra")]
    return f"unknown key '{key}'; {nearest(key, [*(known if '.' in key else config), *groups()])}"


def compose(overrides: list[str]) -> DictConfig:
    """The config for ``overrides``, outside a Hydra job."""
    from hydra import compose as hydra_compose
    from hydra import initialize_config_dir

    with initialize_config_dir(str(config_folder().resolve()), version_base="1.3"):
        return hydra_compose("train", overrides=overrides)


def dotted(node: Any, prefix: str = "") -> Iterator[str]:
    """Every key of nested mappings as ``a.b.c``."""
    for key, value in node.items():
        yield f"{prefix}{key}"
        if isinstance(value, dict):
            yield from dotted(value, f"{prefix}{key}.")


def groups() -> list[str]:
    """Config groups."""
    return sorted(path.name for path in config_folder().iterdir() if path.is_dir())


def options(group: str) -> list[str]:
    """Options of a config group."""
    return sorted(path.stem for path in (config_folder() / group).glob("[!_]*.yaml"))
