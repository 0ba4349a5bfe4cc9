"""The options of pytest by which the suite is told what to test; without the suite there are none."""

from __future__ import annotations

import os
import sys

import pytest

SUITE = "genmodels.conformance"
MODELS, OWN = "GENMODELS_CONFORMANCE", "GENMODELS_CONFORMANCE_OWN"  # in the environment, for processes of pytest-xdist


def pytest_addoption(parser: pytest.Parser) -> None:
    """Add the options, if the suite is named on the command line."""
    if any(word.startswith(SUITE) for word in sys.argv):
        group = parser.getgroup("genmodels")
        group.addoption("--model", action="append", default=[], help="option of the group model to test")
        group.addoption("--config-dir", help="folder of options of your own, as of genmodels train")
        group.addoption("--own", help="Python file with TINY, overrides that make the model small, and nats_in_pixels")


def pytest_configure(config: pytest.Config) -> None:
    """Hand the options on.

    Raises:
        UsageError: for a folder or an option that does not exist.
    """
    names = config.getoption("--model", default=[])
    if not names:
        return

    from genmodels.errors import UserError, require, require_known
    from genmodels.tree import options
    from genmodels.trust import use

    own, folder = config.getoption("--own"), config.getoption("--config-dir")
    try:
        if folder:
            use(folder)
        for name in names:
            require_known(name, options("model"), f"unknown model '{name}'")
        require(own is None or os.path.isfile(own), f"--own={own} is not a file.")
    except UserError as error:
        raise pytest.UsageError(str(error)) from error
    os.environ[MODELS] = " ".join(names)
    os.environ[OWN] = os.path.abspath(own) if own else ""
