"""Parts of a model as programs of torch.export, which run with torch alone."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from genmodels.core.abilities import Exports, Program
from genmodels.errors import UserError, require
from genmodels.models.base import BaseModel

SUFFIX = ".pt2"
TOLERANCE = 1e-5  # of a program's values, relative to the largest of the model's own
ROWS = 3  # of the batch by which a program is checked, which is not that of its example


class Part(nn.Module):
    """A function of tensors with the networks that it uses, as a module of its own.

    Args:
        run: the function.
        networks: the modules that hold its parameters.
    """

    def __init__(self, run: Callable[..., Any], networks: tuple[nn.Module, ...]) -> None:
        super().__init__()
        self.run = run
        self.networks = nn.ModuleList(networks)

    def forward(self, *inputs: Tensor) -> Any:
        """The function's value."""
        return self.run(*inputs)


@dataclass(frozen=True)
class Written:
    """A program in a file.

    Attributes:
        file: its name.
        program: what it computes.
        batch: number of rows that it takes; ``None`` for any number.
    """

    file: str
    program: Program
    batch: int | None


def check_exports(model: BaseModel) -> Mapping[str, Program]:
    """The parts of a model.

    Raises:
        UserError: if it has none.
    """
    if not isinstance(model, Exports):
        raise UserError(f"{type(model).__name__} has no part that format=torch.export could write; leave it out.")
    return model.programs()


def write_programs(model: BaseModel, folder: Path) -> list[Written]:
    """Write each part of a model, in eval mode, to ``NAME.pt2`` in ``folder``, and check what was written.

    Raises:
        UserError: if the model has no parts, or torch cannot express one, or not with the same values.
    """
    return [write(name, of_labels(model, program), folder) for name, program in check_exports(model).items()]


def of_labels(model: BaseModel, program: Program) -> Program:
    """The program of a model of p(x|y) with the labels y as its first input; unchanged for a model without labels."""
    if model.spec.classes is None:
        return program

    def run(y: Tensor, *inputs: Tensor) -> Any:
        with model.labels.given(y):
            return program.run(*inputs)

    y = torch.zeros(len(program.inputs[0]), dtype=torch.int64)
    return replace(program, run=run, inputs=(y, *program.inputs), about=f"labels y [B], and {program.about}")


@torch.no_grad()
def write(name: str, program: Program, folder: Path) -> Written:
    """Write one part.

    Raises:
        UserError: if torch cannot express it, or its values differ from those of the model.
    """
    part = Part(program.run, program.networks).eval()
    dynamic = tuple({0: torch.export.Dim.AUTO} for _ in program.inputs)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            exported = torch.export.export(part, program.inputs, dynamic_shapes=(dynamic,), strict=False)
        except Exception as error:  # of many kinds, by the part of torch that meets what it cannot express
            reason = " ".join(str(error).split())[:160]
            raise UserError(f"torch.export cannot express the {name} of this model ({reason}).") from error
        file = folder / f"{name}{SUFFIX}"
        torch.export.save(exported, file)
        restored = torch.export.load(file).module()
    rows = {len(each) for each in program.inputs}.pop()
    batch = None if agrees(restored, program, ROWS) else rows
    require(
        batch is None or agrees(restored, program, rows),
        f"the {name} of this model has other values as a program of torch.export; leave format out.",
    )
    return Written(file.name, program, batch)


def agrees(restored: Callable[..., Any], program: Program, rows: int) -> bool:
    """Whether a program has the values of the model on random inputs of so many ``rows``; false if it refuses them."""
    generator = torch.Generator().manual_seed(0)
    inputs = [randomized(each, rows, generator) for each in program.inputs]
    try:
        found = as_tuple(restored(*inputs))
    except (RuntimeError, AssertionError):  # of another number of rows
        return False
    own = as_tuple(program.run(*inputs))
    return all(
        torch.allclose(mine, theirs, rtol=TOLERANCE, atol=TOLERANCE * max(1.0, float(mine.abs().max())))
        for mine, theirs in zip(own, found, strict=True)
    )


def randomized(example: Tensor, rows: int, generator: torch.Generator) -> Tensor:
    """An input like ``example`` of so many rows: reals near it, and integers as they are."""
    like = example[:1].expand(rows, *example.shape[1:]).clone()
    return like + 0.1 * torch.randn(like.shape, generator=generator) if like.is_floating_point() else like


def as_tuple(values: Any) -> tuple[Tensor, ...]:
    """One tensor, or several, as a tuple."""
    return (values,) if isinstance(values, Tensor) else tuple(values)
