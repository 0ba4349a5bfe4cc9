"""The README's model is complete: in a copy of the repository, its three files alone make a model of the house."""

from __future__ import annotations

import re
import shutil
import subprocess
import sys

import pytest
from conformance.kinds import ROOT

README = (ROOT / "README.md").read_text()
BLOCKS = re.findall(r"```(?:python|yaml)\n# (\S+\.(?:py|yaml))\n(.*?)```", README, flags=re.DOTALL)


@pytest.fixture(scope="module")
def house(tmp_path_factory):
    """A copy of the repository with the README's model in it; what is compiled is not compiled once more."""
    folder = tmp_path_factory.mktemp("house")
    for name in ("genmodels", "conf", "tests"):
        shutil.copytree(ROOT / name, folder / name, ignore=shutil.ignore_patterns("results"))
    for name in ("train.py", "pyproject.toml"):
        shutil.copy(ROOT / name, folder)
    for name, text in BLOCKS:
        (folder / name).write_text(text)
    return folder


def test_the_model_is_three_files():
    assert [name for name, _ in BLOCKS] == [
        "genmodels/models/independent.py", "conf/model/independent.yaml", "tests/models/test_independent.py",
    ]  # fmt: skip


@pytest.mark.slow
def test_the_suite_finds_the_model_and_passes(house):
    places = ["tests/conformance", "tests/theory/test_planes.py", "tests/test_structure.py"]
    command = [sys.executable, "-m", "pytest", "-p", "no:cacheprovider", "-m", "not realdata", "-k", "independent"]
    done = subprocess.run([*command, *places], cwd=house, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout[-3000:]
    assert "tests/conformance" in done.stdout or "passed" in done.stdout or "[100%]" in done.stdout


@pytest.mark.slow
def test_the_command_line_finds_the_model(house):
    words = ["model=independent", "debug=fast", "trainer.accelerator=cpu", f"run_dir={house / 'run'}"]
    done = subprocess.run([sys.executable, "train.py", *words], cwd=house, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr[-2000:]
    assert "bits_per_dim  = " in done.stdout


def test_the_results_in_short_are_those_of_the_kept_runs():
    rows = README[README.index("## Results in short") :].split("## Inside")[0].splitlines()
    kept = (ROOT / "tests" / "results" / "README.md").read_text().splitlines()
    table = [row for row in rows if row.startswith("| ")]
    assert len(table) > 4 and set(table) <= set(kept)


def test_what_the_readme_refers_to_is_there():
    for path in re.findall(r"\]\(([^)#]+)\)", README):
        assert (ROOT / path).exists(), path
