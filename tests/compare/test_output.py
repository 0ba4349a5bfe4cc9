"""The comparison on a terminal, in Markdown, LaTeX, CSV and JSON."""

from __future__ import annotations

import csv
import io
import json
import math
import runpy

import pytest
from compare.folders import bits, fd, printed, write_run, write_several
from conformance.kinds import ROOT

from genmodels.cli import main
from genmodels.compare import FORMATS, compared, find_runs
from genmodels.composition import options


@pytest.fixture
def several(tmp_path):
    return write_several(tmp_path)


def test_the_terminal_output_is_complete_and_within_the_width(several):
    text = printed(compared(find_runs(several)))
    assert max(map(len, text.splitlines())) <= 100
    for expected in ("<= 1.200 ± 0.010 #1*", "fd_digits_10000", "samples/s", "Somebody & Co. 2019", "peak", "256"):
        assert expected in text
    assert "2_c: failed: the loss is not finite." in text and "B on digits: no ode: it is no diffusion" in text


def test_long_labels_are_folded_and_never_cut(tmp_path):
    for i in range(2):
        words = [f"model.network.width={i}", f"model.optimizer.lr=0.00123456789{i + 2}", f"model.name={i}{'long' * 12}"]
        sampled = [fd(float(i + 1), n=n) for n in (360, 1000, 2000, 5000)]
        write_run(tmp_path / f"{i}", "VAE", bits(1.0 + i), *sampled, config_hash=str(i), overrides=words)
    results = compared(find_runs(tmp_path))
    text = printed(results, width=80)
    assert max(map(len, text.splitlines())) <= 80
    assert results.groups[0].label == f"VAE width=0 lr=0.001234567892 name=0{'long' * 12}"
    assert text.replace(" ", "").replace("\n", "").count("name=0longlong") > 0 and "…" not in text


def test_headings_are_never_broken():
    kept = find_runs(ROOT / "tests" / "results")
    text, sets = printed(compared(kept)), len({run.data for run in kept})
    assert text.count("parameters") == sets == text.count("no validation") > 1


def test_the_table_of_one_group_is_transposed(several):
    text = printed(compared(find_runs(several / "0_a")))
    assert any(line.split() == ["parameters", "1,000"] for line in text.splitlines())


def test_json_and_csv_are_complete(several):
    results = compared(find_runs(several))
    found = json.loads(FORMATS["json"](results))
    first = found["groups"][0]
    assert first["expected"][0]["value"] == 1.06 and first["passes_per_sample"] == 1 and first["seeds"] == 1
    score = first["scores"][0]
    assert (score["name"], score["value"], score["se"], score["kind"], score["n"], score["unit"], score["low"]) == (
        "bits_per_dim", 1.2, 0.01, "lower_bound", 360, "bits/dim", None,
    )  # fmt: skip
    assert score["runs"][0]["protocol"] == {"split": "test", "weights": "ema"}
    assert found["unfinished"] == [{"run": "2_c", "reason": "failed: the loss is not finite."}]
    rows = list(csv.DictReader(io.StringIO(FORMATS["csv"](results))))
    assert len(rows) == 13 and rows[-1]["label"] == "2_c" and rows[-1]["status"] == "failed: the loss is not finite."
    assert {row["label"] for row in rows[:-1]} == {"A_1", "B"} and rows[0]["conditions"] == "split=test; weights=ema"


def test_json_has_no_infinity(tmp_path):
    write_run(tmp_path / "a", "A", fd(math.nan))
    assert json.loads(FORMATS["json"](compared(find_runs(tmp_path))))["groups"][0]["scores"][0]["value"] is None


def test_latex_is_escaped(several):
    text = FORMATS["latex"](compared(find_runs(several)))
    assert r"A\_1 & $\le$ 1.200 $\pm$ 0.010 \#1*" in text and r"Somebody \& Co. 2019" in text
    assert text.count(r"\begin{tabular}") == text.count(r"\end{tabular}") == 3


@pytest.mark.parametrize("words", [["format=md"], ["--format", "md"], ["--format=md"]], ids=" ".join)
def test_the_command_line_takes_both_spellings(several, words, capsys):
    main(["compare", str(several / "?_[ab]"), *words, "--html", str(several / "report.html")])
    assert capsys.readouterr().out.startswith("**digits: quality**")
    assert (several / "report.html").stat().st_size > 10_000


@pytest.mark.parametrize("words", [["format=xml"], ["--form=md"], ["--html"], ["html=/nowhere/x.html"]], ids=" ".join)
def test_the_command_line_refuses_the_rest(several, words):
    with pytest.raises(SystemExit):
        main(["compare", str(several), *words])


def test_the_results_page_shows_the_kept_runs():
    """Regenerate with: python tests/results/keep.py"""
    folder = ROOT / "tests" / "results"
    runs = find_runs(folder)
    recipes = {name for name in options("experiment") if not name.endswith("cifar10")} - {"vae_binarized_mnist"}
    assert {f"{run.model.lower()}_{run.data}" for run in runs} == recipes
    assert runpy.run_path(str(folder / "keep.py"))["readme"](runs) == (folder / "README.md").read_text()
