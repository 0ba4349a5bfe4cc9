"""Processes of their own, forked from one that has imported torch and the package, so that each is there at once.

A process of pytest has one such server, which the first test that starts a process determines, so that all use this.
"""

from __future__ import annotations

import multiprocessing

CONTEXT = multiprocessing.get_context("forkserver")
CONTEXT.set_forkserver_preload(["genmodels.experiment", "genmodels.cli", "genmodels.compare"])
