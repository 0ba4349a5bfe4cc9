"""Plots: the layout of pictures and animations."""

import itertools
from xml.etree.ElementTree import fromstring

import numpy as np
import pytest
import torch
from PIL import Image

from genmodels import figures, plots
from genmodels.core import DataSpec

pytestmark = pytest.mark.usefixtures("usual_style")
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


def test_vectors_of_integers_are_rows_of_squares():
    spec = DataSpec((5,), 3)
    x = torch.zeros(20, 5, dtype=torch.uint8)
    x[3, 4], x[3, 0] = 2, 1  # the fourth vector stands in the second row and the second column
    picture, tile = plots.picture(x, spec), (41, 9)  # squares of eight pixels, and a line
    assert picture.size == (2 * tile[0] + 1, 10 * tile[1] + 1)
    assert [picture.getpixel((46 + 8 * dimension, 14))[0] for dimension in range(5)] == [128, 0, 0, 0, 255]
    assert plots.picture(torch.zeros(2, 5000, dtype=torch.uint8), DataSpec((5000,), 3)).size == (5002, 5)
    assert plots.picture_bytes(20, spec) > 20 * 3 * tile[0] * tile[1]


def test_pairs_of_vectors_of_integers_stand_one_after_the_other():
    x = torch.arange(4, dtype=torch.uint8)[:, None].expand(4, 8)
    spec = DataSpec((8,), 8)
    assert plots.pairs(x, x + 4, spec) == plots.picture(
        torch.tensor([0, 4, 1, 5, 2, 6, 3, 7])[:, None].expand(8, 8), spec
    )


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


def test_charts_carry_what_a_script_shows_under_the_pointer():
    curves = [
        figures.Curve("a<", [1, 2.00004], [3, 4], 1, note="seed 0"),
        figures.Curve("b", [1], [0.5], 2, 0.1, bound=-1),
        figures.Curve("", [1, 2], [2, 1], figures.FRONT),
        figures.Curve("long", range(2500), range(2500), 3),
    ]
    root = fromstring(figures.chart(curves, "steps", "loss", legend=False))
    assert (root.get("data-x-name"), root.get("data-y-name")) == ("steps", "loss")
    told = [group.attrib for group in root.iter() if "data-x" in group.attrib]
    assert [each["data-series"] for each in told] == ["1", "2", "3"] and len(told[2]["data-x"].split()) == 834
    assert {key.removeprefix("data-"): value for key, value in told[0].items()} == {
        "series": "1", "label": "a<", "note": "seed 0", "x": "1 2", "y": "3 4",
    }  # fmt: skip
    parts = [group for group in root.iter() if group.get("data-series") == "2"]
    assert len(parts) > 3  # the point, its bar, the ends of the bar, and the arrow


def test_a_legend_has_each_label_once():
    curves = [figures.Curve(label, [1, 2], [3, 4], style) for style, label in enumerate(("generator", "critic") * 2)]
    svg = figures.chart(curves, "x", "y")
    assert svg.count(">generator</") == svg.count(">critic</") == 1
    assert figures.chart(curves, "x", "y", legend=False).count(">critic</") == 0


def test_names_below_an_axis_are_left_out_if_they_do_not_fit():
    point = [figures.Curve("", [i], [i]) for i in range(3)]
    assert ">first</" in figures.chart(point, "", "y", names=["first", "second", "third"])
    assert ">first</" not in figures.chart(point, "", "y", names=["first", "second", "third" * 9])


def lab(color):
    """Coordinates ``[3]`` of a color such as ``#ff0000`` in CIELAB, where equal distances look equally large."""
    rgb = np.array([int(color[i : i + 2], 16) / 255 for i in (1, 3, 5)])
    linear = np.where(rgb > 0.04045, ((rgb + 0.055) / 1.055) ** 2.4, rgb / 12.92)
    matrix = np.array([[0.4124, 0.3576, 0.1805], [0.2126, 0.7152, 0.0722], [0.0193, 0.1192, 0.9505]])
    xyz = matrix @ linear / (0.9505, 1, 1.089)
    x, y, z = np.where(xyz > 0.008856, np.cbrt(xyz), 7.787 * xyz + 16 / 116)
    return np.array([116 * y - 16, 500 * (x - y), 200 * (y - z)])


def test_the_colors_of_a_dozen_models_stay_apart():
    assert len(figures.SERIES) == 12
    distances = [np.linalg.norm(lab(a) - lab(b)) for a, b in itertools.combinations(figures.SERIES, 2)]
    assert min(distances) > 25  # a just noticeable difference is some 2
    papers = [np.linalg.norm(lab(a) - lab(paper)) for a in figures.SERIES for paper in ("#ffffff", "#16181b")]
    assert min(papers) > 25
    pairs = {(i % len(figures.SERIES), i % len(figures.MARKERS)) for i in range(84)}
    assert len(pairs) == 84 and len(figures.MARKERS) == len(figures.GLYPHS)
