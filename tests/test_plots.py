"""Plots: the layout of pictures and animations."""

import math
from types import SimpleNamespace

import numpy as np
import torch
from PIL import Image

from genmodels import plots
from genmodels.callbacks.sample_grid import density
from genmodels.core import DataSpec, Kind, Likelihood
from genmodels.core.abilities import HasLikelihood

SPEC = DataSpec((1, 8, 8), 17)


def test_a_strip_has_a_row_per_example_and_a_column_per_frame():
    path = torch.zeros(3, 2, 1, 8, 8, dtype=torch.uint8)
    path[2, 1] = 16  # last frame of the second example
    picture = plots.strip(path, SPEC)
    tile = 33  # eight pixels, enlarged to 32, and a line
    assert picture.size == (3 * tile + 1, 2 * tile + 1)
    white = [(c, r) for c in range(3) for r in range(2) if picture.getpixel((c * tile + 9, r * tile + 9))[0] == 255]
    assert white == [(2, 1)]


def test_an_animation_shows_every_frame_and_the_last_one_longest(tmp_path):
    path = torch.stack([torch.full((4, 1, 8, 8), level, dtype=torch.uint8) for level in (0, 8, 16)])
    plots.animation(path, SPEC, tmp_path / "x.gif")
    with Image.open(tmp_path / "x.gif") as moving:
        times = []
        for frame in range(moving.n_frames):
            moving.seek(frame)
            times.append(moving.info["duration"])
            assert moving.convert("RGB").getpixel((9, 9))[0] == [0, 128, 255][frame]
        assert times == [80, 80, 1500] and moving.info["loop"] == 0


def test_levels_are_stretched_to_the_whole_range():
    x = torch.tensor([[[[0, 16]]]], dtype=torch.uint8)
    picture = plots.image_grid(x, DataSpec((1, 1, 2), 17), smallest=1)
    assert [picture.getpixel((column, 1)) for column in (1, 2)] == [(0, 0, 0), (255, 255, 255)]


def test_a_density_is_bright_where_the_mass_is_and_shown_next_to_the_truth():
    class Blob(HasLikelihood):
        """All mass in the upper left quarter."""

        spec, device = DataSpec((2,)), torch.device("cpu")

        def log_likelihood(self, x, samples=1):
            inside = (x[:, 0] < 0) & (x[:, 1] > 0)
            return Likelihood(torch.where(inside, -math.log(16), -math.inf), Kind.EXACT)

    alone = density(Blob(), None)
    beside = density(Blob(), lambda x: torch.zeros(len(x)) - 4)
    assert beside.width == 2 * alone.width
    bright = np.asarray(alone.convert("L"), dtype=float)
    rows, columns = np.nonzero((bright > 190) & (bright < 250))
    assert rows.mean() < alone.height / 2 and columns.mean() < alone.width / 2 + 20
    assert density(SimpleNamespace(spec=SPEC), None) is None
