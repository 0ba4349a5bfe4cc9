"""What can happen to a machine: full disks, folders that vanish, memory that cannot be had; one sentence, no halves."""

from __future__ import annotations

import errno
import os
import shutil
import time
from types import SimpleNamespace

import numpy as np
import psutil
import pytest
from conformance.test_laboratory import settings
from PIL import Image

from genmodels import files
from genmodels.cli import main
from genmodels.data.sources import ImageFolder
from genmodels.errors import UserError
from genmodels.experiment import run
from genmodels.files import atomic
from genmodels.hardware import GIB
from genmodels.hints import is_bad_input, sentence
from genmodels.metrics import LikelihoodEvaluation

FULL = "No space left on device; free some space on that disk, or choose another folder."
pytestmark = pytest.mark.skipif(not os.path.exists("/dev/full"), reason="Linux")


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    """The folder of a small trained run, which tests copy before they change it."""
    folder = tmp_path_factory.mktemp("faults")
    run(settings("vae", "gray images", folder, "budget.max_batches=20"))
    return folder / "run"


@pytest.fixture
def copy(trained, tmp_path):
    return shutil.copytree(trained, tmp_path / "copy")


@pytest.fixture
def fill(monkeypatch):
    """A function after which a file cannot be written for want of space, as the kernel has it."""
    filled = []

    def token(size):
        for path in filled:
            part = path.with_name(f".part-full-{path.name}")
            if path.parent.is_dir() and not part.is_symlink():
                part.symlink_to("/dev/full")
        return "full"

    monkeypatch.setattr(files.secrets, "token_hex", token)
    return filled.append


@pytest.fixture
def fails(capsys):
    """A function that runs a command which fails, and returns its one sentence."""

    def call(*words):
        with pytest.raises(SystemExit) as stop:
            main([str(word) for word in words])
        err = [line for line in capsys.readouterr().err.splitlines() if "%" not in line]  # without progress
        assert stop.value.code == 1 and len(err) == 1 and err[0].startswith("error: ")
        return err[0]

    return call


def content(folder):
    return {path: path.read_bytes() for path in folder.rglob("*") if path.is_file() and not path.is_symlink()}


def is_whole(folder):
    return all(path.stat().st_size for path in folder.rglob("*")) and not list(folder.rglob(".*"))


@pytest.mark.parametrize(("out", "file"), [("a.png", "a.png"), ("a.npz", "a.npz"), ("a.png", "a_interpolation.gif")])
def test_samples_on_a_full_disk(fails, fill, copy, tmp_path, out, file):
    fill(tmp_path / file)
    error = fails("sample", f"run={copy}", "n=4", f"out={tmp_path / out}")
    assert error.endswith(f"{file} cannot be read or written: {FULL}")
    assert not (tmp_path / file).exists() and is_whole(tmp_path)


MEMORIZATION = ("metrics=[memorization]", "metrics.memorization.n=4")


@pytest.mark.parametrize(
    ("file", "words"),
    [
        ("run.json", ()),
        ("samples/final.png", ()),
        ("samples/interpolation.png", ()),
        ("evaluation/neighbors.png", MEMORIZATION),
        ("samples/drawn.npz", MEMORIZATION),
    ],
)
def test_an_evaluation_on_a_full_disk_leaves_the_record_as_it_was(fails, fill, copy, file, words):
    before = content(copy)
    (copy / file).parent.mkdir(exist_ok=True)
    fill(copy / file)
    assert f"{file} cannot be read or written: {FULL}" in fails("evaluate", f"run={copy}", *words)
    after = content(copy)
    assert is_whole(copy) and (before == after or file == "samples/drawn.npz")


def test_a_report_on_a_full_disk(fails, fill, copy, tmp_path):
    fill(tmp_path / "report.html")
    assert "report.html cannot be written" in fails("compare", copy, f"html={tmp_path / 'report.html'}")
    assert is_whole(tmp_path)


@pytest.mark.parametrize("file", ["config.yaml", "run.json"])
def test_a_disk_that_is_full_when_the_run_begins(fill, tmp_path, file):
    (tmp_path / "run").mkdir()
    fill(tmp_path / "run" / file)
    with pytest.raises((UserError, OSError), match="No space left on device") as caught:
        run(settings("vae", "gray images", tmp_path))
    assert is_bad_input(caught.value) and file in sentence(caught.value)
    assert is_whole(tmp_path) and not (tmp_path / "run" / "run.json").exists()


def test_an_error_without_a_file_gets_the_name_of_the_target(tmp_path):
    with pytest.raises(OSError, match="No space left") as caught, atomic(tmp_path / "a.png") as part:
        part.write_text("half")
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
    assert caught.value.filename == str(tmp_path / "a.png") and not list(tmp_path.iterdir())


def test_images_that_cannot_be_kept(monkeypatch, tmp_path):
    (tmp_path / "images").mkdir()
    for name in range(4):
        Image.new("L", (8, 8), name).save(tmp_path / "images" / f"{name}.png")

    def refuse(*_):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(os, "posix_fallocate", refuse)
    with pytest.raises(UserError, match=r"cannot be written \(No space left on device\); set data\.root"):
        ImageFolder(str(tmp_path / "images"), [1, 8, 8], test_size=1).load(tmp_path / "root")
    assert not list((tmp_path / "root" / "image_folder").iterdir())


@pytest.mark.parametrize("file", ["samples/final.png", "run.json", "metrics.csv"])
def test_a_folder_where_a_file_is_to_be_written(fails, copy, file):
    (copy / file).unlink()
    (copy / file).mkdir()
    assert file.rpartition("/")[2] in fails("resume", f"run={copy}", "budget.max_batches=23")


def test_samples_into_a_folder(fails, copy, tmp_path):
    (tmp_path / "a.png").mkdir()
    error = fails("sample", f"run={copy}", "n=4", f"out={tmp_path / 'a.png'}")
    assert "a.png cannot be read or written: Is a directory" in error


def test_a_file_in_place_of_the_checkpoints(fails, copy):
    shutil.rmtree(copy / "checkpoints")
    (copy / "checkpoints").write_text("a file")
    for command in ("evaluate", "sample"):
        assert "there is no file" in (error := fails(command, f"run={copy}")) and "checkpoints/best.ckpt" in error


@pytest.mark.parametrize("vanish", [shutil.rmtree, lambda folder: folder.rename(folder.with_name("renamed"))])
def test_a_folder_that_vanishes_while_it_is_evaluated(fails, copy, monkeypatch, vanish):
    measure = LikelihoodEvaluation.measure

    def then_vanish(self, subject):
        vanish(copy)
        return measure(self, subject)

    monkeypatch.setattr(LikelihoodEvaluation, "measure", then_vanish)
    assert "run.json" in fails("evaluate", f"run={copy}")
    assert not copy.exists()


@pytest.mark.parametrize("n", ["1000000000", "100000000000000"])
@pytest.mark.parametrize("out", ["a.png", "a.npz"])
def test_samples_that_do_not_fit_into_memory_are_refused_at_once(fails, copy, tmp_path, n, out):
    began = time.monotonic()
    error = fails("sample", f"run={copy}", f"n={n}", f"out={tmp_path / out}")
    assert f"n={n} samples needs" in error and "GiB of memory" in error and time.monotonic() - began < 5
    assert not (tmp_path / out).exists()


def test_an_animation_that_does_not_fit_into_memory(fails, copy, tmp_path, monkeypatch):
    monkeypatch.setattr(psutil, "virtual_memory", lambda: SimpleNamespace(available=GIB))
    assert "an animation of n=50000 samples needs" in fails("sample", f"run={copy}", "n=50000", f"out={tmp_path}/a.png")


@pytest.mark.parametrize("n", ["10**12", "²", "0", "-1", "1.5", "9" * 5000, " "])
def test_numbers_of_samples_that_are_none(fails, copy, n):
    assert "n must be a positive integer" in fails("sample", f"run={copy}", f"n={n}")


def test_a_metric_whose_samples_do_not_fit_into_memory(fails, copy, monkeypatch):
    monkeypatch.setattr("genmodels.metrics.sample_sets.COPIES", 10**15)
    before = content(copy)
    assert "a set of n=4 samples needs" in fails("evaluate", f"run={copy}", *MEMORIZATION, "~callbacks.samples")
    assert content(copy) == before


def test_what_is_written_whole_is_what_was_drawn(copy, tmp_path):
    main(["sample", f"run={copy}", "n=4", f"out={tmp_path / 'a.npz'}"])
    main(["sample", f"run={copy}", "n=4", f"out={tmp_path / 'a.png'}"])
    assert np.load(tmp_path / "a.npz")["x"].shape == (4, 1, 8, 8) and Image.open(tmp_path / "a.png").size == (67, 67)
    assert Image.open(tmp_path / "a_interpolation.gif").n_frames > 1
