"""Progress as plain lines, without a terminal."""

from __future__ import annotations

import pytest

from genmodels.progress import Reporter, track


@pytest.fixture
def clock(monkeypatch):
    """A clock in seconds that only tests advance."""
    now = [0.0]
    monkeypatch.setattr("genmodels.progress.time.monotonic", lambda: now[0])
    return now


def lines(capsys):
    return capsys.readouterr().out.splitlines()


def test_a_line_for_every_tenth_with_the_status_and_the_time_left(clock, capsys):
    reporter = Reporter("VAE")
    reporter.start()
    for step in range(1, 101):
        clock[0] += 1
        reporter.update(step / 100, lambda: "5 batches/s")
    reporter.stop()
    found = lines(capsys)
    assert len(found) == 10
    assert found[0] == "VAE   10%  5 batches/s  90 s left" and found[-1] == "VAE  100%  5 batches/s  0 s left"


def test_what_was_done_before_does_not_count_as_speed(clock, capsys):
    reporter = Reporter("VAE", done=0.5)
    clock[0] = 10.0
    reporter.update(0.5)
    assert lines(capsys) == []  # this tenth was reported before
    reporter.update(0.6)
    assert lines(capsys) == ["VAE   60%  40 s left"]


def test_a_status_is_computed_only_to_be_shown(clock):
    Reporter("VAE").update(0.05, lambda: pytest.fail("nothing is shown yet"))


def test_short_work_prints_nothing_and_long_work_lines(clock, capsys):
    def work(seconds):
        for item in range(10):
            clock[0] += seconds
            yield item

    assert list(track(work(0.25), 10, "kernel")) == list(range(10))
    assert lines(capsys) == []
    assert list(track(work(1.0), 10, "kernel")) == list(range(10))
    assert [line.split()[1] for line in lines(capsys)] == ["40%", "50%", "60%", "70%", "80%", "90%", "100%"]
