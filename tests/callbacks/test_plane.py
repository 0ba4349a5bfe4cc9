"""Pictures of models on the plane: the density by what a model can do, on the axes of the data."""

import math
from types import SimpleNamespace

import numpy as np
import pytest
import torch

from genmodels.callbacks import plane
from genmodels.callbacks.plane import Plane, Scene, Window, density, of_model, on_the_plane
from genmodels.core import DataSpec, Kind, Likelihood
from genmodels.core.abilities import HasLikelihood, HasProbabilityFlow, Samples
from genmodels.data.sources import Checkerboard, Gaussian

WINDOW = Window(0.0, 0.0, 2.0)


def normal(x):
    return -0.5 * x.square().sum(1) - math.log(2 * math.pi)


class OnPlane:
    spec, device = DataSpec((2,)), torch.device("cpu")


class Exact(OnPlane, HasLikelihood):
    """A standard normal with a density."""

    kind = Kind.EXACT

    def log_likelihood(self, x, samples=1):
        self.samples = samples
        return Likelihood(normal(x), self.kind)


class Bounded(Exact):
    """The same with a bound."""

    kind = Kind.LOWER_BOUND


class Drawn(OnPlane, Samples):
    """The same by samples alone."""

    def sample(self, n):
        return torch.randn(n, 2)


class Flowing(Bounded, Drawn, HasProbabilityFlow):
    """The same by an ODE, with a likelihood of very many passes."""

    passes_per_example = 10**6

    def flow_log_density(self, y, tolerance, probes=None):
        return normal(y), 1


class Slow(Bounded, Drawn):
    """The same by a likelihood that takes too many passes, and by samples."""

    passes_per_example = 10**6


@pytest.mark.parametrize(
    ("kind", "words", "error"),
    [
        (Exact, "density", 1e-6),
        (Bounded, f"density by {plane.DRAWS} importance samples", 1e-6),
        (Flowing, "density of the probability flow", 1e-6),
        (Drawn, "histogram of 100000 samples", 0.015),
        (Slow, "histogram of 100000 samples", 0.015),
    ],
)
def test_the_density_is_found_by_the_best_of_what_a_model_can_do(kind, words, error):
    torch.manual_seed(0)
    model = kind()
    found, told = density(model, WINDOW)
    assert told == words
    truth = normal(WINDOW.grid(len(found))).exp().view_as(found)
    assert (found - truth).abs().mean() < error
    assert getattr(model, "samples", plane.DRAWS) == (1 if kind is Exact else plane.DRAWS)


def test_rows_run_along_the_second_dimension_from_below():
    lower_right = torch.tensor([[1.99, -1.99]])
    assert WINDOW.histogram(lower_right).nonzero().tolist() == [[0, plane.BINS - 1]]
    above = WINDOW.evaluated(lambda x: torch.where(x[:, 1] > 0, 0.0, -math.inf), 4)
    assert above.tolist() == [[0] * 4, [0] * 4, [1] * 4, [1] * 4]


def test_the_points_of_one_call_lie_all_over_the_window(monkeypatch):
    """Then a solver that shares its steps within a call leaves no seams, as it does between bands of rows."""
    monkeypatch.setattr(plane, "AT_A_TIME", 100)
    calls = []

    def log_density(x):
        calls.append(x)
        return normal(x)

    found = WINDOW.evaluated(log_density, 23)  # 529 points
    torch.testing.assert_close(found, normal(WINDOW.grid(23)).exp().view(23, 23))
    assert sum(map(len, calls)) == 529 and max(map(len, calls)) <= 100
    for points in calls:
        assert (points.amin(0) < -1.5).all() and (points.amax(0) > 1.5).all()


def test_a_histogram_is_a_density():
    torch.manual_seed(0)
    points = torch.rand(1000, 2) * 2 - 1
    counted = WINDOW.histogram(torch.cat([points, points + 100]))
    assert float(counted.sum()) * (4 / plane.BINS) ** 2 == pytest.approx(0.5, abs=1e-6)


def test_the_window_holds_the_data_with_a_margin_and_ignores_what_lies_far_out():
    x = Checkerboard(train_size=5000).load(None).train
    window = Window.around(torch.cat([x, torch.tensor([[1e6, 0.0]])]))
    assert 2.2 < window.half_width < 3 and abs(window.x) < 0.1 and abs(window.y) < 0.1
    assert Window.around(torch.zeros(3, 2)).half_width == 1


@pytest.mark.parametrize("known", [True, False])
def test_a_scene_shows_the_data_and_keeps_the_arrays(tmp_path, known):
    torch.manual_seed(0)
    source = Gaussian(train_size=20_000, mean=(0.0, 0.0), covariance=((1.0, 0.0), (0.0, 1.0)))
    x = source.load(None).train
    scene = Scene(x, source.log_prob if known else None, 50)
    assert scene.highest == pytest.approx(1.25 / (2 * math.pi), rel=0.25)
    assert ("histogram" in scene.data.words) is not known
    model = of_model(Flowing(), scene.window, 40)
    scene.save_arrays(tmp_path / "plane.npz", model)
    arrays = np.load(tmp_path / "plane.npz")
    assert arrays["samples"].shape == (40, 2) and (arrays["data"] == x[:50].numpy()).all()
    assert arrays["density"].shape == (2 * plane.PIXELS // 3,) * 2 and "data_density" in arrays
    both, one = scene.draw(model), scene.draw(Plane(None, model.density, "density"))
    assert both.width == one.width and both.height == 2 * one.height
    blue = np.asarray(scene.draw(Plane(torch.full((50, 2), -1.0), None, "")).convert("RGB")).astype(int)
    rows, columns = np.nonzero(blue[..., 2] - blue[..., 0] > 60)
    assert rows.mean() > blue.shape[0] / 2 and columns.mean() < blue.shape[1] / 2


def test_only_reals_on_the_plane_are_shown_and_only_by_models_that_show_something():
    assert [on_the_plane(DataSpec(*each)) for each in (((2,),), ((2,), 4), ((3,),), ((1, 1, 2),))] == [
        True, False, False, False
    ]  # fmt: skip
    assert of_model(SimpleNamespace(spec=DataSpec((2,)), device=torch.device("cpu")), WINDOW, 5) is None
