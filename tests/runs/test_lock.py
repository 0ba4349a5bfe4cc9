"""One writer per run folder, and what readers are told of it."""

from __future__ import annotations

import json
import os
import signal
import time

import pytest
from processes import CONTEXT

from genmodels.compare import find_runs
from genmodels.errors import UserError
from genmodels.runs.lock import NAME, claimed, is_claimed


def hold(folder, ready):
    with claimed(folder):
        ready.set()
        time.sleep(60)


@pytest.fixture
def other(tmp_path):
    """A process that holds the lock of ``tmp_path / "run"``."""
    ready = CONTEXT.Event()
    process = CONTEXT.Process(target=hold, args=(tmp_path / "run", ready))
    process.start()
    assert ready.wait(60)
    yield process
    process.kill()
    process.join()


def write_record(folder, status):
    (folder / "run.json").write_text(json.dumps({"status": status, "metrics": {}, "model": "VAE", "data": "digits"}))


def test_a_second_process_is_refused_with_the_name_of_the_first(other, tmp_path):
    refusal = rf"run is in use by process {other.pid} on .* since 20.*; wait for its end"
    with pytest.raises(UserError, match=refusal), claimed(tmp_path / "run"):
        pass
    assert is_claimed(tmp_path / "run")


def test_a_lock_dies_with_its_process_and_running_is_told_from_killed(other, tmp_path):
    write_record(tmp_path / "run", "running")
    (running,) = find_runs(tmp_path)
    assert running.status == "running" and running.reason.startswith(f"process {other.pid} on ")
    os.kill(other.pid, signal.SIGKILL)
    other.join()
    (killed,) = find_runs(tmp_path)
    assert killed.status == "killed" and "genmodels resume run=" in killed.reason
    (tmp_path / "run" / ".part-1234-run.json").write_text("half")
    with claimed(tmp_path / "run"):
        assert is_claimed(tmp_path / "run") and not list((tmp_path / "run").glob(".part-*"))


def test_nothing_is_left_of_a_lock(tmp_path):
    with claimed(tmp_path / "a" / "b"):
        assert (tmp_path / "a" / "b" / NAME).exists()
    assert not (tmp_path / "a" / "b").exists()
    (tmp_path / "c").mkdir()
    (tmp_path / "c" / "file").write_text("")
    with claimed(tmp_path / "c"):
        pass
    assert [path.name for path in (tmp_path / "c").iterdir()] == ["file"]


@pytest.mark.parametrize("content", ["", "{}", "[1]", '{"process": 1}', "\x00"])
def test_a_lock_of_unknown_content_names_nobody(other, tmp_path, content):
    (tmp_path / "run" / NAME).write_text(content)
    with pytest.raises(UserError, match="in use by another process"), claimed(tmp_path / "run"):
        pass


def test_a_folder_that_cannot_be_written_is_refused(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(OSError, match="run"), claimed(tmp_path / "file" / "run"):
        pass
