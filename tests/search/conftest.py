"""Searches in a folder of the test's own."""

from __future__ import annotations

from contextlib import suppress

import pytest
from conformance.kinds import ROOT
from hydra import initialize_config_dir
from hydra.core.config_loader import ConfigLoader
from hydra.core.global_hydra import GlobalHydra
from search.searching import LR, Launcher, composed_once, planned

from genmodels import naming
from genmodels.search.study import existing, storage_at
from genmodels.search.trials import Trials


@pytest.fixture(scope="module")
def loader() -> ConfigLoader:
    """Hydra's loader of conf/, with which the configs of trials are composed."""
    naming.register()
    with initialize_config_dir(str(ROOT / "conf"), version_base="1.3"):
        yield GlobalHydra.instance().config_loader()
    composed_once.cache_clear()


@pytest.fixture
def search(loader, tmp_path):
    """A function that calls the same search once more, and returns the launcher and the trials."""

    def call(*words, endings=(), prune=False, **settings):
        found, space = planned(loader, tmp_path, *(words or (LR,)), **settings)
        launcher = Launcher(tmp_path, endings, prune)
        trials = Trials(found, space, launcher)
        with suppress(KeyboardInterrupt):
            trials.run()
        return launcher, existing(storage_at(found.storage), found.name).trials

    return call
