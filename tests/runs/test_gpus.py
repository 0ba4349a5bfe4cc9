"""The processes of a parallel sweep have one GPU each."""

from __future__ import annotations

import os
import tempfile

import pytest
from processes import CONTEXT

from genmodels.runs import gpus
from genmodels.runs.gpus import VISIBLE, take_gpu


def two():
    """As many GPUs as a machine with two has."""
    return 2


def take(folder, queue, release):
    """Take a GPU in a process of its own, by locks in ``folder``, tell which, and hold it until ``release``."""
    os.environ.pop(VISIBLE, None)
    tempfile.tempdir = str(folder)
    queue.put((take_gpu(two), os.environ.get(VISIBLE)))
    release.wait(60)


def test_each_process_takes_another_gpu_until_none_is_left(tmp_path):
    queue, release = CONTEXT.Queue(), CONTEXT.Event()
    processes = [CONTEXT.Process(target=take, args=(tmp_path, queue, release)) for _ in range(3)]
    for process in processes:
        process.start()
    taken = [queue.get(timeout=60) for _ in processes]
    release.set()
    for process in processes:
        process.join(60)
    assert sorted(taken, key=str) == [("0", "0"), ("1", "1"), (None, None)]


@pytest.mark.parametrize(("given", "count", "names"), [(None, 3, ["0", "1", "2"]), ("4,7", 2, ["4", "7"]), ("", 0, [])])
def test_only_visible_gpus_are_taken(given, count, names, monkeypatch):
    monkeypatch.delenv(VISIBLE, raising=False)
    if given is not None:
        monkeypatch.setenv(VISIBLE, given)
    assert gpus.visible(lambda: count) == names


def test_where_there_is_one_gpu_nothing_is_hidden(monkeypatch):
    monkeypatch.delenv(VISIBLE, raising=False)
    assert take_gpu(lambda: 1) is None
    assert VISIBLE not in os.environ
