"""Bounds that are sums over T steps of a chain: every term, or an unbiased estimate from a few terms per example.

Each term costs a pass of a network. At a given number of passes, few terms of many examples give a smaller error than
all terms of few examples, because terms of different steps of one example tell less than those of different examples.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping

import torch
from torch import Tensor

from genmodels.errors import ensure, ensure_counts

ROWS_AT_ONCE = 512  # in one call of the terms: several steps of a small batch are evaluated together

Terms = Callable[[Tensor, Tensor], Mapping[str, Tensor]]
"""From raw data ``x [B, *shape]`` and one step ``t [B]`` of 1 .. T per example to quantities ``[B]`` by name."""


def repeated(x: Tensor, samples: int) -> Iterator[Tensor]:
    """``x [B, *shape]`` as often as there are ``samples``: parts ``[k B, *shape]`` of about as many rows as fit."""
    at_once = max(1, ROWS_AT_ONCE // len(x))
    for done in range(0, samples, at_once):
        yield x.repeat(min(at_once, samples - done), *[1] * (x.dim() - 1))


def inclusion_probabilities(sizes: Tensor, count: int) -> Tensor:
    """Probabilities ``[T]``, ``min(1, c sizes)`` with sum ``count``, of having each of T terms among ``count`` drawn.

    In proportion to the terms' root mean squares they minimize the variance of a sum of independent draws. A term
    whose share would exceed one is always included.

    Args:
        sizes: positive numbers ``[T]``.
        count: number of terms to draw, from 1 to T.

    Returns:
        float64 ``[T]``.

    Raises:
        ValueError: if a size is not positive, or count is less than 1 or more than T.

    >>> inclusion_probabilities(torch.tensor([6.0, 1.0, 1.0]), 2)
    tensor([1.0000, 0.5000, 0.5000], dtype=torch.float64)
    """
    ensure_counts(1, len(sizes), count=count)
    ensure(bool((sizes > 0).all()), "sizes must be positive.")
    ordered = sizes.double().sort(descending=True).values
    rest = ordered.flip(0).cumsum(0).flip(0)  # the sum from each term on
    left = count - torch.arange(len(sizes), device=sizes.device)  # draws left if all larger terms are certain
    factors = left / rest
    certain = int((factors * ordered > 1 + 1e-9).long().cumprod(0).sum())
    return (factors[certain] * sizes.double()).clamp(max=1)


def systematic_draws(inclusion: Tensor, batch: int) -> Tensor:
    """Steps ``[batch, m]`` of 1 .. T, increasing in every row, which contains step t with probability inclusion[t - 1].

    Systematic sampling (Madow 1949, Annals of Mathematical Statistics 20, 333-354): the probabilities are laid end to
    end, and a grid of spacing one is thrown onto the line, with a shift of its own in every row. The m strata of equal
    total probability are thus represented once each, and rows are independent.

    Args:
        inclusion: probabilities ``[T]`` whose sum m is a whole number, see :func:`inclusion_probabilities`.
        batch: number of rows.
    """
    count = round(float(inclusion.sum()))
    shift = torch.rand(batch, 1, dtype=torch.float64, device=inclusion.device)
    grid = shift + torch.arange(count, device=inclusion.device)
    ends = inclusion.double().cumsum(0)
    return torch.searchsorted(ends, grid, right=True).clamp(max=len(inclusion) - 1) + 1  # sums are rounded


def terms_by_step(terms: Terms, x: Tensor, steps: int, inclusion: Tensor | None = None) -> dict[str, Tensor]:
    """Terms ``[B, T]`` of ``x [B, *shape]`` by name; column t - 1 is step t, NaN where it was not drawn.

    Args:
        terms: evaluates terms at one step per example.
        x: raw data ``[B, *shape]``.
        steps: T.
        inclusion: probabilities ``[T]`` of drawing each step, see :func:`systematic_draws`; ``None`` for all steps.
    """
    if inclusion is None:
        drawn = torch.arange(1, steps + 1, device=x.device).expand(len(x), steps)
    else:
        drawn = systematic_draws(inclusion.to(x.device), len(x))
    parts = []
    for t in torch.split(drawn, max(1, ROWS_AT_ONCE // len(x)), dim=1):
        repeated = x.repeat(t.shape[1], *[1] * (x.dim() - 1))
        parts.append({name: value.view(-1, len(x)) for name, value in terms(repeated, t.T.reshape(-1)).items()})
    found = {name: torch.cat([part[name] for part in parts]).T for name in parts[0]}  # [B, number of draws]
    return {name: spread(value, drawn, steps) for name, value in found.items()}


def spread(values: Tensor, drawn: Tensor, steps: int) -> Tensor:
    """``values [B, m]`` at the steps ``drawn [B, m]`` as columns of ``[B, T]``, the others NaN; a NaN becomes infinite.

    Otherwise a diverged network's NaN would pass for a term that was not drawn.
    """
    values = torch.where(values.isnan(), torch.inf, values)
    return values.new_full((len(values), steps), torch.nan).scatter(1, drawn - 1, values)


def weighted_sum(terms: Tensor, inclusion: Tensor | None = None) -> Tensor:
    """Unbiased estimate ``[B]`` of the sum over steps of ``terms [B, S]``, which are NaN where they were not drawn.

    Every term is divided by the probability ``inclusion [S]`` of drawing it (Horvitz & Thompson 1952, Journal of the
    American Statistical Association 47, 663-685); without it all terms are there.
    """
    return terms.sum(1) if inclusion is None else (terms / inclusion.to(terms)).nansum(1)
