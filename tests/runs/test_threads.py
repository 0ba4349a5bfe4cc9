"""The cores are shared by the processes of genmodels that compute at a time."""

from __future__ import annotations

import subprocess
import sys
import tempfile

import pytest
import torch
from processes import CONTEXT

from genmodels.runs import threads
from genmodels.runs.threads import set_threads


def count(folder, told, ended):
    """Compute in a process of its own until ``ended``, and tell how many others do, by locks in ``folder``."""
    tempfile.tempdir = str(folder)
    told.put(threads.others())
    ended.wait(60)


@pytest.fixture
def four_cores(monkeypatch):
    """A process with four cores and no OMP_NUM_THREADS."""
    before = torch.get_num_threads()
    monkeypatch.setattr(threads, "MOST", 4)
    monkeypatch.delenv("OMP_NUM_THREADS", raising=False)
    torch.set_num_threads(4)
    yield
    torch.set_num_threads(before)


@pytest.mark.parametrize(
    ("others", "recorded", "number"), [(0, None, 4), (1, None, 2), (2, None, 1), (9, None, 1), (1, 3, 3), (0, 1, 1)]
)
def test_cores_are_divided_unless_the_run_has_a_number(four_cores, monkeypatch, others, recorded, number):
    monkeypatch.setattr(threads, "others", lambda: others)
    assert set_threads(recorded) == ""
    assert torch.get_num_threads() == number


def test_a_number_that_this_machine_lacks_is_not_repeated_which_is_said(four_cores, monkeypatch):
    monkeypatch.setattr(threads, "others", lambda: 0)
    assert "began with 8 threads, and this is with 4" in set_threads(8)


def test_the_users_number_holds(four_cores, monkeypatch):
    monkeypatch.setenv("OMP_NUM_THREADS", "4")
    monkeypatch.setattr(threads, "others", lambda: 3)
    assert set_threads(None) == "" and torch.get_num_threads() == 4
    assert "began with 2 threads, and this is with 4" in set_threads(2)


def test_a_number_that_the_program_has_set_holds(four_cores, monkeypatch):
    monkeypatch.setattr(threads, "others", lambda: 3)
    torch.set_num_threads(2)
    assert set_threads(None) == "" and torch.get_num_threads() == 2
    assert "began with 4 threads, and this is with 2" in set_threads(4)


@pytest.mark.parametrize(
    ("given", "found"), [({}, "10000"), ({"GOMP_SPINCOUNT": "7"}, "7"), ({"OMP_WAIT_POLICY": "active"}, "None")]
)
def test_waiting_threads_give_their_cores_away_unless_the_user_decides(given, found):
    kept = {
        name: value for name, value in threads.os.environ.items() if name not in ("GOMP_SPINCOUNT", "OMP_WAIT_POLICY")
    }
    code = "import os, genmodels.launch; print(os.environ.get('GOMP_SPINCOUNT'))"
    done = subprocess.run([sys.executable, "-c", code], env=kept | given, capture_output=True, text=True)
    assert done.stdout.strip() == found


def test_processes_count_those_that_live(tmp_path):
    def start():
        told, ended = CONTEXT.Queue(), CONTEXT.Event()
        process = CONTEXT.Process(target=count, args=(tmp_path, told, ended))
        process.start()
        return process, ended, told.get(timeout=60)

    def end(process, ended, _):
        ended.set()
        process.join(60)

    first, _, alone = start()
    second = start()
    first.kill()
    first.join()
    third = start()
    assert (alone, second[2], third[2]) == (0, 1, 1)
    end(*second)
    end(*third)
    fourth = start()
    end(*fourth)
    assert fourth[2] == 0


@pytest.mark.parametrize("trap", ["a link", "a folder for all"])
def test_a_folder_that_another_user_may_write_is_left_alone(trap, tmp_path, monkeypatch):
    monkeypatch.setattr(threads.tempfile, "gettempdir", lambda: str(tmp_path))
    monkeypatch.setattr(threads.getpass, "getuser", lambda: "me")
    place, other = tmp_path / "genmodels-me", tmp_path / "other"
    other.mkdir(mode=0o700)
    (other / "12.lock").touch()
    if trap == "a link":
        place.symlink_to(other)
    else:
        other.rename(place)
        place.chmod(0o777)
    threads.others.cache_clear()
    try:
        assert threads.others() == 0 and [file.name for file in place.iterdir()] == ["12.lock"]
    finally:
        threads.others.cache_clear()


def test_without_a_folder_for_locks_nobody_is_counted(tmp_path, monkeypatch):
    monkeypatch.setattr(threads.tempfile, "gettempdir", lambda: str(tmp_path / "missing"))
    threads.others.cache_clear()
    try:
        assert threads.others() == 0
    finally:
        threads.others.cache_clear()
