"""The differences between the configs of rows."""

from __future__ import annotations

import pytest
from compare.folders import bits, write_run
from omegaconf import OmegaConf

from genmodels.compare import compared, find_runs
from genmodels.compare.configs import differing


def write_config(folder, **entries):
    config = {"run_dir": str(folder), "seed": 0, "model": {"width": 8, "path": f"{folder}/samples"}, **entries}
    (folder / "config.yaml").write_text(OmegaConf.to_yaml(OmegaConf.create(config)))


@pytest.fixture
def groups(tmp_path):
    for number, name in enumerate("ab"):
        write_run(tmp_path / name, name, bits(1.0 + number))
    write_config(tmp_path / "a", data={"limit": None, "seed": 3, "root": "/a"}, scheduler={"name": "cosine"})
    write_config(tmp_path / "b", data={"limit": 100, "seed": 4, "root": "/b"}, seed=1, words=["x", 2])
    return compared(find_runs(tmp_path)).of("digits")


def test_keys_that_differ_are_found_but_not_seeds_or_paths(groups):
    names, settings = differing(groups)
    assert names == ["data.limit", "scheduler.name", "words"]
    assert [[own.get(name, "-") for name in names] for own in settings] == [
        ["null", "cosine", "-"],
        ["100", "-", '["x", 2]'],
    ]


@pytest.mark.parametrize("text", ["", "a: &x [1]\nb: *x\n", "[" * 100, "seed: 0\n", "\xff"])
def test_a_config_that_cannot_be_read_differs_in_nothing(tmp_path, groups, text):
    (tmp_path / "b" / "config.yaml").write_text(text, encoding="latin-1")
    names, settings = differing(groups)
    assert names == [] and settings[0] is not None and settings[1] is None


def test_nothing_in_a_config_is_resolved(tmp_path, groups, monkeypatch):
    monkeypatch.setenv("SECRET", "hidden")
    write_config(tmp_path / "b", data={"limit": None, "seed": 4}, scheduler={"name": "${oc.env:SECRET}"})
    names, settings = differing(groups)
    assert names == ["scheduler.name"] and settings[1]["scheduler.name"] == "${oc.env:SECRET}"
