"""Fixtures shared by all tests."""

import copy
import logging
import os
import runpy
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

if "PYTEST_XDIST_WORKER" in os.environ:  # before torch is imported: the workers share the cores
    os.environ.setdefault("OMP_NUM_THREADS", "1")
os.environ["MATPLOTLIBRC"] = str(Path(__file__).with_name("matplotlibrc"))  # also in processes that are started

MOST_WORKERS = 8  # each holds some 700 MB
SHARED = Path(__file__).resolve().parents[2] / "shared"


def pytest_configure(config):
    """Read a file of ``conf/`` once in a process, and copy what it holds for each of a thousand compositions."""
    from hydra._internal.core_plugins.file_config_source import FileConfigSource

    load, conf, found = FileConfigSource.load_config, Path(__file__).parents[1] / "conf", {}

    def load_once(self, config_path):
        if Path(self.path) != conf:
            return load(self, config_path)
        if config_path not in found:
            found[config_path] = load(self, config_path)
        return copy.deepcopy(found[config_path])

    FileConfigSource.load_config = load_once


def pytest_xdist_auto_num_workers(config) -> int:
    """One process per core for the whole suite; a selection of tests runs in this process, ``-n 2`` in two."""
    whole = config.args_source == pytest.Config.ArgsSource.TESTPATHS and not config.option.keyword
    return min(len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else 2, MOST_WORKERS) if whole else 0


@pytest.fixture
def usual_style():
    """Pictures as users see them, with numbers at their axes."""
    import matplotlib

    with matplotlib.rc_context(matplotlib.rcParamsDefault):
        yield


@pytest.fixture(scope="session")
def real_data() -> Path:
    """Root folder of the real data sets, for tests marked ``realdata``."""
    script, binarized = SHARED / "get-data", SHARED / "data" / "binarized_mnist"
    given = os.environ.get("GENMODELS_DATA")
    if not given and not script.exists():
        pytest.skip(f"no real data: GENMODELS_DATA is not set and there is no {script}")
    if given:
        root = Path(given)
    else:
        import pooch

        root = Path(pooch.os_cache("genmodels"))
        subprocess.run([sys.executable, str(script), str(root)], check=True)  # keeps existing files
    if binarized.is_dir() and not (root / "binarized_mnist").exists():
        shutil.copytree(binarized, root / "binarized_mnist", copy_function=shutil.copyfile)
    return root


@pytest.fixture
def train_py(monkeypatch, capfd):
    """A function that runs train.py in this process and returns status, standard output and standard error."""
    from genmodels.sweeps import CompareSweep
    from genmodels.trust import CONFIG

    def call(*words):
        monkeypatch.setattr(sys, "argv", ["train.py", *words])
        monkeypatch.setenv(CONFIG, "")  # to which --config-dir adds its folder
        monkeypatch.setattr(CompareSweep, "failures", [])
        monkeypatch.setattr(logging, "raiseExceptions", False)  # pooch's handler holds an earlier test's stderr
        status = 0
        try:
            runpy.run_path(str(Path(__file__).parents[1] / "train.py"), run_name="__main__")
        except SystemExit as stop:
            status = stop.code
        return status, *capfd.readouterr()

    return call
