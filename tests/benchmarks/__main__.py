"""Ratios that matter, measured side by side in one process: ``python -m tests.benchmarks``.

Machines are noisy, so nothing here is asserted: blocks of the two things compared take turns, and the ratio of the
medians of their steps is printed.
"""

from __future__ import annotations

import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
import torch
from lightning import Callback
from rich.console import Console
from rich.table import Table
from torch.utils.data import DataLoader, Dataset

from genmodels.data import BatchLoader
from genmodels.experiment import Experiment
from genmodels.launch import compose, options
from genmodels.models.base import AdversarialModel

ROOT = Path(__file__).parents[2]
ROUNDS, STEPS, WARM = 5, 12, 3
SETS = {"images 28x28": ([1, 28, 28], 256), "points": ([2], None)}


class Clock(Callback):
    """Notes when each batch begins."""

    def __init__(self) -> None:
        self.times: list[float] = []

    def on_train_batch_start(self, *_: object) -> None:
        self.times.append(time.perf_counter())


def lightning_steps(name: str, overrides: list[str]) -> list[float]:
    """Durations of steps in the laboratory, all callbacks on, from batch to batch."""
    experiment = Experiment.assemble(compose([f"model={name}", *overrides]))
    clock = Clock()
    experiment.trainer.callbacks.append(clock)
    experiment.fit()
    return np.diff(clock.times)[WARM:].tolist()


def bare_steps(name: str, overrides: list[str]) -> list[float]:
    """Durations of the same steps in a plain loop over batches in memory."""
    experiment = Experiment.assemble(compose([f"model={name}", *overrides]))
    model, data = experiment.model, experiment.data
    model.initialise(data.peek(512))
    model = model.to(memory_format=torch.channels_last)
    x = data.split("train")[: data.batch_size]
    step = adversarial_step(model) if isinstance(model, AdversarialModel) else plain_step(model)
    times = []
    for _ in range(STEPS):
        times.append(time.perf_counter())
        step(x)
    return np.diff(times)[WARM:].tolist()


def plain_step(model):
    configured = model.configure_optimizers()
    optimizer = configured["optimizer"] if isinstance(configured, dict) else configured

    def step(x):
        optimizer.zero_grad()
        model.loss(x).total.backward()
        model.clip(model.parameters())
        optimizer.step()

    return step


def adversarial_step(model):
    players = model.players()
    optimizers = [player.optimizer(player.network.parameters()) for player in players]

    def step(x):
        for player, optimizer in zip(players, optimizers, strict=True):
            model.requires_grad_(False)
            player.network.requires_grad_(True)
            player.loss(x).total.backward()
            optimizer.step()
            optimizer.zero_grad()

    return step


def step_ratios(table: Table) -> None:
    """Training step against a bare loop, for every model."""
    for title, (shape, levels) in SETS.items():
        for name in options("model"):
            with tempfile.TemporaryDirectory() as folder:
                array = Path(folder) / "data.npz"
                size = (2000, *shape)
                generator = np.random.default_rng(0)
                x = generator.integers(0, 256, size, dtype=np.uint8) if levels else generator.normal(size=size)
                np.savez(array, train=x, test=x[:10])
                overrides = [
                    "data=npz", f"data.source.path={array}", f"data.spec.shape={shape}",
                    f"data.spec.levels={'null' if levels is None else levels}", f"budget.max_batches={STEPS}",
                    "validations=1", "metrics=[]", "callbacks.samples=null", f"run_dir={folder}/run",
                ]  # fmt: skip
                ours, bare = [], []
                for _ in range(ROUNDS):
                    bare += bare_steps(name, overrides)
                    ours += lightning_steps(name, overrides)
            a, b = statistics.median(ours), statistics.median(bare)
            table.add_row(f"step of {name}, {title}", f"{1e3 * a:.2f} ms", f"{1e3 * b:.2f} ms", f"{a / b:.3f}x")


class PerSample(Dataset):
    """The usual Dataset: one example at a time, scaled to floats."""

    def __init__(self, x: torch.Tensor) -> None:
        self.x = x

    def __len__(self) -> int:
        return len(self.x)

    def __getitem__(self, index: int) -> torch.Tensor:
        return self.x[index].float() / 255


def loader_ratio(table: Table) -> None:
    """Batches of an MNIST-sized set against a per-sample Dataset and DataLoader."""
    x = torch.randint(0, 256, (60_000, 1, 28, 28), dtype=torch.uint8)
    ours, usual = BatchLoader(x, 128, shuffle=True), DataLoader(PerSample(x), 128, shuffle=True)

    def seconds_per_batch(loader, batches):
        iterator = iter(loader)
        next(iterator)
        start = time.perf_counter()
        for _ in range(batches):
            next(iterator)
        return (time.perf_counter() - start) / batches

    a = statistics.median(seconds_per_batch(ours, 200) for _ in range(5))
    b = statistics.median(seconds_per_batch(usual, 40) for _ in range(5))
    title = "batch of MNIST, against a per-sample Dataset in a DataLoader"
    table.add_row(title, f"{1e6 * a:.0f} µs", f"{1e6 * b:.0f} µs", f"{b / a:.0f}x faster")


def first_step(table: Table) -> None:
    """Seconds from the command to the end of its first training step."""
    times = []
    for _ in range(3):
        with tempfile.TemporaryDirectory() as folder:
            words = [f"hydra.run.dir={folder}/run", "budget.max_batches=1", "metrics=[]", "callbacks.samples=null"]
            start = time.perf_counter()
            subprocess.run([sys.executable, "train.py", *words], cwd=ROOT, check=True, capture_output=True)
            times.append(time.perf_counter() - start)
    table.add_row("python train.py, whole run of one batch", f"{statistics.median(times):.1f} s", "8 s wanted", "")


def main() -> None:
    """Print the table."""
    table = Table(title=f"{torch.get_num_threads()} threads, torch {torch.__version__}")
    for heading in ("what", "ours", "against", "ratio"):
        table.add_column(heading)
    loader_ratio(table)
    first_step(table)
    step_ratios(table)
    Console().print(table)


if __name__ == "__main__":
    main()
