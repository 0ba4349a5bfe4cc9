"""Networks that know the label of each example, by which a model p(x) becomes one model p(x|y) for each label y.

The label enters a network as its one-hot code, so that the equations of a model stay as they are: every network in them
is that of the example's label. A network of data or of a latent code gets the code beside its input (conditional GAN:
Mirza & Osindero 2014, arXiv:1411.1784; conditional VAE: Sohn et al. 2015), entries of a vector, planes of an image. A
network of time gets a learned embedding of the label, added to that of time (Nichol & Dhariwal 2021,
arXiv:2102.09672).
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from genmodels.errors import ensure
from genmodels.networks.init import zero_init
from genmodels.networks.time import TimeEmbedding


class Labels:
    """The labels of the examples at hand, which networks read while they are :meth:`given`.

    Args:
        classes: number K of classes; ``None`` for a model of data without labels, whose networks stay as they are.
    """

    def __init__(self, classes: int | None) -> None:
        self.classes = classes
        self.codes: Tensor | None = None  # [B, K], of the examples at hand

    @contextmanager
    def given(self, y: Tensor | None) -> Iterator[None]:
        """Context in which the examples have labels ``y [B]``, int64; ``None`` for examples without labels.

        Raises:
            ValueError: for labels of other types, or where there are none.
        """
        if y is None:
            yield
            return
        ensure(self.classes is not None, "the model is of data without labels; train it with data.labels=true.")
        ensure(y.dtype == torch.int64 and y.dim() == 1, f"labels must be int64 [B], not {y.dtype} {list(y.shape)}.")
        with self._at_hand(F.one_hot(y, self.classes or 0).float()):
            yield

    @contextmanager
    def dropped(self, probability: float) -> Iterator[None]:
        """Context in which every label is left out with a ``probability``: its code is then zero.

        A network that has learned with and without labels is of p(x|y) and of p(x) (Ho & Salimans 2022, algorithm 1,
        arXiv:2207.12598).
        """
        if self.codes is None or probability == 0:
            yield
            return
        kept = torch.rand(len(self.codes), 1, device=self.codes.device) >= probability
        with self._at_hand(self.codes * kept):
            yield

    @contextmanager
    def left_out(self) -> Iterator[None]:
        """Context in which no example has a label: every code is zero."""
        with self._at_hand(None if self.codes is None else torch.zeros_like(self.codes)):
            yield

    @contextmanager
    def in_a_row(self, rows: int) -> Iterator[None]:
        """Context in which each example stands for so many rows, one after another."""
        with self._at_hand(None if self.codes is None else self.codes.repeat_interleave(rows, 0)):
            yield

    @contextmanager
    def _at_hand(self, codes: Tensor | None) -> Iterator[None]:
        before, self.codes = self.codes, codes
        try:
            yield
        finally:
            self.codes = before

    def code(self, rows: int) -> Tensor:
        """Codes ``[rows, K]`` of the examples at hand: all of them for the first draw, then for the second, and so on.

        Raises:
            ValueError: if no labels are given, or the rows are not a whole number of draws for each.
        """
        if self.codes is None:
            raise ValueError("the model is of p(x | label): name the labels, with model.given(y): ...")
        if rows == self.codes.shape[0]:
            return self.codes
        draws, rest = divmod(rows, len(self.codes))
        ensure(rest == 0, f"there are {len(self.codes)} labels for {rows} rows.")
        return self.codes.repeat(draws, 1)

    def beside_input(self, factory: Callable[..., nn.Module]) -> Callable[..., nn.Module]:
        """``(in_shape, out_shape) -> network`` as ``factory``, of a network that gets the code beside its input."""
        if self.classes is None:
            return factory
        classes = self.classes

        def make(in_shape: Sequence[int], out_shape: Sequence[int], **options: Any) -> nn.Module:
            return CodeBesideInput(factory((in_shape[0] + classes, *in_shape[1:]), out_shape, **options), self)

        return make

    def beside_time(self, factory: Callable[..., nn.Module]) -> Callable[..., nn.Module]:
        """``(in_shape, out_shape) -> network`` as ``factory``, with the label's embedding added to that of time.

        Raises:
            ValueError: by the result, if the network embeds no time.
        """
        if self.classes is None:
            return factory

        def make(in_shape: Sequence[int], out_shape: Sequence[int], **options: Any) -> nn.Module:
            network = factory(in_shape, out_shape, **options)
            places = [(parent, *child) for parent in network.modules() for child in parent.named_children()]
            embeddings = [(parent, name, child) for parent, name, child in places if isinstance(child, TimeEmbedding)]
            ensure(bool(embeddings), "the network has no embedding of time to which that of the label could be added.")
            for parent, name, child in embeddings:
                setattr(parent, name, TimeAndLabel(child, self))
            return network

        return make


def drawn_labels(model: Any, n: int) -> Tensor | None:
    """Labels ``[n]`` as frequent as in a model's training data; ``None`` for a model of data without labels."""
    return None if model.spec.classes is None else model.draw_labels(n)


def given(model: Any, y: Tensor | None) -> AbstractContextManager[None]:
    """Context in which a model is given labels ``y [B]``, if there are any."""
    return nullcontext() if y is None else model.given(y)


class CodeBesideInput(nn.Module):
    """A network whose input is followed by the code of the label: as entries of a vector, or planes of an image."""

    def __init__(self, network: nn.Module, labels: Labels) -> None:
        super().__init__()
        self.network, self.labels = network, labels

    def forward(self, x: Tensor) -> Tensor:
        """``x [B, C, ...] -> network([B, C + K, ...])``."""
        code = self.labels.code(x.shape[0]).to(x.dtype)
        planes = code.view(*code.shape, *[1] * (x.dim() - 2)).expand(-1, -1, *x.shape[2:])
        out: Tensor = self.network(torch.cat([x, planes], dim=1))
        return out


class TimeAndLabel(nn.Module):
    """The embedding of time plus that of the label, which begins at zero, and is zero for a label left out."""

    def __init__(self, time: TimeEmbedding, labels: Labels) -> None:
        super().__init__()
        self.time, self.labels = time, labels
        self.label = zero_init(nn.Linear(labels.classes or 0, time.dim, bias=False))

    def forward(self, t: Tensor) -> Tensor:
        """``t [B] -> [B, dim]``."""
        out: Tensor = self.time(t) + self.label(self.labels.code(t.shape[0]))
        return out
