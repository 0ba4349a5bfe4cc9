"""Completions from the command line: what is given, what is known of it, and what is refused in one sentence."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from genmodels.cli import main
from genmodels.core import DataSpec
from genmodels.errors import UserError
from genmodels.experiment import run
from genmodels.given import read_given, read_mask
from genmodels.launch import compose
from genmodels.plots import completions

SPEC = DataSpec((1, 8, 8), 17)


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    folder = tmp_path_factory.mktemp("completing")
    small = ["model/network=readout", "model.network.width=8", "model.schedule.steps=5", "data.limit=40"]
    words = ["model=nonequilibrium", "budget.max_batches=1", "validations=1", "metrics=[]", "trainer.accelerator=cpu"]
    run(compose([*words, *small, f"run_dir={folder / 'run'}"]))
    Image.fromarray(np.arange(64, dtype=np.uint8).reshape(8, 8) * 4).save(folder / "x.png")
    half = np.zeros((8, 8), dtype=np.uint8)
    half[:4] = 255
    Image.fromarray(half).save(folder / "mask.png")
    np.save(folder / "mask.npy", half > 0)
    return folder


def complete(folder, *words):
    main(["sample", f"run={folder / 'run'}", *words])


def test_known_pixels_stay_and_the_others_are_drawn(folder, tmp_path):
    words = [f"given={folder / 'x.png'}", f"mask={folder / 'mask.png'}", "candidates=2"]
    complete(folder, *words, "n=3", f"out={tmp_path / 'a.npz'}")
    found = np.load(tmp_path / "a.npz")["x"]
    given = read_given(folder / "x.png", SPEC)[0].numpy()
    assert found.shape == (3, 1, 8, 8) and (found[:, :, :4] == given[:, :4]).all()
    assert (found[0, :, 4:] != found[1, :, 4:]).any()
    complete(folder, *words, f"out={tmp_path / 'a.png'}")
    assert Image.open(tmp_path / "a.png").size == (8 * 33 + 1, 34)  # the given one and seven completions


def test_several_examples_each_with_a_mask_of_its_own(folder, tmp_path):
    x = np.random.default_rng(0).integers(0, 17, (2, 1, 8, 8))
    known = np.random.default_rng(1).random((2, 1, 8, 8)) < 0.5
    np.savez(tmp_path / "x.npz", x=x)
    np.save(tmp_path / "known.npy", known)
    words = [f"given={tmp_path / 'x.npz'}", f"mask={tmp_path / 'known.npy'}", "n=2", "candidates=1"]
    complete(folder, *words, f"out={tmp_path / 'a.npz'}")
    found = np.load(tmp_path / "a.npz")["x"].reshape(2, 2, 1, 8, 8)
    assert all((found[i, j][known[i]] == x[i][known[i]]).all() for i in range(2) for j in range(2))


def test_a_picture_has_the_nearest_levels_and_reals_lie_between_minus_one_and_one(folder):
    x = read_given(folder / "x.png", SPEC)
    assert x.dtype is torch.uint8 and x[0, 0, 0, 0] == 0 and x[0, 0, 7, 7] == round(252 / 255 * 16)
    assert torch.equal(read_mask(folder / "mask.png", SPEC, 1), read_mask(folder / "mask.npy", SPEC, 1))
    reals = read_given(folder / "x.png", DataSpec((1, 8, 8)))
    assert reals.dtype is torch.float32 and reals.min() == -1 and float(reals.max()) == pytest.approx(252 / 127.5 - 1)


def saved(folder, name, array):
    np.save(folder / name, array)
    return folder / name


def test_what_does_not_fit_is_refused_in_one_sentence(folder, tmp_path, capsys):
    x, mask = f"given={folder / 'x.png'}", f"mask={folder / 'mask.png'}"
    Image.new("L", (9, 8)).save(tmp_path / "wide.png")
    (tmp_path / "text.png").write_text("no picture")
    wrong = saved(tmp_path, "wrong.npy", np.zeros((3, 3)))
    high = saved(tmp_path, "high.npy", np.full((1, 8, 8), 17))
    refused = {
        (x,): "name what is known: given=FILE mask=FILE",
        (mask,): "name what is known: given=FILE mask=FILE",
        ("candidates=3",): "name what is known",
        (x, mask, "candidates=0"): "candidates must be a positive integer",
        (f"given={tmp_path / 'wide.png'}", mask): "has 9 x 8 pixels, the data 8 x 8",
        (f"given={tmp_path / 'text.png'}", mask): "cannot be decoded as an image",
        (f"given={tmp_path / 'none.png'}", mask): "does not exist",
        (f"given={tmp_path / 'x.txt'}", mask): "must end in .png, .npy or .npz",
        (f"given={wrong}", mask): "has the shape [3, 3]; it must be [1, 8, 8]",
        (f"given={high}", mask): "must hold integers from 0 to 16",
        (x, f"mask={high}"): "must hold true and false",
        (x, f"mask={saved(tmp_path, 'two.npy', np.ones((2, 1, 8, 8)) > 0)}"): "holds 2 masks for 1 examples",
    }
    for words, sentence in refused.items():
        with pytest.raises(SystemExit):
            complete(folder, *words, f"out={tmp_path / 'a.png'}")
        error = capsys.readouterr().err
        assert sentence in error and error.count("\n") == 1, error


def test_a_model_that_cannot_complete_says_which_can(folder, tmp_path, capsys):
    words = ["model=gan", "model.generator.width=4", "model.discriminator.width=4", "data.limit=40"]
    run(compose([*words, "budget.max_batches=1", "validations=1", "metrics=[]", f"run_dir={tmp_path / 'run'}"]))
    with pytest.raises(SystemExit):
        complete(tmp_path, f"given={folder / 'x.png'}", f"mask={folder / 'mask.png'}")
    assert "GAN cannot complete examples; a diffusion model, RBM or EBM can." in capsys.readouterr().err


def test_points_and_rows_of_integers_are_drawn_too(usual_style):
    points = completions(torch.zeros(1, 2), torch.tensor([[True, False]]), torch.randn(9, 2), DataSpec((2,)))
    assert min(points.size) > 100
    bits = torch.zeros(2, 20, dtype=torch.uint8)
    picture = completions(bits, bits == 0, bits.repeat_interleave(3, 0), DataSpec((20,), 2))
    assert picture.size[0] > picture.size[1]
    with pytest.raises(UserError, match="is a picture, but the model's data are vectors"):
        read_given(Path("x.png"), DataSpec((2,)))
