"""Fixtures shared by all tests."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

SHARED = Path(__file__).resolve().parents[2] / "shared"


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
