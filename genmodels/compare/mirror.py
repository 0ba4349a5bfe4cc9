"""The comparison on Weights & Biases."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from genmodels.builder import build
from genmodels.compare.records import Run
from genmodels.compare.results import Results
from genmodels.compare.tables import heading, pretty
from genmodels.errors import UserError, require
from genmodels.files import write_whole
from genmodels.loggers import Wandb
from genmodels.runs.record import check_mirrors
from genmodels.settings import plain
from genmodels.untrusted import read_json

FILE = "comparison.json"  # in the folder of the sweep: where the comparison is on Weights & Biases
OF_ONE_RUN = ("_target_", "folder", "name", "group", "dir", "id", "artifacts", "resume_from", "fork_from")


def to_wandb(results: Results, settings: Mapping[str, Any], folder: Path) -> None:
    """Log one ``wandb.Table`` per data set, with sample grids, and the report, in a run of its own.

    A sweep has one such run, however often it is started again; ``comparison.json`` says which.

    Args:
        results: the comparison.
        settings: node of the wandb logger in the sweep's config.
        folder: folder of the sweep, after which the run is named.
    """
    shared = {key: plain(settings[key]) for key in settings if key not in OF_ONE_RUN}  # the others refer to the job
    given = {key: value for key, value in shared.items() if value is not None}
    node = {"_target_": "genmodels.loggers.Wandb", "job_type": "comparison", **given, "folder": str(folder)}
    logger = build(node, "logger.wandb", Wandb)
    with logger.harmless():
        run, entries = logger.opened(read(folder / FILE))
        write_whole(folder / FILE, json.dumps(entries, indent=2) + "\n")
        log_tables(run, results)
        log_report(run, folder / "report.html")
        logger.close()


def log_again(results: Results, runs: Sequence[Run], places: Sequence[str]) -> None:
    """Log the comparison of one folder, in the project of its runs, where the environment does not say otherwise.

    Raises:
        UserError: if there are several folders, or if no run in it is on Weights & Biases.
    """
    alone = len(places) == 1 and Path(places[0]).is_dir()
    require(alone, f"wandb=true is for the folder of one sweep, got {' '.join(places)}.")
    known = [run.record["wandb"] for run in runs if run.record.get("wandb")]
    require(bool(known), f"no run in {places[0]} is on Weights & Biases; train with logger=wandb.")
    to_wandb(results, {key: known[0].get(key) for key in ("project", "entity")}, Path(places[0]))


def read(file: Path) -> dict[str, Any]:
    """The content of ``comparison.json``, empty if there is none that can be read."""
    try:
        found = read_json(file)
        check_mirrors(found)
    except UserError:
        return {}
    return dict(found)


def log_tables(run: Any, results: Results) -> None:
    """Log one table per data set: a row per model, a column per score, and a grid of samples."""
    import wandb

    for data in results.data:
        columns = results.columns_of(data)
        names = [" ".join(heading(column, {}, list(columns))) for column in columns]
        rows = []
        for group, shown in results.pictured(data):
            grid = shown.path / "samples" / "final.png"
            cells = [cells.get(group.label) for cells in columns.values()]
            values = [None if cell is None else pretty(f"{cell.score.text} {cell.place or ''}") for cell in cells]
            rows.append([group.label, len(group.runs), *values, wandb.Image(str(grid)) if grid.is_file() else None])
        run.log({f"comparison/{data}": wandb.Table(["model", "seeds", *names, "samples"], rows)})


def log_report(run: Any, report: Path) -> None:
    """Log the page with tables, curves and samples, to be seen there and as an artifact."""
    import wandb

    if report.is_file():
        run.log({"report": wandb.Html(str(report))})
        artifact = wandb.Artifact(f"report-{run.id}", "report")
        artifact.add_file(str(report))
        run.log_artifact(artifact)
