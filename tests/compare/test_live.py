"""``watch=true``: shown again as jobs finish, and over when none runs any more."""

from __future__ import annotations

import io
import json
import sys
from contextlib import ExitStack

import pytest
from compare.folders import bits, write_run
from rich.console import Console

from genmodels.cli import main
from genmodels.compare import live
from genmodels.runs.lock import claimed


class Clock:
    """In place of time: sleeping runs the next step of a play and takes no time."""

    def __init__(self, *steps):
        self.steps, self.slept = list(steps), []

    def sleep(self, seconds):
        self.slept.append(seconds)
        if self.steps:
            self.steps.pop(0)()

    def strftime(self, form):
        return "12:00:00"


@pytest.fixture
def play(tmp_path, monkeypatch):
    """A finished and a running job, which ends at the third look; ``watch`` sees it on the console given."""
    write_run(tmp_path / "a", "A", bits(1.5))
    write_run(tmp_path / "b", "B", status="running")
    held, kept = ExitStack(), []
    held.enter_context(claimed(tmp_path / "b"))

    def end():
        held.close()
        record = json.loads((tmp_path / "b" / "run.json").read_text())
        scores = {score.name: score.to_dict() for score in [bits(1.2)]}
        (tmp_path / "b" / "run.json").write_text(json.dumps(record | {"status": "finished", "metrics": scores}))

    def watch(*steps, terminal=False, interval=10.0):
        clock = Clock(*(end if step == "end" else step for step in steps))
        monkeypatch.setattr(live, "time", clock)
        file = io.StringIO()
        console = Console(file=file, width=100, force_terminal=terminal, height=20)
        monkeypatch.setattr(live, "terminal", lambda: console)
        try:
            live.watch([str(tmp_path)], interval, kept.append)
        finally:
            play_text.append(file.getvalue())
        return clock, kept

    play_text = []
    with held:
        yield watch, play_text


def test_tables_are_printed_when_something_changed_and_the_watch_ends_with_the_last_job(play):
    watch, text = play
    clock, kept = watch(lambda: None, "end")
    assert text[0].count("Comparison of") == 2 and len(kept) == 2
    assert text[0].index("Comparison of 1 run, 1 running") < text[0].index("Comparison of 2 runs\n")
    assert clock.slept == [10.0] * 4  # it was seen to run at the second look; 30 seconds later no job has followed


def test_a_terminal_is_redrawn_and_keeps_the_last_tables(play):
    watch, text = play
    watch(lambda: None, "end", terminal=True)
    assert "12:00:00: 1 running; Ctrl-C ends" in text[0] and "\x1b[2K" in text[0]
    assert text[0].rstrip().rpartition("Comparison of 2 runs")[2].count("<= 1.200") == 1


def test_nothing_runs_at_all(tmp_path, play):
    watch, text = play
    (tmp_path / "b" / "run.json").unlink()
    clock, kept = watch()
    assert clock.slept == [] and len(kept) == 1 and text[0].count("Comparison of") == 1


def test_an_interrupt_leaves_the_last_tables(play):
    def interrupt():
        raise KeyboardInterrupt

    watch, text = play
    with pytest.raises(KeyboardInterrupt):
        watch(interrupt, terminal=True)
    assert text[0].rstrip().rpartition("Comparison of 1 run, 1 running")[2].count("<= 1.500") == 1


def test_the_report_is_written_anew(tmp_path, monkeypatch, capsys):
    write_run(tmp_path / "a", "A", bits(1.5))
    monkeypatch.setattr(sys, "argv", ["elsewhere"])
    main(["compare", str(tmp_path), "watch=true", "interval=0.5", f"html={tmp_path / 'x.html'}"])
    assert f"genmodels compare {tmp_path}" in (tmp_path / "x.html").read_text()
    assert capsys.readouterr().out.count("Comparison of 1 run") == 1


OPTIONS = {"watch=yes": "watch must be true or false", "interval=3": "is that of watch=true"}
OPTIONS |= {"watch=true format=md": "leave out format="}
OPTIONS |= {f"watch=true interval={value}": "must be a number of seconds" for value in ("0", "-1", "1e9", "nan", "x")}


@pytest.mark.parametrize(("words", "fix"), OPTIONS.items())
def test_bad_options_name_the_fix(tmp_path, capsys, words, fix):
    write_run(tmp_path / "a", "A", bits(1.5))
    with pytest.raises(SystemExit):
        main(["compare", str(tmp_path), *words.split()])
    assert fix in capsys.readouterr().err
