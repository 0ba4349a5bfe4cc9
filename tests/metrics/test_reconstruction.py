"""The error of reconstructions against its definition, and its yardstick against principal components."""

from __future__ import annotations

from types import SimpleNamespace

import pytest
import torch
from conformance.kinds import KINDS, examples, model_on
from sklearn.decomposition import PCA

from genmodels.core import DataSpec
from genmodels.core.abilities import Encodes
from genmodels.core.quantization import to_symmetric
from genmodels.data.sources import Digits
from genmodels.errors import UserError
from genmodels.metrics import ReconstructionEvaluation, Subject
from genmodels.metrics.reconstruction import principal_components, squared_errors

SPEC = DataSpec((1, 2, 2), 5)


class Halves(Encodes):
    """A code of the first row, which is repeated."""

    spec, device = SPEC, torch.device("cpu")

    def encode(self, x):
        return x[:, 0, 0].float()

    def decode(self, z):
        return z[:, None, None].expand(-1, 1, 2, 2).to(torch.uint8)


@pytest.fixture
def subject(tmp_path):
    return lambda model, train, test: subject_in(tmp_path, model, train, test)


def subject_in(folder, model, train, test, batch=3):
    data = SimpleNamespace(split={"train": train, "test": test}.__getitem__, name="toy", eval_batch_size=batch)
    return Subject(model, data, None, 0, folder)


def images(n, seed):
    return torch.randint(0, 5, (n, 1, 2, 2), generator=torch.Generator().manual_seed(seed), dtype=torch.uint8)


def test_the_score_is_the_mean_squared_error_per_dimension_on_minus_one_to_one(subject, tmp_path):
    train, test = images(50, 0), images(8, 1)
    (score,) = ReconstructionEvaluation().measure(subject(Halves(), train, test))
    y = test.double() / 2 - 1
    errors = torch.stack([torch.zeros(8, 2).double(), (y[:, 0, 1] - y[:, 0, 0]).square()]).mean((0, 2))
    assert (score.name, score.n, score.unit, score.better) == ("reconstruction", 8, "", "lower")
    assert score.value == pytest.approx(errors.mean().item())
    assert score.se == pytest.approx(errors.std().item() / 8**0.5)
    assert score.protocol["code_dims"] == 2 and score.beside == {"PCA(2)": score.protocol["pca"]}
    (fewer,) = ReconstructionEvaluation(max_examples=3).measure(subject(Halves(), train, test))
    assert (tmp_path / "reconstructions.png").exists()
    assert fewer.n == 3 and fewer.protocol["of"] == 8


def test_the_yardstick_projects_onto_components_of_training_data_and_rounds(subject):
    train, test = images(50, 0), images(8, 1)
    (score,) = ReconstructionEvaluation().measure(subject(Halves(), train, test))
    mean, y = (train.double() / 2 - 1).flatten(1).mean(0), (test.double() / 2 - 1).flatten(1)
    axes = torch.linalg.svd((train.double() / 2 - 1).flatten(1) - mean, full_matrices=False)[2][:2]
    projected = ((mean + (y - mean) @ axes.T @ axes + 1) * 2).round().clamp(0, 4) / 2 - 1
    assert score.protocol["pca"] == pytest.approx((projected - y).square().mean().item(), abs=1e-12)


def test_of_digits_principal_components_leave_what_sklearns_leave(tmp_path):
    data, spec = Digits().load(tmp_path), DataSpec((1, 8, 8), 17)
    train, test = (to_symmetric(x, spec).flatten(1).double().numpy() for x in (data.train, data.test))
    components = principal_components(data.train, spec)
    for k in (2, 8, 32):
        pca = PCA(k, svd_solver="full").fit(train)
        expected = ((pca.inverse_transform(pca.transform(test)) - test) ** 2).mean()
        left = test - components.mean.numpy()
        left = ((left - left @ components.axes[:, :k].numpy() @ components.axes[:, :k].T.numpy()) ** 2).mean()
        assert left == pytest.approx(expected, abs=1e-9)
        rounded = squared_errors(data.test, components.reconstruct(data.test, k), spec).mean().item()
        assert 0 < abs(rounded - left) < 0.005  # rounding adds, clamping to the range of pixels subtracts


@torch.no_grad()
@pytest.mark.parametrize("name", ["nice", "realnvp", "maf"])
@pytest.mark.parametrize("kind", ["gray images", "points"])
def test_flows_keep_everything_and_have_no_yardstick(name, kind, subject):
    x = examples(KINDS[kind], 20)
    (score,) = ReconstructionEvaluation().measure(subject(model_on(name, KINDS[kind]).eval(), x, x))
    assert score.value < 1e-9 and score.protocol["code_dims"] == KINDS[kind].dims and not score.beside


def test_a_model_without_codes_is_refused_and_one_that_has_diverged_is_an_error(subject):
    class GAN:
        pass

    refusal = ReconstructionEvaluation().unsupported_reason(GAN(), None)
    assert refusal == "GAN does not encode data, so that nothing can be reconstructed."
    assert ReconstructionEvaluation().unsupported_reason(Halves(), None) is None
    model, x = model_on("ae", KINDS["points"]).eval(), torch.full((4, 2), float("nan"))
    with torch.no_grad(), pytest.raises(UserError, match="diverged"):
        ReconstructionEvaluation().measure(subject(model, x, x))
    with pytest.raises(ValueError, match=r"^max_examples must"):
        ReconstructionEvaluation(max_examples=0)
