"""The training step of flow matching against that of diffusion on the same network."""

from __future__ import annotations

from collections.abc import Callable

import torch
from rich.table import Table

from genmodels.builder import build
from genmodels.launch import compose
from genmodels.models.base import BaseModel, make_optimizers, train_batch

Alternating = Callable[..., tuple[float, float]]
ROUNDS = 30
SAME = ["model.network.levels=null"]  # the input of either network is the state alone
OF_DDPM = [*SAME, "model/variance=fixed_small"]  # and its output that of the prediction alone


def step_of(words: list[str], x: torch.Tensor) -> tuple[Callable[[], object], int]:
    """A training step on the batch ``x [B, *shape]``, and the number of parameters."""
    model = build(compose(words).model, "model", BaseModel)
    model.initialize(x)
    optimizers = make_optimizers(model)
    return lambda: train_batch(model, x, optimizers), sum(p.numel() for p in model.parameters())


def flow_matching(table: Table, alternating: Alternating) -> None:
    """Steps of flow matching, with independent and with optimal pairs, against steps of DDPM, L_simple."""
    for data, batch in (("mixture", 128), ("digits", 128), ("mnist", 32)):
        config = compose([f"data={data}"])
        shape, levels = config.data.spec.shape, config.data.spec.levels
        x = torch.randn(batch, *shape) if levels is None else torch.randint(levels, (batch, *shape), dtype=torch.uint8)
        theirs, size = step_of(["model=ddpm", f"data={data}", *OF_DDPM], x)
        for paired in (False, True):
            pairs = f"model.objective.optimal_transport={str(paired).lower()}"
            ours, same_size = step_of(["model=cnf", f"data={data}", *SAME, pairs], x)
            assert size == same_size
            a, b = alternating(ours, theirs, rounds=ROUNDS)
            title = f"flow matching{', optimal pairs' * paired}, {data}, batch {batch}, against DDPM"
            table.add_row(title, f"{1e3 * a:.2f} ms", f"{1e3 * b:.2f} ms", f"{a / b:.3f}x")
