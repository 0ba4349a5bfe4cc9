"""Rows and columns: which runs form one row, which scores share a column, and what has no score."""

from __future__ import annotations

import csv
import io
import json
import math
from dataclasses import replace

import pytest
from compare.folders import bits, fd, printed, sentences, table, table_of_costs, write_run
from conformance.test_laboratory import settings

from genmodels.compare import FORMATS, compared, find_runs, markdown, scores_by_name
from genmodels.core import Kind
from genmodels.experiment import run as experiment_run
from genmodels.metrics.sample_sets import with_observation
from genmodels.runs import RunFolder

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
    assert [group.label for group in compared(find_runs(tmp_path)).groups] == ["A beta=4", "A", "A (interrupted)"]


def test_a_run_whose_config_was_changed_on_the_way_shares_a_row_with_seeds_changed_likewise(tmp_path):
    for seed, until in enumerate((None, 4, 4, 8)):
        changed = {} if until is None else {"continued": [f"0 until batch {until}"]}
        write_run(tmp_path / f"{seed}", "A", bits(1.0 + seed), seed=seed, config_hash="c0ffee", **changed)
    plain, twice, once = compared(find_runs(tmp_path)).groups
    assert [len(group.runs) for group in (plain, twice, once)] == [1, 2, 1]
    assert plain.label == "A" and twice.label != once.label
    assert all(group.label.startswith("A (continued) [") for group in (twice, once))


def test_a_model_that_is_given_labels_says_so_and_its_likelihood_has_a_column_of_its_own(tmp_path):
    write_run(tmp_path / "a", "A", bits(1.0))
    write_run(tmp_path / "b", "A", bits(0.5, name="bits_per_dim_given_label"), config_hash="2", given="labels")
    results = compared(find_runs(tmp_path))
    assert [group.label for group in results.groups] == ["A", "A given labels"]
    assert {column.name: list(cells) for column, cells in results.columns.items()} == {
        "bits_per_dim": ["A"], "bits_per_dim_given_label": ["A given labels"]
    }  # fmt: skip


def test_a_seed_that_was_run_twice_counts_once(tmp_path):
    write_run(tmp_path / "a", "A", bits(1.0), started="2026-01-02")
    write_run(tmp_path / "b", "A", bits(2.0), started="2026-01-01")
    results = compared(find_runs(tmp_path, tmp_path / "a"))
    ((cell,),) = (cells.values() for cells in results.columns.values())
    assert cell.score.value == 1.0 and "is left out" in sentences(results)


def test_the_two_bounds_of_an_energy_model_stand_side_by_side_and_only_the_guarantee_decides(tmp_path):
    """The upper bound of the RBM on log p is below the VAE's lower bound in bits, and promises nothing."""
    upper = bits(1.1, kind=Kind.UPPER_BOUND, name="partition_bits_per_dim", gap=0.9)
    write_run(tmp_path / "rbm", "RBM", bits(1.3), replace(upper, baselines={"gap": "gap in nats"}))
    write_run(tmp_path / "vae", "VAE", bits(1.2))
    write_run(tmp_path / "exact", "small RBM", bits(1.5, kind=Kind.EXACT, name="partition_bits_per_dim"))
    results = compared(find_runs(tmp_path))
    assert [group.label for group in results.of("digits")] == ["VAE", "RBM", "small RBM"]
    row = table(find_runs(tmp_path))["RBM"]
    assert list(row)[1:] == ["bits/dim", "partition_bits_per_dim"]
    assert row["bits/dim"] == "≤ 1.300 ± 0.010 #2 (n=360)"
    assert row["partition_bits_per_dim"] == "≥ 1.100 ± 0.010 #1= (n=360, gap in nats 0.900)"
    assert table(find_runs(tmp_path))["small RBM"]["partition_bits_per_dim"] == "= 1.500 ± 0.010 #1=\\* (n=360)"
    assert "gap in nats is an energy model's upper bound minus the lower one of its annealed chains" in sentences(
        results
    )


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
    assert len(results.runs) == 1 and results.unfinished == (("b", "failed", "the loss is not finite."),)
    assert results.unreadable == []
