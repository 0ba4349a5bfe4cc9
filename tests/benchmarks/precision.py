"""Milliseconds of a training step of every model, in both precisions and both memory layouts, on the machine at hand.

``python -m tests.benchmarks precision`` marks what ``auto`` chooses; the rules of :mod:`genmodels.runs.computing` rest
on these tables. Words after the command limit it: ``precision ddpm experiment=ddpm_mnist``. The configurations take
turns, and the shortest step of each counts, since other work on the machine only lengthens it. Where bf16 is emulated
the table takes many minutes.
"""

from __future__ import annotations

import time
from itertools import product

import torch
from rich.console import Console
from rich.table import Table

from genmodels.builder import build
from genmodels.hardware import bf16_unit, cpu_name, device_for
from genmodels.launch import compose, options
from genmodels.models.base import BaseModel, make_optimizers, train_batch
from genmodels.runs.computing import FULL, LOW, rule_of_layout, rule_of_precision

ROUNDS, LONGEST = 15, 6.0  # steps of each configuration, and seconds after which no further one begins
DATA = ("moons", "digits", "mnist")
RECIPES = tuple(f"experiment={name}_mnist" for name in ("gan", "vae", "realnvp", "ddpm"))
CHOICES = tuple(product((FULL, LOW), (False, True)))


def precision(words: list[str]) -> None:
    """Print the table of all models, or of those that ``words`` name."""
    device = device_for("auto")
    table = Table(
        title=f"ms per training step on {cpu_name() if device.type == 'cpu' else torch.cuda.get_device_name()}, "
        f"{torch.get_num_threads()} threads, torch {torch.__version__}, bf16 by {bf16_unit(device) or 'emulation'}; "
        f"* is what auto chooses"
    )
    layouts = {False: "contiguous", True: "channels last"}
    for heading in ("what", "batch", *(f"{name}, {layouts[last]}" for name, last in CHOICES)):
        table.add_column(heading)
    for name in words or [*options("model"), *RECIPES]:
        recipe = name.startswith("experiment=")
        for data in DATA if not recipe else [""]:
            table.add_row(f"{name} {data}", *row([name] if recipe else [f"model={name}", f"data={data}"], device))
    Console(width=150).print(table)


def row(words: list[str], device: torch.device) -> list[str]:
    """The batch size, and the duration of each configuration's step in ms."""
    config = compose([*words, "run_dir=none"])
    runs = []
    for low, last in CHOICES:
        torch.manual_seed(0)
        model = build(config.model, "model", BaseModel)
        x = random_data(model, config.data.batch_size)
        model.initialize(x)
        model.to(device)
        if last:
            model.to(memory_format=torch.channels_last)
        runs.append((model, make_optimizers(model), low == LOW))
    seconds: list[list[float]] = [[] for _ in runs]
    for _ in range(ROUNDS + 1):
        for (model, optimizers, low), kept in zip(runs, seconds, strict=True):
            if sum(kept) < LONGEST:
                kept.append(step(model, x.to(device), optimizers, low))
    chosen, _ = rule_of_precision(model, device, bf16_unit(device))
    choice = (chosen, rule_of_layout(model, device, chosen))
    times = [1e3 * min(kept[1:] or kept) for kept in seconds]
    marks = ["*" if each == choice else "" for each in CHOICES]
    return [str(len(x)), *(f"{each:.1f}{mark}" for each, mark in zip(times, marks, strict=True))]


def step(model: BaseModel, x: torch.Tensor, optimizers: list[torch.optim.Optimizer], low: bool) -> float:
    """Seconds of one training step."""
    start = time.perf_counter()
    with torch.autocast(x.device.type, torch.bfloat16, enabled=low):
        train_batch(model, x, optimizers)
    if x.is_cuda:
        torch.cuda.synchronize()
    return time.perf_counter() - start


def random_data(model: BaseModel, n: int) -> torch.Tensor:
    """``n`` examples of the kind that the model takes."""
    shape, levels = (n, *model.spec.shape), model.spec.levels
    return torch.randn(shape) if levels is None else torch.randint(0, levels, shape, dtype=torch.uint8)
