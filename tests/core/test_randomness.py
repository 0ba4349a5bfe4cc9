"""Named streams of random numbers."""

import torch

from genmodels.core.randomness import seed_stream, stream


def first_draw(*parts: int) -> float:
    with stream(*parts, device=torch.device("cpu")):
        return float(torch.rand(()))


def test_a_name_opens_its_own_stream_and_the_same_one_again() -> None:
    names = [(1,), (1, 0), (0, 1), (1, 0, 0), (2**32 - 1, 3, 1), (2**32 - 1, 3, 2)]
    draws = [first_draw(*name) for name in names]
    assert len(set(draws)) == len(names)
    assert [first_draw(*name) for name in names] == draws


def test_the_stream_outside_is_left_alone() -> None:
    seed_stream(5)
    outside = torch.rand(2)
    seed_stream(5)
    torch.rand(1)
    first_draw(7)
    assert torch.rand(1) == outside[1]
