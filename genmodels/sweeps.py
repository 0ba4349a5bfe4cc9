"""Sweeps: their jobs, and their end in tables and a report, which are read from the folders of the runs.

Whatever starts a job, and however it ends, its folder says so; a sweep that is started again finds there what is done.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from hydra._internal.core_plugins.basic_sweeper import BasicSweeper
from hydra.experimental.callback import Callback
from omegaconf import DictConfig, OmegaConf

from genmodels.composition import compose_train
from genmodels.errors import require
from genmodels.hints import print_error, sentence
from genmodels.naming import as_name, as_written, remove_if_empty
from genmodels.overrides import compose_sweep, parse
from genmodels.signals import Interrupted

if TYPE_CHECKING:
    from genmodels.compare import Run

NESTING = ("ddp", "fsdp", "deepspeed")  # beginnings of the strategies that start processes
WELL = ("finished", "running", "pruned")  # statuses that are no failure of a sweep


class CompareSweep(Callback):
    """Hydra callback that ends a sweep with tables of its runs, and with ``report.html`` in its folder.

    Attributes:
        failures: names of jobs that are not finished, and reasons; until the end only of those whose folder cannot be
            written.
        config: config of the sweep under way.
        started: number of its jobs that this process has started.
    """

    failures: list[tuple[str, str]] = []  # noqa: RUF012
    config: DictConfig | None = None
    started = 0

    def on_multirun_start(self, config: DictConfig, **_: Any) -> None:
        """Remember the sweep, in case a signal or an error ends it."""
        CompareSweep.config, CompareSweep.started = config, 0
        settings = (config.get("logger") or {}).get("wandb")
        if settings:
            from genmodels.loggers.connection import settle

            settle("offline" if settings.offline else settings.mode, f"{config.hydra.sweep.dir}/*")

    def on_job_start(self, config: DictConfig, **_: Any) -> None:
        """Count the job."""
        CompareSweep.started += 1

    def on_multirun_end(self, config: DictConfig, **_: Any) -> None:
        """Print the tables, which list the jobs that are not finished with their reasons, and write the report."""
        CompareSweep.config = None
        try:
            conclude(Path(config.hydra.sweep.dir), config)
        except Exception as error:  # in a run folder or in wandb; the runs themselves are complete
            print_error(error)
            CompareSweep.failures.append(("the comparison", sentence(error)))


def conclude(folder: Path, config: DictConfig) -> None:
    """Print the tables of all runs in a sweep's folder, write report and pictures, and log it where the runs are."""
    from genmodels.compare import compared, find_runs, print_tables, write_report
    from genmodels.compare.mirror import to_wandb
    from genmodels.compare.planes import planes
    from genmodels.plots import save
    from genmodels.search.results import Searched

    runs, lost = find_runs(folder) if folder.is_dir() else [], list(CompareSweep.failures)
    CompareSweep.failures += [(run.name, run.reason) for run in runs if run.status not in WELL]
    if not runs and not lost:
        return forget_refused(folder, runs)
    search = Searched.read(folder)
    results = compared(search.shown(runs) if search else runs, lost)
    if search:
        search.tell()
    print_tables(results)
    if any(run.status != "refused" for run in runs):
        sections = [search.section] if search else []
        write_report(results, folder / "report.html", f"Comparison: {folder.name}", sections=sections)
        print(folder / "report.html")
        for data, image in planes(results).items():
            save(image, folder / f"{as_name(data)}.png")
            print(folder / f"{as_name(data)}.png")
        settings = (config.get("logger") or {}).get("wandb")
        if settings and any(run.record.get("wandb") for run in runs):
            to_wandb(results, settings, folder)
    if any(run.status == "failed" for run in runs):
        print("the same command with retry=failed tries again what failed.", file=sys.stderr)
    forget_refused(folder, runs)


def forget_refused(folder: Path, runs: list[Run]) -> None:
    """Remove the records of refused jobs, and what Hydra has written if no other run is there."""
    for run in runs:
        if run.status == "refused":
            (run.path / "run.json").unlink()
            remove_if_empty(run.path)
    if folder.is_dir() and all(run.status == "refused" for run in runs):
        (folder / "multirun.yaml").unlink(missing_ok=True)
        remove_if_empty(folder)


@contextmanager
def sweeps_concluded() -> Iterator[None]:
    """Show what a sweep has done that a signal or an error ends, and name what it has not started."""
    try:
        yield
    except (Interrupted, Exception) as end:
        if (config := CompareSweep.config) is not None:
            left = jobs(config)[CompareSweep.started :]
            CompareSweep().on_multirun_end(config)
            if isinstance(end, Interrupted):
                end.advice += "".join(f"\nnot started: {' '.join(words)}" for words in left)
        raise


def jobs(config: DictConfig) -> list[list[str]]:
    """Overrides of each job of a sweep in their order; none if they are chosen or started elsewhere."""
    parts = (str(config.hydra.sweeper._target_), str(config.hydra.launcher._target_))
    if not (parts[0].endswith(".BasicSweeper") and parts[1].endswith(".BasicLauncher")):
        return []
    batches = BasicSweeper.split_arguments(parse(as_written(config.hydra.overrides.task)), max_batch_size=None)
    return [list(words) for batch in batches for words in batch]


def refuse_nested_processes(config: DictConfig) -> None:
    """Refuse jobs of a sweep that start processes of their own, each of which would run the whole sweep.

    Raises:
        UserError: naming the keys and the alternative.
    """
    trainer = config.trainer
    one_device = trainer.devices in (1, "1") or (OmegaConf.is_list(trainer.devices) and len(trainer.devices) == 1)
    nesting = [
        *([] if one_device else [f"trainer.devices={trainer.devices}"]),
        *([] if trainer.num_nodes == 1 else [f"trainer.num_nodes={trainer.num_nodes}"]),
        *([f"trainer.strategy={trainer.strategy}"] if str(trainer.strategy).startswith(NESTING) else []),
    ]
    require(
        not nesting,
        f"{' '.join(nesting)} starts the command once per process, and each would run the whole sweep; sweep with "
        "trainer=default, one device a job, or start such jobs one by one.",
    )


def check_sweep(words: list[str]) -> None:
    """Refuse a sweep none of whose jobs could run, before anything is written.

    Args:
        words: the overrides of the command; what only some jobs have is checked when these begin.

    Raises:
        UserError: naming the key.
    """
    overrides = parse(words)
    folder = [str(each.input_line) for each in overrides if each.key_or_group == "run_dir"]
    require(not folder, f"{' '.join(folder)} is the folder of a single run; name that of a sweep: sweep=NAME")
    refuse_nested_processes(compose_sweep(words, compose_train))
