"""Run folders of strangers, and damaged ones."""

from __future__ import annotations

import csv
import io
import json
import math

import pytest
from compare.folders import bits, fd, printed, sentences, write_run

from genmodels.cli import main
from genmodels.compare import FORMATS, compared, find_runs, markdown


@pytest.mark.parametrize(
    "text", ["{", "[]", '"x"', '{"metrics": 3}', '{"metrics": {"fd": {"value": 1}}}', "[" * 100_000, "\xff"]
)
def test_an_invalid_record_is_named_and_the_rest_is_compared(tmp_path, text):
    write_run(tmp_path / "a", "A", bits(1.0))
    (tmp_path / "b").mkdir()
    (tmp_path / "b" / "run.json").write_text(text, encoding="latin-1")
    results = compared(find_runs(tmp_path))
    assert [group.label for group in results.groups] == ["A"]
    assert "b: unreadable: its run.json cannot be read" in sentences(results)
    assert [run.name for run in results.unreadable] == ["b"]


def test_missing_records_are_named(tmp_path):
    write_run(tmp_path / "sweep" / "0_a", "A", bits(1.0))
    (tmp_path / "sweep" / "1_b" / "checkpoints").mkdir(parents=True)
    (tmp_path / "sweep" / "1_b" / "config.yaml").write_text("seed: 0\n")
    (tmp_path / "empty").mkdir()
    results = compared(find_runs(tmp_path / "sweep", tmp_path / "empty"))
    reasons = {run.name: run.reason for run in results.unreadable}
    assert reasons == {"1_b": "it has no run.json", "empty": "there is no run.json in or under it"}
    text = sentences(results)
    assert "Comparison of 1 run" in text and "1_b: unreadable" in text and "empty: unreadable" in text
    assert [each["run"] for each in json.loads(FORMATS["json"](results))["unreadable"]] == ["1_b", "empty"]
    assert find_runs(tmp_path / "empty") == []


def test_every_run_is_named_in_every_format_whatever_became_of_it(tmp_path, capsys):
    places = tmp_path / "runs"
    write_run(places / "0_a", "A", bits(1.0))
    write_run(places / "1_silent", "Silent")
    for status in ("failed", "running", "interrupted"):
        write_run(places / f"2_{status}", "B", status=status)
    page = tmp_path / "page.html"
    words = {"": ("0_a",), f"html={page}": (), **{f"format={form}": () for form in FORMATS}}

    def shown(word, status):
        try:
            main(["compare", str(places), *([word] if word else [])])
            ended = 0
        except SystemExit as end:
            ended = end.code
        assert ended == status
        out = capsys.readouterr().out.replace("\\", "")
        return page.read_text() if word.startswith("html") else out

    named = ["Silent", "2_failed", "2_running", "2_interrupted"]
    for word in words:
        text = shown(word, 0)
        assert all(name in text for name in named), word
    write_run(places / "3_unreadable", "C")
    (places / "3_unreadable" / "run.json").write_text("{")
    (places / "4_half").mkdir()
    (places / "4_half" / "config.yaml").write_text("seed: 0\n")
    (places / ".hydra").mkdir()
    (places / ".hydra" / "config.yaml").write_text("seed: 0\n")
    for word in words:
        text = shown(word, 1)
        assert all(name in text for name in [*named, "3_unreadable", "4_half"]) and ".hydra" not in text, word


def test_no_cell_of_a_csv_is_a_formula(tmp_path):
    for number, begin in enumerate("=+-@\t\r"):
        words = [f"{begin}cmd|' /C calc'!A0"]
        write_run(tmp_path / f"={number}", words[0], bits(-1.0), config_hash=words[0], overrides=words, data="@data")
    write_run(tmp_path / "=z", "B", status="failed", error="=1+1")
    rows = list(csv.reader(io.StringIO(FORMATS["csv"](compared(find_runs(tmp_path))))))
    cells = [cell for row in rows[1:] for cell in row]
    assert not [cell for cell in cells if cell.startswith(("=", "+", "@", "\t", "\r"))]
    assert "-1.0" in cells and all(float(cell) < 0 for cell in cells if cell.startswith("-"))  # numbers
    assert "'=cmd|' /C calc'!A0" in cells and "'@data" in cells and "'=z" in cells


RECORDS = (
    {"cost": {"parameters": "many"}}, {"cost": {"examples": 10**400}}, {"overrides": "x"}, {"expected": [1]},
    {"cost": 3}, {"refusals": []}, {"git": "x", "versions": 1},
)  # fmt: skip


def test_types_that_are_wrong_are_found_before_they_are_used(tmp_path):
    for number, record in enumerate(RECORDS):
        write_run(tmp_path / f"{number}", "A", bits(1.0), **record)
    write_run(tmp_path / "9", "A", bits("1.0"))
    write_run(tmp_path / "10", "A", fd(1.0, floor="low"))
    assert len(compared(find_runs(tmp_path)).unfinished) == 8


@pytest.mark.parametrize(
    "entries",
    [
        {"incidental": "split"}, {"incidental": [3]}, {"incidental": None}, {"baselines": ["floor"]},
        {"baselines": {"floor": 1}}, {"baselines": {"weights": "weights"}}, {"baselines": 3}, {"quantity": ["fd"]},
        {"quantity": {}, "n": "x"}, {"distance": "yes"}, {"better": []}, {"better": "sideways"}, {"unit": []},
        {"protocol": []}, {"protocol": {"of": "many"}}, {"protocol": {"flag": ["a"]}}, {"value": math.nan, "se": "x"},
        {"value": math.nan, "se": ""}, {"baselines": {"floor": "floor"}, "protocol": {"floor": None}},
    ],
    ids=str,
)  # fmt: skip
def test_scores_of_the_wrong_types_are_unreadable(tmp_path, entries):
    write_run(tmp_path / "a", "A", bits(1.0), fd(2.0))
    write_run(tmp_path / "b", "B", bits(1.0), fd(2.0, weights="ema"))
    file = tmp_path / "b" / "run.json"
    record = json.loads(file.read_text())
    record["metrics"]["fd_digits_360"] |= entries
    file.write_text(json.dumps(record))
    results = compared(find_runs(tmp_path))
    assert [run.name for run in results.unreadable] == ["b"]
    assert all(form(results) for form in FORMATS.values())


def test_nothing_from_a_run_folder_steers_the_terminal_or_the_markup(tmp_path):
    write_run(tmp_path / "a", "[red]A\x1b[31m|<b>", bits(1.0))
    results = compared(find_runs(tmp_path))
    assert "\x1b" not in printed(results) and "[red]A" in sentences(results)
    assert "\\|&lt;b&gt;" in markdown(results)


def test_a_place_that_is_not_there(tmp_path, capsys):
    for words in (["compare", str(tmp_path / "none")], ["compare", str(tmp_path)], ["compare"]):
        with pytest.raises(SystemExit):
            main(words)
    err = capsys.readouterr().err
    assert "there is no " in err and "there is no run.json under" in err and "name one or more folders" in err
