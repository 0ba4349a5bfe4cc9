"""The comparison, and the README's tables, which are made from the run.json files under tests/results."""

from __future__ import annotations

import json

from conformance.kinds import ROOT

from genmodels.compare import find_runs, markdown
from genmodels.core import Kind, Score


def write_run(folder, model, *scores, data="digits"):
    folder.mkdir(parents=True)
    record = {"model": model, "data": data, "cost": {"parameters": 1000, "train_seconds": 12.3}}
    record["metrics"] = {score.name: score.to_dict() for score in scores}
    (folder / "run.json").write_text(json.dumps(record))


def test_numbers_of_different_n_are_never_in_one_column(tmp_path):
    bits = Score("bits_per_dim", 1.5, "bits/dim", 360, 0.01, Kind.LOWER_BOUND)
    write_run(tmp_path / "2_a", "A", bits, Score("fd_digits_360", 3.0, "", 360, protocol={"floor": 0.7}))
    write_run(tmp_path / "10_b", "B", Score("fd_digits_1000", 2.0, "", 1000, protocol={"floor": 0.3}))
    heading, _, a, b = markdown(find_runs(tmp_path)).splitlines()
    assert heading == "| model | data | parameters | train s | bits/dim | fd_digits_1000 | fd_digits_360 | samples/s |"
    assert a == "| A | digits | 1,000 | 12 | ≤ 1.500 ± 0.010 (n=360) | - | 3.000 (floor 0.70) | - |"
    assert b == "| B | digits | 1,000 | 12 | - | 2.000 (floor 0.30) | - | - |"


def test_readme_shows_the_kept_runs():
    """Regenerate with: genmodels compare tests/results format=md"""
    runs = find_runs(ROOT / "tests" / "results")
    assert {(run["model"], run["data"]) for run in runs} == {
        (model, data) for model in ("GAN", "VAE", "RealNVP", "DDPM") for data in ("digits", "mnist")
    }
    assert markdown(runs) in (ROOT / "README.md").read_text()
