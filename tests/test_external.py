"""Samples from elsewhere and to elsewhere: folders of images, archives in the layouts of others, and their scores."""

from __future__ import annotations

import json

import numpy as np
import pytest
import torch
from PIL import Image

import genmodels
from genmodels.cli import main
from genmodels.core import DataSpec
from genmodels.errors import UserError
from genmodels.metrics.sample_files import digest, from_8bit, read_foreign, to_8bit, write_adm, write_folder

GRAY, FEW, COLOR = DataSpec((1, 6, 8), 256), DataSpec((1, 6, 8), 17), DataSpec((3, 6, 8), 256)
FD = ["data=digits", "metrics=[fd]", "metrics.fd.n=70"]


def raw(spec, n=20):
    x = torch.randint(spec.levels or 2, (n, *spec.shape), generator=torch.Generator().manual_seed(0))
    return x.to(torch.uint8)


@pytest.mark.parametrize("spec", [GRAY, FEW, COLOR, DataSpec((1, 6, 8), 2)], ids=str)
def test_what_is_written_is_read_back(spec, tmp_path):
    x = raw(spec)
    write_folder(x, spec, tmp_path / "images")
    write_adm(x, spec, tmp_path / "adm.npz")
    assert torch.equal(read_foreign(tmp_path / "images", spec), x)
    assert torch.equal(read_foreign(tmp_path / "adm.npz", spec), x)


def test_files_are_such_as_other_programs_expect(tmp_path):
    x = raw(FEW)
    write_folder(x, FEW, tmp_path / "images")
    write_adm(x, FEW, tmp_path / "adm.npz")
    with np.load(tmp_path / "adm.npz") as archive:
        array = archive["arr_0"]
    assert array.shape == (20, 6, 8, 3) and array.dtype == np.uint8 and array.max() == 255
    assert sorted(path.name for path in (tmp_path / "images").iterdir())[::19] == ["000000.png", "000019.png"]
    with Image.open(tmp_path / "images" / "000003.png") as image:
        assert (image.mode, image.size) == ("L", (8, 6)) and np.array_equal(np.asarray(image), array[3, ..., 0])


@pytest.mark.parametrize("layout", [(0, 1, 2, 3), (0, 2, 3, 1)], ids=["NCHW", "NHWC"])
@pytest.mark.parametrize("spec", [GRAY, COLOR], ids=str)
def test_layouts_are_told_apart_by_the_shape_of_the_data(spec, layout, tmp_path):
    x = raw(spec)
    np.savez(tmp_path / "a.npz", x.numpy().transpose(layout))
    assert torch.equal(read_foreign(tmp_path / "a.npz", spec), x)


def test_gray_images_without_a_channel_and_vectors(tmp_path):
    np.savez(tmp_path / "a.npz", images=raw(GRAY).numpy()[:, 0])
    assert torch.equal(read_foreign(tmp_path / "a.npz", GRAY), raw(GRAY))
    points = np.random.default_rng(0).normal(size=(9, 2))
    np.savez(tmp_path / "b.npz", points)
    assert np.array_equal(read_foreign(tmp_path / "b.npz", DataSpec((2,))).numpy(), points)


def test_levels_are_rounded_and_not_cut():
    x = torch.arange(17, dtype=torch.uint8).view(1, 1, 1, 17)
    spec = DataSpec((1, 1, 17), 17)
    assert torch.equal(from_8bit(to_8bit(x, spec), spec, "x"), x)
    assert from_8bit(np.full((1, 1, 17, 1), 254, np.uint8), spec, "x").max() == 16


BAD = {
    "floats": (np.zeros((3, 6, 8, 3), np.float32), "save images as 8-bit integers"),
    "another size": (np.zeros((3, 8, 6, 3), np.uint8), r"have shape \[3, 8, 6, 3\], not \[N, 6, 8, 3\]"),
    "no images": (np.zeros((3, 6), np.uint8), r"have shape \[3, 6\]"),
    "none": (np.zeros((0, 6, 8, 3), np.uint8), r"have shape \[0, 6, 8, 3\]"),
    "text": (np.array(["a"]), "not numbers"),
}


@pytest.mark.parametrize("case", BAD)
def test_arrays_that_are_no_such_images(case, tmp_path):
    array, sentence = BAD[case]
    np.savez(tmp_path / "a.npz", array)
    with pytest.raises(UserError, match=sentence):
        read_foreign(tmp_path / "a.npz", COLOR)


def test_color_is_not_taken_for_gray(tmp_path):
    np.savez(tmp_path / "a.npz", raw(COLOR).numpy())
    with pytest.raises(UserError, match="are in color, and the data in gray"):
        read_foreign(tmp_path / "a.npz", GRAY)


def test_files_that_are_no_such_images(tmp_path):
    write_folder(raw(GRAY), GRAY, tmp_path)
    Image.new("L", (9, 6)).save(tmp_path / "x.png")
    with pytest.raises(UserError, match=r"x\.png has 9 x 6 pixels, the data 8 x 6"):
        read_foreign(tmp_path, GRAY)
    (tmp_path / "x.png").write_bytes(b"none")
    with pytest.raises(UserError, match=r"x\.png cannot be decoded"):
        read_foreign(tmp_path, GRAY)
    with pytest.raises(UserError, match="holds files already"):
        write_folder(raw(GRAY), GRAY, tmp_path)
    with pytest.raises(UserError, match="only gray and color images of integers are written"):
        write_folder(torch.zeros(3, 2), DataSpec((2,)), tmp_path / "new")


def test_the_hash_of_a_folder_is_that_of_its_images(tmp_path):
    write_folder(raw(GRAY), GRAY, tmp_path / "a")
    write_folder(raw(GRAY), GRAY, tmp_path / "b")
    assert digest(tmp_path / "a") == digest(tmp_path / "b")
    (tmp_path / "b" / "000001.png").rename(tmp_path / "b" / "1.png")
    assert digest(tmp_path / "a") != digest(tmp_path / "b")


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    """A run on digits, scored by 70 samples."""
    folder = tmp_path_factory.mktemp("external") / "vae"
    small = ["budget.max_batches=3", "validations=1", "callbacks=[]", "trainer.accelerator=cpu", "metrics.fd.repeats=1"]
    return genmodels.train("model=vae", *FD, *small, f"run_dir={folder}")


@pytest.fixture(scope="module")
def images(trained):
    folder = trained.path.parent / "images"
    main(["sample", f"run={trained.path}", "n=70", f"out={folder}"])
    return folder


def test_images_of_a_model_have_the_scores_of_the_model_and_stand_beside_it(trained, images, tmp_path):
    run = genmodels.score(images, "StyleGAN2", *FD, f"run_dir={tmp_path / 'run'}")
    own, external = trained.scores["fd_digits_70"], run.scores["fd_digits_70"]
    assert external.value == pytest.approx(own.value, rel=1e-6) and run.record["external"]["n"] == 70
    results = genmodels.compare(trained, run)
    (column,) = [column for column in results.columns if column.name == "fd_digits_70"]
    assert set(results.columns[column]) == {"VAE", "StyleGAN2 (external)"}
    assert (run.path / "samples" / "final.png").exists()


def test_the_command_adds_scores_of_the_same_samples_to_the_same_folder(images, tmp_path, capsys):
    words = ["score", f"samples={images}", "name=A", f"run_dir={tmp_path / 'run'}", "data=digits"]
    main([*words, "metrics=[memorization,likelihood]", "metrics.memorization.n=20"])
    assert "no likelihood: A has no likelihood" in capsys.readouterr().out
    main([*words, "metrics=[kd]", "metrics.kd.n=70"])
    record = json.loads((tmp_path / "run" / "run.json").read_text())
    assert {"copies_20", "kd_digits_70"} <= set(record["metrics"]) and record["status"] == "finished"
    write_folder(raw(DataSpec((1, 8, 8), 17)), DataSpec((1, 8, 8), 17), tmp_path / "others")
    words[1] = f"samples={tmp_path / 'others'}"
    with pytest.raises(SystemExit):
        main([*words, "metrics=[kd]", "metrics.kd.n=20"])
    assert "already holds another run" in capsys.readouterr().err


def test_without_run_dir_the_folder_is_named_by_the_name(images, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    run = genmodels.score(images, "B", *FD)
    assert run.path.name.endswith("_B_digits") and run.path.relative_to(tmp_path).parts[0] == "runs"


def test_a_run_is_evaluated_by_a_folder_of_images_too(trained, images):
    again = genmodels.evaluate(trained, samples=images)
    (name,) = (name for name in again.scores if name.startswith("fd_digits_70[samples=images@"))
    assert again.scores[name].value == pytest.approx(trained.scores["fd_digits_70"].value, rel=1e-6)


REFUSED = {
    "no file": (["samples=nowhere", "name=A"], "there is no file nowhere"),
    "an empty folder": (["samples=none", "name=A"], "none contains no PNG or JPEG image; fix samples."),
    "no samples": (["name=A"], "name the samples"),
    "no name": (["samples=IMAGES"], "name the model that made them"),
    "a name that is none": (["samples=IMAGES", "name=a/b"], "name must be of letters"),
    "a model": (["samples=IMAGES", "name=A", "model=vae"], "model=vae has no effect"),
    "other data": (["samples=IMAGES", "name=A", "data=gaussian"], "are images; the data are"),
    "unknown metric": (["samples=IMAGES", "name=A", "metrics=[kdd]"], "unknown metrics 'kdd'"),
    "too few": (["samples=IMAGES", "name=A", "metrics=[fd]", "metrics.fd.n=71"], "the file holds 70 samples"),
}


@pytest.mark.parametrize("case", REFUSED)
def test_what_cannot_be_scored_is_refused_in_a_sentence(case, images, tmp_path, capsys, monkeypatch):
    monkeypatch.chdir(tmp_path)
    words, sentence = REFUSED[case]
    (tmp_path / "none").mkdir()
    with pytest.raises(SystemExit):
        main(["score", *(word.replace("IMAGES", str(images)) for word in words)])
    (error,) = capsys.readouterr().err.splitlines()
    assert sentence in error
    assert not [*tmp_path.rglob("run.json")] and not [*tmp_path.glob("runs/*/*")]


def test_a_refused_score_leaves_those_that_are_there(images, tmp_path):
    words = ["data=digits", f"run_dir={tmp_path / 'run'}"]
    genmodels.score(images, "A", *words, "metrics.memorization.n=20", metrics=["memorization"])
    before = (tmp_path / "run" / "run.json").read_bytes()
    with pytest.raises(UserError, match="the file holds 70 samples"):
        genmodels.score(images, "A", *words, "metrics.fd.n=100", metrics=["fd"])
    assert (tmp_path / "run" / "run.json").read_bytes() == before


@pytest.mark.parametrize("command", ["evaluate", "resume", "sample", "export"])
def test_there_is_no_model_to_restore(command, images, tmp_path, capsys):
    run = genmodels.score(images, "A", "data=digits", "metrics=[]", f"run_dir={tmp_path / 'run'}")
    with pytest.raises(SystemExit):
        main(
            [command, f"run={run.path}", f"out={tmp_path / 'new'}"]
            if command == "export"
            else [command, f"run={run.path}"]
        )
    assert "has scores of samples that were made elsewhere, and no model" in capsys.readouterr().err


@pytest.mark.parametrize("words", [["out=a.png", "format=adm"], ["out=a.npz", "format=x"], ["out=a.gif"]], ids=" ".join)
def test_formats_that_are_none(trained, words, capsys):
    with pytest.raises(SystemExit):
        main(["sample", f"run={trained.path}", *words])
    assert len(capsys.readouterr().err.splitlines()) == 1
