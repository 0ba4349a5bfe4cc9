"""The comparison of runs, and the README's tables, generated from the run.json files under tests/results."""

from __future__ import annotations

import csv
import io
import json
import math
import runpy
import sys

import pytest
from conformance.kinds import ROOT
from conformance.test_laboratory import settings
from offline_runs import offline_runs
from omegaconf import OmegaConf
from rich.console import Console

from genmodels import naming
from genmodels.cli import main
from genmodels.compare import FORMATS, compared, find_runs, markdown, print_tables, scores_by_name
from genmodels.compare.ranking import interval, standing
from genmodels.core import Kind, Score
from genmodels.experiment import run as experiment_run
from genmodels.launch import CompareSweep
from genmodels.metrics import SampleSets
from genmodels.metrics.sample_sets import with_observation
from genmodels.runs import RunFolder


def write_run(folder, model, *scores, data="digits", seed=0, **record):
    """Write the folder of a finished run; runs of one model share their config."""
    folder.mkdir(parents=True)
    cost = {"parameters": 1000, "examples": 5120, "train_seconds": 12.3, "peak_memory_bytes": 2**28, "device": "cpu"}
    record = {"status": "finished", "model": model, "data": data, "seed": seed, "config_hash": model, **record}
    record = {"cost": cost, "refusals": {}, "overrides": [], **record}
    record["metrics"] = {score.name: score.to_dict() for score in scores}
    (folder / "run.json").write_text(json.dumps(record))


def bits(value, se=0.01, n=360, kind=Kind.LOWER_BOUND, name="bits_per_dim", **protocol):
    return Score(name, value, "bits/dim", n, se, kind, "lower", {"split": "test", "weights": "ema", **protocol})


def fd(value, se=0.1, n=360, better="lower", **protocol):
    declared = {"quantity": "fd_digits", "baselines": {"floor": "floor"}, "incidental": SampleSets.incidental}
    numbers = (f"fd_digits_{n}", value, "", n, se, None, better, {"floor": 0.75, **protocol})
    return Score(*numbers, **declared, distance=True)


def printed(results, width=100):
    file = io.StringIO()
    print_tables(results, Console(file=file, width=width))
    return file.getvalue()


def sentences(results):
    """The printed text as one line."""
    return " ".join(printed(results).split())


def table(runs):
    """The rows of the first Markdown table, by model."""
    heading, _, *rows = markdown(runs).split("\n\n")[1].splitlines()
    cells = [[cell.strip() for cell in row.strip("|").split(" | ")] for row in (heading, *rows)]
    return {row[0]: dict(zip(cells[0], row, strict=True)) for row in cells[1:]}


# Which scores share a column


def test_scores_of_different_n_never_share_a_column_and_a_note_tells_them_apart(tmp_path):
    write_run(tmp_path / "2_a", "A", bits(1.5), fd(3.0))
    write_run(tmp_path / "10_b", "B", bits(1.2, n=100), fd(2.0, n=1000))
    rows = table(find_runs(tmp_path))
    assert rows["A"]["bits/dim"] == "≤ 1.500 ± 0.010 #2 (n=360)"  # a likelihood of fewer examples is only less certain
    assert rows["B"]["bits/dim"] == "≤ 1.200 ± 0.010 #1\\* (n=100)"
    assert rows["A"]["fd_digits_360 floor 0.750"] == "3.000 ± 0.100" and rows["B"]["fd_digits_360 floor 0.750"] == "-"
    text = sentences(compared(find_runs(tmp_path)))
    assert "bits_per_dim" not in text
    assert "fd_digits_1000 of B has n 1000; fd_digits_360 of A has n 360" in text


@pytest.mark.parametrize(
    "condition",
    [
        {"extractor": "other@1"}, {"split": "val"}, {"observation": "spherical Gaussian"}, {"weights": "raw"},
        {"reference_n": 60}, {"resize": "bilinear"}, {"observation": "mean"}, {"nobody_thought_of_it": True},
    ],
    ids=str,
)  # fmt: skip
def test_scores_of_different_protocols_never_share_a_column(tmp_path, condition):
    common = {"extractor": "x@1", "split": "test", "observation": "the model's own", "weights": "ema", "resize": "none"}
    common |= {"reference_n": 50, "nobody_thought_of_it": False}
    write_run(tmp_path / "a", "A", bits(1.5, **common))
    write_run(tmp_path / "b", "B", bits(1.2, **common | condition))
    results = compared(find_runs(tmp_path))
    assert len(results.columns) == 2
    assert "is kept in 2 columns that do not compare" in sentences(results)
    ((key, value),) = condition.items()
    assert f"{key} {value}" in sentences(results)


def test_models_without_an_observation_share_a_column_with_draws_but_not_with_means(tmp_path):
    for i, sampling in enumerate(({}, {"sampler": "ancestral"}, {"observation": "draw"}, {"observation": "mean"})):
        write_run(tmp_path / f"{i}", f"{i}", fd(1.0, **with_observation({"sampling": sampling})))
    columns = compared(find_runs(tmp_path)).columns
    assert sorted(sorted(cells) for cells in columns.values()) == [["0", "1", "2"], ["3"]]


def test_data_of_another_source_are_other_data(tmp_path):
    write_run(tmp_path / "a", "A", bits(1.5))
    write_run(tmp_path / "b", "B", bits(1.2), overrides=["data.limit=100", "data.batch_size=3"])
    assert compared(find_runs(tmp_path)).data == ["digits", "digits data.limit=100"]


def test_weights_and_data_are_conditions_and_the_checkpoint_and_the_seed_are_not(tmp_path):
    experiment_run(settings("vae", "points", tmp_path))
    score = scores_by_name(RunFolder(tmp_path / "run").read())["nats"]
    assert ("weights", "ema") in score.conditions
    assert {"weights", "data_sha256"} <= dict(score.conditions).keys()
    assert not {"checkpoint", "checkpoint_sha256", "seed"} & dict(score.conditions).keys()
    assert {"checkpoint", "checkpoint_sha256", "seed"} <= score.protocol.keys()


def test_older_records_without_declarations_are_read_and_kept_apart(tmp_path):
    for model, seconds in (("A", 1.0), ("B", 2.0)):
        write_run(tmp_path / model, model, fd(1.0, sampling_seconds=seconds))
        file = tmp_path / model / "run.json"
        record = json.loads(file.read_text())
        for declaration in ("quantity", "incidental", "baselines", "distance"):
            del record["metrics"]["fd_digits_360"][declaration]
        file.write_text(json.dumps(record))
    results = compared(find_runs(tmp_path))
    assert len(results.columns) == 2 and results.unfinished == ()
    assert "sampling_seconds 1.0" in sentences(results)


# Ranking


def ranks(tmp_path, **scores):
    for model, score in scores.items():
        write_run(tmp_path / model, model, score)
    (cells,) = compared(find_runs(tmp_path)).columns.values()
    return {label: str(cell.place) for label, cell in cells.items()}


def test_a_score_ranks_above_another_only_by_two_standard_errors(tmp_path):
    found = ranks(tmp_path, a=fd(10.0, 0.1), b=fd(10.3, 0.1), c=fd(10.5, 0.04))
    assert found == {"a": "#1=", "b": "#1=", "c": "#2="}


def test_higher_is_better_where_it_is(tmp_path):
    assert ranks(tmp_path, a=fd(0.5, 0.01, better="higher"), b=fd(0.9, 0.01, better="higher")) == {"a": "#2", "b": "#1"}


def test_bounds_are_placed_by_what_they_guarantee_and_show_nothing_of_each_other(tmp_path):
    found = ranks(tmp_path, flow=bits(1.209), vae=bits(1.283), ddpm=bits(1.435), twin=bits(1.22, n=100))
    assert found == {"flow": "#1=*", "twin": "#1=*", "vae": "#3", "ddpm": "#4"}


def test_an_exact_likelihood_can_be_shown_to_be_worse_than_a_bound_but_never_a_bound(tmp_path):
    found = ranks(
        tmp_path,
        low=bits(1.3),
        exact=bits(1.5, kind=Kind.EXACT),
        worse=bits(1.7, kind=Kind.EXACT),
        high=bits(9.0),
    )
    assert found == {"low": "#1*", "exact": "#2†", "worse": "#3†", "high": "#4"}
    groups = json.loads(FORMATS["json"](compared(find_runs(tmp_path))))["groups"]
    shown = {group["label"]: group["scores"][0]["shown_worse_than"] for group in groups}
    assert shown == {"low": "", "exact": "low", "worse": "exact; low", "high": ""}
    assert [group["label"] for group in groups if group["scores"][0]["best_guarantee"]] == ["low"]


def test_what_guarantees_nothing_is_never_first_among_guarantees(tmp_path):
    kinds = {"estimate": Kind.ESTIMATE, "at_least": Kind.UPPER_BOUND}
    found = ranks(tmp_path, bound=bits(1.5), **{name: bits(1.2, kind=kind) for name, kind in kinds.items()})
    assert found == {"bound": "#1=*", "estimate": "#1=", "at_least": "#1="}


def test_what_guarantees_nothing_can_be_shown_to_be_worse(tmp_path):
    kinds = {"estimate": Kind.ESTIMATE, "at_least": Kind.UPPER_BOUND}
    found = ranks(tmp_path, bound=bits(1.5), **{name: bits(1.7, kind=kind) for name, kind in kinds.items()})
    assert found == {"bound": "#1*", "estimate": "#2=†", "at_least": "#2=†"}


def test_the_best_guarantee_in_nats_is_the_highest(tmp_path):
    nats = {"a": (-2.0, Kind.LOWER_BOUND), "b": (-1.0, Kind.LOWER_BOUND), "c": (-3.0, Kind.EXACT)}
    scores = {name: Score("nats", value, "nats", 100, 0.1, kind, "higher") for name, (value, kind) in nats.items()}
    assert ranks(tmp_path, **scores) == {"b": "#1*", "a": "#2", "c": "#3†"}


def test_distances_have_places_but_neither_guarantee_nor_likelihood(tmp_path):
    assert ranks(tmp_path, a=fd(1.0), b=fd(2.0)) == {"a": "#1", "b": "#2"}


def test_bounds_on_nats_are_reversed():
    nats = Score("nats", -2.0, "nats", 100, 0.1, Kind.LOWER_BOUND, "higher")
    assert interval(nats, 0.1) == (-2.2, math.inf)
    divergence = Score("kl_to_truth", 0.5, "nats", 100, 0.1, Kind.UPPER_BOUND, "lower")  # prints <=
    assert interval(divergence, 0.1) == (-math.inf, 0.7)


@pytest.mark.parametrize("score", [fd(1.0, None), fd(1.0, flag="not converged"), fd(math.nan), fd(math.inf, math.nan)])
def test_nothing_is_known_of_a_number_without_error_or_with_a_flag(tmp_path, score):
    assert interval(score, score.se) == (-math.inf, math.inf) and standing(score, score.se) is None
    assert ranks(tmp_path, a=score, b=fd(5.0), c=fd(9.0)) == {"b": "#1", "c": "#2", "a": "None"}


def test_scores_without_a_standard_error_are_named_and_have_no_place(tmp_path):
    assert ranks(tmp_path, a=fd(1.0, None), b=fd(9.0)) == {"a": "None", "b": "None"}  # one place alone says nothing
    assert "fd_digits_360 of a has no standard error" in sentences(compared(find_runs(tmp_path)))


# Rows


def labels(tmp_path):
    return [group.label for group in compared(find_runs(tmp_path)).of("digits")]


def test_rows_are_ordered_by_the_guarantee_and_those_without_one_by_the_next_score(tmp_path):
    write_run(tmp_path / "0", "bad_gan", fd(9.0))
    write_run(tmp_path / "1", "gan", fd(2.0))
    write_run(tmp_path / "2", "loose", bits(1.5), fd(1.0))
    write_run(tmp_path / "3", "tight", bits(1.2), fd(30.0))
    write_run(tmp_path / "4", "silent")
    assert labels(tmp_path) == ["tight", "loose", "gan", "bad_gan", "silent"]


def test_rows_without_any_ranked_likelihood_are_ordered_by_the_first_score_that_is_ranked(tmp_path):
    write_run(tmp_path / "0", "a", bits(1.5), fd(9.0))  # one likelihood alone ranks nothing
    write_run(tmp_path / "1", "b", fd(2.0), fd(1.0, n=100, better=None))
    assert labels(tmp_path) == ["b", "a"]


def test_every_format_has_the_rows_in_the_same_order(tmp_path):
    for number, (model, value) in enumerate({"c": 1.5, "a": 1.2, "b": 1.9}.items()):
        write_run(tmp_path / f"{number}", model, bits(value))
    results = compared(find_runs(tmp_path))
    assert [row["label"] for row in csv.DictReader(io.StringIO(FORMATS["csv"](results)))] == ["a", "c", "b"]
    assert [group["label"] for group in json.loads(FORMATS["json"](results))["groups"]] == ["a", "c", "b"]
    for text in (printed(results), FORMATS["md"](results), FORMATS["latex"](results)):
        rows = [line.strip("| ")[0] for line in text.splitlines() if "1." in line and "0.010" in line]
        assert rows == ["a", "c", "b"] and "* marks" in " ".join(text.replace("\\", "").split()).replace("\\*", "*")


def test_scores_that_rank_nothing_are_shown_without_a_rank(tmp_path):
    write_run(tmp_path / "a", "A", fd(1.0, better=None))
    write_run(tmp_path / "b", "B", fd(9.0, better=None))
    assert "#1" not in markdown(find_runs(tmp_path)) and "9.000 ± 0.100" in markdown(find_runs(tmp_path))


# Seeds


def test_seeds_are_averaged_with_the_error_over_them(tmp_path):
    for seed, value in enumerate((1.0, 2.0, 3.0)):
        write_run(tmp_path / f"{seed}", "A", bits(value, kind=Kind.EXACT), seed=seed)
    results = compared(find_runs(tmp_path))
    ((cell,),) = (cells.values() for cells in results.columns.values())
    assert (cell.score.value, cell.score.se) == (2.0, pytest.approx(1 / math.sqrt(3)))
    assert results.groups[0].runs[2].seed == "2"
    assert "3" in table_of_costs(results)["A"]


def table_of_costs(results):
    lines = markdown(results).split("\n\n")[3].splitlines()[2:]
    return {cells[0].strip(): [cell.strip() for cell in cells[1:]] for cells in (line[2:].split("|") for line in lines)}


def test_seeds_that_agree_by_chance_do_not_make_the_test_set_larger(tmp_path):
    for seed in (0, 1):
        write_run(tmp_path / f"a{seed}", "A", bits(1.50, se=0.1, kind=Kind.EXACT), seed=seed)
        write_run(tmp_path / f"b{seed}", "B", bits(1.51, se=0.1, kind=Kind.EXACT), seed=seed)
    (cells,) = compared(find_runs(tmp_path)).columns.values()
    assert [str(cell.place) for cell in cells.values()] == ["#1=*", "#1=*"]
    assert cells["A"].score.se == 0 and cells["A"].error == pytest.approx(0.1)


def test_different_configs_are_rows_labeled_by_their_difference(tmp_path):
    write_run(tmp_path / "a", "A", bits(1.0), config_hash="1", overrides=["model=a", "model.beta=4", "x=1"])
    write_run(tmp_path / "b", "A", bits(2.0), config_hash="2", overrides=["model=a", "x=1"])
    write_run(tmp_path / "c", "A", bits(2.0), config_hash="2", overrides=["model=a", "x=1"], status="interrupted")
    assert [group.label for group in compared(find_runs(tmp_path)).groups] == ["A model.beta=4", "A", "A (interrupted)"]


def test_a_seed_that_was_run_twice_counts_once(tmp_path):
    write_run(tmp_path / "a", "A", bits(1.0), started="2026-01-02")
    write_run(tmp_path / "b", "A", bits(2.0), started="2026-01-01")
    results = compared(find_runs(tmp_path, tmp_path / "a"))
    ((cell,),) = (cells.values() for cells in results.columns.values())
    assert cell.score.value == 1.0 and "is left out" in sentences(results)


# Runs without a score


@pytest.fixture
def silent(tmp_path):
    """A folder of two runs, one of them without any score."""
    write_run(tmp_path / "b", "VAE", bits(1.0))
    write_run(tmp_path / "a", "GAN", refusals={"likelihood": "GAN has no likelihood."})
    return tmp_path


def test_a_run_without_a_score_is_compared_by_its_cost_and_its_refusals(silent):
    results = compared(find_runs(silent))
    text = sentences(results)
    assert "Comparison of 2 runs" in text and "GAN on digits: no likelihood: GAN has no likelihood." in text
    assert table(find_runs(silent))["GAN"]["bits/dim"] == "-"
    assert table_of_costs(results)["GAN"][1] == "1,000"
    assert "GAN on digits: no likelihood: GAN has no likelihood." in markdown(results)
    assert "VAE on digits" not in markdown(results)


def test_every_format_has_the_run_without_a_score(silent):
    results = compared(find_runs(silent))
    (group,) = (group for group in json.loads(FORMATS["json"](results))["groups"] if group["model"] == "GAN")
    assert group["scores"] == [] and group["train_seconds"] == 12.3
    rows = {row["label"]: row for row in csv.DictReader(io.StringIO(FORMATS["csv"](results)))}
    assert rows["GAN"]["parameters"] == "1000.0" and rows["GAN"]["value"] == "" and rows["VAE"]["value"] == "1.0"
    assert FORMATS["latex"](results).count("\nGAN & ") == 2


def test_runs_without_any_score_at_all_have_a_table_of_costs_alone(silent):
    results = compared(find_runs(silent / "a"))
    assert "Comparison of 1 run" in printed(results) and "parameters" in printed(results)
    assert "quality" not in printed(results) and markdown(results).startswith("**digits: cost**")
    assert FORMATS["csv"](results).splitlines()[0].startswith("label,model,data")


def test_a_repeated_seed_without_a_score_does_not_replace_one_with(tmp_path):
    write_run(tmp_path / "a", "A", bits(1.0), started="2026-01-01")
    write_run(tmp_path / "b", "A", started="2026-01-02")
    (group,) = compared(find_runs(tmp_path)).groups
    assert [run.name for run in group.runs] == ["a"]


def test_failed_runs_without_a_score_are_named_but_not_compared(tmp_path):
    write_run(tmp_path / "a", "A", bits(1.0))
    write_run(tmp_path / "b", "B", status="failed", error="the loss is not finite.")
    results = compared(find_runs(tmp_path))
    assert len(results.runs) == 1 and results.unfinished == (("b", "failed: the loss is not finite."),)
    assert results.unreadable == ()


# Untrusted folders


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
    assert [name for name, _ in results.unreadable] == ["b"]


def test_missing_records_are_named(tmp_path):
    write_run(tmp_path / "sweep" / "0_a", "A", bits(1.0))
    (tmp_path / "sweep" / "1_b" / "checkpoints").mkdir(parents=True)
    (tmp_path / "sweep" / "1_b" / "config.yaml").write_text("seed: 0\n")
    (tmp_path / "empty").mkdir()
    results = compared(find_runs(tmp_path / "sweep", tmp_path / "empty"))
    assert results.unreadable == (("1_b", "it has no run.json"), ("empty", "there is no run.json in or under it"))
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
    assert [name for name, _ in results.unreadable] == ["b"]
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


# Formats


@pytest.fixture
def several(tmp_path):
    sampled = {"passes_per_sample": 1, "samples_per_second": 50.0, "sampling": {}}
    expected = {"metric": "bits_per_dim", "value": 1.06, "tolerance": 0.02, "source": "Somebody & Co. 2019"}
    others = [fd(float(i), n=n, **sampled) for i, n in enumerate((360, 1000, 2000, 5000, 10_000))]
    write_run(tmp_path / "0_a", "A_1", bits(1.2), *others, expected=expected)
    write_run(tmp_path / "1_b", "B", bits(1.3), *others, refusals={"ode": "it is no diffusion model."})
    write_run(tmp_path / "2_c", "C", status="failed", error="the loss is not finite.")
    return tmp_path


def test_the_terminal_output_is_complete_and_within_the_width(several):
    text = printed(compared(find_runs(several)))
    assert max(map(len, text.splitlines())) <= 100
    for expected in ("<= 1.200 ± 0.010 #1*", "fd_digits_10000", "samples/s", "Somebody & Co. 2019", "peak", "256"):
        assert expected in text
    assert "2_c: failed: the loss is not finite." in text and "B on digits: no ode: it is no diffusion" in text


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


# The end of a sweep


def end_sweep(folder, monkeypatch, failures=(), **config):
    monkeypatch.setattr(CompareSweep, "failures", list(failures))
    CompareSweep().on_multirun_end(OmegaConf.create({"hydra": {"sweep": {"dir": str(folder)}}, **config}))


def test_a_sweep_ends_in_table_and_report_also_when_jobs_failed(several, monkeypatch, capsys):
    end_sweep(several, monkeypatch, [("2_c", "said in run.json too"), ("3_d", "unknown model 'd'.")])
    printed = capsys.readouterr()
    assert "A_1" in printed.out and "3_d: failed: unknown model 'd'." in printed.out
    page = (several / "report.html").read_text()
    assert "the loss is not finite." in page and "unknown model 'd'." in page and "said in run.json too" not in page


def test_a_sweep_without_run_folders_writes_nothing(tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(naming, "FOUND", {tmp_path})
    end_sweep(tmp_path / "gone", monkeypatch, [("0_a", "no.")])
    end_sweep(tmp_path, monkeypatch, [("0_a", "no.")])
    assert not list(tmp_path.iterdir()) and "0_a: failed: no." in capsys.readouterr().out


def test_a_sweep_on_wandb_ends_in_one_run_that_compares(several, monkeypatch):
    """However often it is started again, and in the mode of the environment."""
    import wandb

    from genmodels.plots import Image

    monkeypatch.setenv("WANDB_SILENT", "true")
    monkeypatch.setenv("WANDB_MODE", "offline")
    monkeypatch.delenv("WANDB_PROJECT", raising=False)
    monkeypatch.setenv("WANDB_DATA_DIR", str(several))
    (several / "0_a" / "samples").mkdir()
    Image.new("RGB", (8, 8)).save(several / "0_a" / "samples" / "final.png")
    on_wandb(several / "0_a")
    for start in ("first", "second"):  # wandb names its folders by the second
        monkeypatch.setenv("WANDB_DIR", str(several / start))
        (several / start).mkdir()
        node = {"project": "p", "offline": False, "job_type": None, "folder": "${run_dir}"}  # of a job
        end_sweep(several, monkeypatch, logger={"wandb": node})
        wandb.teardown()  # each sweep is a process of its own
    (found, again) = offline_runs(several)
    assert (found.project, found.name, found.job_type) == ("p", several.name, "comparison") and found.id == again.id
    assert [name.split("-")[0] for name, kind, _ in found.artifacts if kind == "report"] == ["report"]
    assert "report.path" in found.summary
    tables = several.glob("first/wandb/offline-run-*/files/" + found.summary["comparison/digits.path"])
    shown = json.loads(next(tables).read_text())
    assert shown["columns"][:3] == ["model", "seeds", "bits/dim"] and shown["columns"][-1] == "samples"
    assert shown["data"][0][:3] == ["A_1", 1, "≤ 1.200 ± 0.010 #1*"]


def test_a_comparison_is_logged_again_in_the_project_of_its_runs(several, monkeypatch):
    logged = []
    monkeypatch.setattr("genmodels.compare.mirror.to_wandb", lambda results, *where: logged.append(where))
    with pytest.raises(SystemExit):
        main(["compare", str(several), "wandb=true"])
    on_wandb(several / "0_a", project="p", entity="team")
    for words in (["wandb=yes"], [str(several / "1_b"), "wandb=true"]):
        with pytest.raises(SystemExit):
            main(["compare", str(several), *words])
    assert not logged
    main(["compare", str(several), "wandb=true"])
    assert logged == [({"project": "p", "entity": "team"}, several)]


def on_wandb(folder, **entry):
    """Enter in run.json that the run is on Weights & Biases."""
    record = json.loads((folder / "run.json").read_text())
    (folder / "run.json").write_text(json.dumps(record | {"wandb": {"id": "abc", **entry}}))


def test_an_error_at_the_end_of_a_sweep_is_printed_and_hides_nothing(several, monkeypatch, capsys):
    (several / "report.html").mkdir()
    end_sweep(several, monkeypatch, [("3_d", "unknown model 'd'.")])
    printed = capsys.readouterr()
    assert "A_1" in printed.out and "error: the report" in printed.err and "3_d: failed" in printed.out


def test_wandb_is_not_imported_unless_runs_are_there(several, monkeypatch):
    monkeypatch.delitem(sys.modules, "wandb", raising=False)
    on_wandb(several / "1_b")
    end_sweep(several, monkeypatch, logger={"csv": {}})
    (several / "1_b" / "run.json").unlink()
    end_sweep(several, monkeypatch, logger={"wandb": {"project": "p", "offline": True}})
    assert "wandb" not in sys.modules and not (several / "wandb").exists()


def test_the_results_page_shows_the_kept_runs():
    """Regenerate with: python tests/results/keep.py"""
    folder = ROOT / "tests" / "results"
    runs = find_runs(folder)
    assert {(run.model, run.data) for run in runs} == {
        (model, data) for model in ("GAN", "VAE", "RealNVP", "DDPM") for data in ("digits", "mnist", "fashion_mnist")
    }
    assert runpy.run_path(str(folder / "keep.py"))["readme"](runs) == (folder / "README.md").read_text()
