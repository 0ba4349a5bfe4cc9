"""Plots: the layout of pictures and animations."""

import numpy as np
import torch
from PIL import Image

from genmodels import plots
from genmodels.core import DataSpec

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


def test_points_lie_on_the_axes_asked_for_with_the_data_behind_them():
    alone, behind = (np.asarray(plots.scatter(torch.tensor([[1.0, 1.0]]), data, (-2, 2, -2, 2))).astype(int)
                     for data in (None, torch.tensor([[-1.0, -1.0]])))  # fmt: skip
    rows, columns = np.nonzero(alone[..., 2] - alone[..., 0] > 60)
    assert rows.mean() < alone.shape[0] / 2 and columns.mean() > alone.shape[1] / 2
    rows, columns = np.nonzero((alone != behind).any(2))
    assert len(rows) and rows.mean() > alone.shape[0] / 2 and columns.mean() < alone.shape[1] / 2
