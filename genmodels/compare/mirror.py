"""The comparison on Weights & Biases."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from genmodels.compare.report import representative
from genmodels.compare.results import Results
from genmodels.compare.tables import heading, pretty


def to_wandb(results: Results, settings: Mapping[str, Any], folder: Path) -> None:
    """Log one ``wandb.Table`` per data set, with sample grids, in a run of its own.

    Args:
        results: the comparison.
        settings: project, entity and offline of the wandb logger.
        folder: folder of the sweep, after which the run is named.
    """
    import wandb

    where: dict[str, Any] = {key: settings.get(key) for key in ("project", "entity")}
    where["mode"] = "offline" if settings.get("offline") else "online"
    with wandb.init(**where, dir=str(folder), name=folder.name, job_type="comparison") as run:
        for data in results.data:
            columns, groups = results.columns_of(data), results.of(data)
            names = [" ".join(heading(column, {}, list(columns))) for column in columns]
            rows = []
            for group in groups:
                grid = representative(group, groups).path / "samples" / "final.png"
                cells = [cells.get(group.label) for cells in columns.values()]
                values = [None if cell is None else pretty(f"{cell.score.text} {cell.place or ''}") for cell in cells]
                rows.append([group.label, len(group.runs), *values, wandb.Image(str(grid)) if grid.is_file() else None])
            run.log({f"comparison/{data}": wandb.Table(["model", "seeds", *names, "samples"], rows)})
