"""Hydra's sweeper whose jobs are the trials of a study, by Optuna's ask-and-tell.

The run folders are the state: what has become of a trial is read from there, by any launcher. This module imports
neither torch nor Optuna, since Hydra builds the sweeper before it is known that all is well.
"""

from __future__ import annotations

import importlib.metadata
from collections.abc import Sequence
from functools import cache
from pathlib import Path
from typing import Any

from hydra.core.plugins import Plugins
from hydra.plugins.launcher import Launcher
from hydra.plugins.sweeper import Sweeper
from hydra.types import HydraContext, TaskFunction
from omegaconf import DictConfig

from genmodels.errors import require
from genmodels.search.space import Space
from genmodels.settings import plain

TARGET = "hydra_plugins.genmodels.Search"  # Hydra builds plugins of this package only
MOST_TRIALS = 100_000
OTHER = "hydra-optuna-sweeper"  # Hydra's own plugin


class Search(Sweeper):
    """A search over the values of ``hydra.sweeper.params`` and of the command line.

    Args:
        settings: the keys of ``conf/hydra/sweeper/optuna.yaml``, which explains them.
    """

    def __init__(self, **settings: Any) -> None:
        self.settings: dict[str, Any] = {name: plain(value) for name, value in settings.items()}
        self.config: DictConfig | None = None
        self.launcher: Launcher | None = None
        self.hydra_context: HydraContext | None = None

    def setup(self, *, hydra_context: HydraContext, task_function: TaskFunction, config: DictConfig) -> None:
        """Take what Hydra hands over."""
        self.config, self.hydra_context = config, hydra_context
        self.launcher = Plugins.instance().instantiate_launcher(
            hydra_context=hydra_context, task_function=task_function, config=config
        )

    def sweep(self, arguments: list[str]) -> None:
        """Search until the study has all its trials, then score the best on test.

        Args:
            arguments: the words of the command line that are not Hydra's own.

        Raises:
            UserError: for a search that makes no sense, before anything is written.
        """
        assert self.config is not None and self.launcher is not None and self.hydra_context is not None
        loader, master = self.hydra_context.config_loader, self.config

        @cache
        def composed(words: tuple[str, ...]) -> DictConfig:
            return loader.load_sweep_config(master, list(words))

        def compose(words: Sequence[str]) -> DictConfig:
            return composed(tuple(words))

        self.check()
        space = Space.of(self.settings["params"] or {}, arguments, loader, compose)
        space.check()

        from genmodels.search.plan import plan
        from genmodels.search.trials import Trials

        planned = plan(self.settings, space, Path(str(master.hydra.sweep.dir)).absolute())
        Trials(planned, space, self.launcher).run()

    def check(self) -> None:
        """Refuse settings of a wrong type.

        Raises:
            UserError: naming the key.
        """
        for name, most in (("n_trials", MOST_TRIALS), ("n_jobs", 1000)):
            value = self.settings[name]
            fits = isinstance(value, int) and not isinstance(value, bool) and 1 <= value <= most
            require(fits, f"hydra.sweeper.{name} must be an integer from 1 to {most}, got {value}.")
        for name in ("sampler", "pruner"):
            node = self.settings[name]
            chosen = isinstance(node, dict) and "_target_" in node
            require(chosen, f"hydra.sweeper.{name}={node} is no class with arguments; choose hydra/sweeper/{name}=...")
        require(isinstance(self.settings["params"] or {}, dict), "hydra.sweeper.params must be values by key.")


def register() -> None:
    """Make the sweeper known to Hydra, under the name of a package that it accepts plugins of."""
    plugins = Plugins.instance()
    plugins.register(Search)
    plugins.class_name_to_class[TARGET] = Search


def refuse_other_plugin(words: Sequence[str]) -> None:
    """Refuse a search beside Hydra's plugin for Optuna 2, whose options have the same names as ours.

    Raises:
        UserError: naming the command that removes it.
    """
    searching = any(word.startswith(("hparams_search=", "hydra/sweeper")) for word in words)
    beside = searching and OTHER in {each.name for each in importlib.metadata.distributions()}
    require(not beside, f"{OTHER}, which is for Optuna 2, has options of the same names; pip uninstall {OTHER}")
