"""Programs of torch.export: the parts of models, loaded with torch alone, have the values of the models."""

from __future__ import annotations

import subprocess
import sys

import pytest
import torch
from conformance.kinds import KINDS, MODELS, model_on
from conformance.test_laboratory import settings
from models.flows import awake

import genmodels
from genmodels.builder import resolve
from genmodels.cli import main
from genmodels.composition import compose
from genmodels.core import DataSpec
from genmodels.core.abilities import Exports, Program
from genmodels.errors import UserError
from genmodels.experiment import run
from genmodels.models.base import BaseModel
from genmodels.programs import ROWS, TOLERANCE, as_tuple, randomized, write_programs
from genmodels.publish import usage

PARTS = {
    "vae": {"decoder"}, "ae": {"decoder"}, "gan": {"generator"}, "nice": {"inverse", "log_density"},
    "realnvp": {"inverse", "log_density"}, "maf": {"log_density"}, "ddpm": {"denoise"}, "cnf": {"velocity"},
}  # fmt: skip


IMAGES = ("vae", "gan", "realnvp", "ddpm")  # the others are tested on points, which takes less time


def test_which_models_have_parts():
    kinds = {name: resolve(compose([f"model={name}"]).model._target_, "model") for name in MODELS}
    assert {name for name, kind in kinds.items() if issubclass(kind, Exports)} == set(PARTS)


@pytest.mark.slow
@pytest.mark.parametrize("name", PARTS)
def test_a_program_has_the_values_of_the_model_for_any_number_of_rows(name, tmp_path):
    model = awake(model_on(name, KINDS["gray images" if name in IMAGES else "points"])).eval()
    written = write_programs(model, tmp_path)
    assert {each.file for each in written} == {f"{part}.pt2" for part in PARTS[name]}
    for each in written:
        program = torch.export.load(tmp_path / each.file).module()
        for rows in (1, 5) if each.batch is None else (each.batch,):
            inputs = [randomized(x, rows, torch.Generator().manual_seed(rows)) for x in each.program.inputs]
            with torch.no_grad():
                pairs = zip(as_tuple(program(*inputs)), as_tuple(each.program.run(*inputs)), strict=True)
            for found, own in pairs:
                assert found.shape == own.shape and len(found) == rows
                assert torch.allclose(found, own, rtol=TOLERANCE, atol=TOLERANCE * max(1.0, float(own.abs().max())))
        assert each.batch is None and rows != ROWS


def test_a_program_of_a_model_of_labels_takes_them_first(tmp_path):
    model = awake(model_on("gan", DataSpec((2,), classes=3))).eval()
    (written,) = write_programs(model, tmp_path)
    program = torch.export.load(tmp_path / written.file).module()
    y, z = torch.tensor([0, 1, 2, 2]), torch.randn(4, model.latent_dim)
    with torch.no_grad(), model.given(y):
        own = model.generator(z)
    assert torch.allclose(program(y, z), own, atol=TOLERANCE)
    assert not torch.allclose(program(y.flip(0), z), own, atol=TOLERANCE)


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    folder = tmp_path_factory.mktemp("programs")
    run(settings("vae", "gray images", folder))
    return folder / "run"


@pytest.mark.slow
def test_an_export_has_programs_that_its_card_loads_with_torch_alone(trained, tmp_path):
    main(["export", f"run={trained}", f"out={tmp_path / 'model'}", "format=torch.export"])
    card = (tmp_path / "model" / "README.md").read_text()
    code = card[card.index("import torch\n") :].split("```")[0].replace("FOLDER", str(tmp_path / "model"))
    alone = f"import sys\n{code}\nassert y.shape == (16, 1, 8, 8) and 'genmodels' not in sys.modules"
    subprocess.run([sys.executable, "-c", alone], cwd=tmp_path, check=True)
    assert "- `decoder.pt2`: z ~ p(z) [B, latent_dim] to the location of p(x|z)" in card and len(code.split("\n")) <= 5
    assert genmodels.load(tmp_path / "model").sample(2).shape == (2, 1, 8, 8)


def test_a_model_without_parts_is_refused_and_nothing_is_written(tmp_path):
    run(settings("rbm", "binary images", tmp_path))
    with pytest.raises(UserError, match=r"^RBM has no part that format=torch\.export could write; leave it out\.$"):
        genmodels.export(tmp_path / "run", tmp_path / "model", format="torch.export")
    with pytest.raises(UserError, match=r"^format must be torch\.export, got onnx\.$"):
        genmodels.export(tmp_path / "run", tmp_path / "model", format="onnx")
    assert not (tmp_path / "model").exists()


class Odd(BaseModel, Exports):
    """A model whose part is a given function."""

    def __init__(self, run):
        super().__init__(KINDS["points"])
        self.run = run

    def players(self):
        return []

    def monitor(self, x):
        return x

    def programs(self):
        return {"part": Program(self.run, (torch.ones(2, 2),), (), "x to y")}


def test_a_part_that_takes_one_number_of_rows_says_so(tmp_path):
    (written,) = write_programs(Odd(lambda x: x * len(x)), tmp_path)
    assert written.batch == 2 and "2 rows at a time" in usage([written]) and "torch.randn(2, 2)" in usage([written])


@pytest.mark.parametrize(
    ("run", "sentence"),
    [
        (lambda x: x + torch.randn_like(x), "has other values as a program"),
        (lambda x: x if x.sum() > 0 else -x, r"torch\.export cannot express the part of this model"),
    ],
    ids=["random", "data-dependent"],
)
def test_a_part_that_is_no_program_is_refused(run, sentence, tmp_path):
    with pytest.raises(UserError, match=sentence):
        write_programs(Odd(run), tmp_path)
