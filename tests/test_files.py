"""Atomic writes: a file is the old one or the new one, never a part of it."""

from __future__ import annotations

import os
import stat

import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file

from genmodels.files import atomic, write_whole


def test_a_failure_leaves_the_old_file_and_nothing_beside_it(tmp_path):
    path = tmp_path / "run.json"
    write_whole(path, "old")
    with pytest.raises(RuntimeError, match="half way"), atomic(path) as part:
        part.write_text("ne")
        assert path.read_text() == "old"
        raise RuntimeError("half way")
    assert path.read_text() == "old"
    assert list(tmp_path.iterdir()) == [path]


def test_the_old_file_is_replaced(tmp_path):
    path = tmp_path / "run.json"
    for text in ("old", "new"):
        write_whole(path, text)
    assert path.read_text() == "new"
    assert list(tmp_path.iterdir()) == [path]


def test_a_folder_that_does_not_exist_is_not_made(tmp_path):
    with pytest.raises(FileNotFoundError):
        write_whole(tmp_path / "misspelled" / "run.json", "")
    assert not list(tmp_path.iterdir())


def test_two_writers_of_one_file_do_not_interfere(tmp_path):
    path = tmp_path / "x.txt"
    with atomic(path) as first, atomic(path) as second:
        first.write_text("first")
        second.write_text("second")
    assert path.read_text() == "first"  # its block ended last


def test_a_writer_that_wrote_nothing_raises(tmp_path):
    with pytest.raises(FileNotFoundError), atomic(tmp_path / "x.txt"):
        pass


def test_writers_that_append_an_ending_find_it_there(tmp_path):
    with atomic(tmp_path / "x.npz") as part:
        np.savez(part, x=np.arange(3))
    assert np.load(tmp_path / "x.npz")["x"].tolist() == [0, 1, 2]
    with atomic(tmp_path / "x.safetensors") as part:
        save_file({"x": torch.arange(3)}, part)
    assert load_file(tmp_path / "x.safetensors")["x"].tolist() == [0, 1, 2]
    assert len(list(tmp_path.iterdir())) == 2


@pytest.mark.skipif(os.name != "posix", reason="permissions of POSIX")
def test_permissions_are_those_of_any_new_file(tmp_path):
    (tmp_path / "plain").write_text("")
    write_whole(tmp_path / "whole", "")
    modes = [stat.S_IMODE((tmp_path / name).stat().st_mode) for name in ("plain", "whole")]
    assert modes[0] == modes[1]
