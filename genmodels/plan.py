"""The plan of an experiment, for ``dry_run=true``."""

from __future__ import annotations

from typing import TYPE_CHECKING

from rich.console import Console

if TYPE_CHECKING:
    from genmodels.experiment import Experiment


def print_plan(experiment: Experiment) -> None:
    """Print the data, the networks, the budget and the metrics of an experiment."""
    console, spec = Console(highlight=False), experiment.data.spec
    console.print(f"data       {experiment.data.name}: {spec.shape}, levels {spec.levels}")
    for name, child in experiment.model.named_children():
        size = sum(p.numel() for p in child.parameters())
        console.print(f"{name:<10} {type(child).__name__}, {size:,} parameters")
    units = {"time": "seconds"}
    limits = ", ".join(f"{limit:,.0f} {units.get(key, key)}" for key, limit in experiment.budget.limits.items())
    console.print(f"budget     {limits}, batches of {experiment.data.batch_size}")
    console.print(f"metrics    {', '.join(experiment.evaluate.evaluations) or 'none'}")
    console.print("\n".join(experiment.computing.lines), soft_wrap=True)
    console.print(f"folder     {experiment.folder.path}")
