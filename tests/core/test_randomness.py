"""Named streams of random numbers."""

import numpy as np
import torch

from genmodels.core.randomness import mixed_seed, seed_stream, stream


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


def test_the_mixed_seed_is_numpys_and_has_64_bits() -> None:
    assert mixed_seed(3, 5) == int(np.random.SeedSequence([3, 5]).generate_state(1, np.uint64)[0])
    assert mixed_seed(1) == mixed_seed(1, 0)  # which is why seed_stream puts the length before the parts
    assert max(mixed_seed(n) for n in range(100)) > 2**63
