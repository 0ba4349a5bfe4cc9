"""Hydra's sweeper whose jobs are the trials of a study, by Optuna's ask-and-tell.

The run folders are the state: what has become of a trial is read from there, by any launcher. This module imports
neither torch nor Optuna, since Hydra builds the sweeper before it is known that all is well.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import cache
from pathlib import Path
from typing import Any

from hydra.core.plugins import Plugins
from hydra.plugins.launcher import Launcher
from hydra.plugins.sweeper import Sweeper
from hydra.types import HydraContext, TaskFunction
from omegaconf import DictConfig, OmegaConf

from genmodels.errors import require
from genmodels.search.space import Space

TARGET = "hydra_plugins.genmodels.Search"  # Hydra builds plugins of this package only
MOST_TRIALS = 100_000


class Search(Sweeper):
    """A search over the values of ``params`` and of the command line.

    Args:
        params: values by key, as they are written on the command line.
        n_trials: number of trials in all, those of earlier calls included.
        n_jobs: number of trials that are proposed and launched together.
        direction: ``minimize`` or ``maximize``, or one for each objective; ``None`` for what is better.
        allow_test: whether an objective may be a test score.
        storage: file or URL of the study; ``None`` for a file in the sweep's folder.
        study_name: name of the study; ``None`` for that of the folder.
        sampler: class and arguments of the sampler.
        pruner: class and arguments of the pruner.
    """

    def __init__(
        self,
        params: Any,
        n_trials: Any,
        n_jobs: Any,
        direction: Any,
        allow_test: Any,
        storage: Any,
        study_name: Any,
        sampler: Any,
        pruner: Any,
    ) -> None:
        given = (params, n_trials, n_jobs, direction, allow_test, storage, study_name, sampler, pruner)
        names = ("params", "n_trials", "n_jobs", "direction", "allow_test", "storage", "study_name", "sampler", "pruner")
        plain = (OmegaConf.to_container(each, resolve=True) if OmegaConf.is_config(each) else each for each in given)
        self.settings: dict[str, Any] = dict(zip(names, plain, strict=True))
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
            require(isinstance(node, dict) and "_target_" in node, f"choose hydra/sweeper/{name}=..., not its keys alone.")
        require(isinstance(self.settings["params"] or {}, dict), "hydra.sweeper.params must be values by key.")


def register() -> None:
    """Make the sweeper known to Hydra, under the name of a package that it accepts plugins of."""
    plugins = Plugins.instance()
    plugins.register(Search)
    plugins.class_name_to_class[TARGET] = Search
