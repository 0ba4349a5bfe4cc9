"""How often networks halve the resolution of an image, which adapts their depth to the data."""

from __future__ import annotations


def halvings(height: int, width: int, smallest: int = 4) -> int:
    """Number of times both sides can be halved exactly and stay at least ``smallest``.

    >>> [halvings(n, n) for n in (8, 28, 32, 64, 7)]
    [1, 2, 3, 4, 0]
    """
    count = 0
    while height % 2 == 0 and width % 2 == 0 and min(height, width) // 2 >= smallest:
        height, width, count = height // 2, width // 2, count + 1
    return count


def coarsenings(height: int, width: int) -> int:
    """:func:`halvings` for networks without layers at full resolution, which halve small images twice if possible.

    >>> [coarsenings(n, n) for n in (8, 28, 32, 64, 7)]
    [2, 2, 3, 4, 0]
    """
    return halvings(height, width, smallest=max(1, min(4, height // 4, width // 4)))
