"""Pruning: a trial of a search that is behind others ends early."""

from __future__ import annotations

from collections.abc import Callable

from lightning import Callback, LightningModule, Trainer
from typing_extensions import override

from genmodels.callbacks.budget import Budget
from genmodels.callbacks.validate import Validate
from genmodels.console import tell
from genmodels.core.processes import broadcast, is_rank_zero
from genmodels.errors import require


class Prune(Callback):
    """Reports a validation value after each validation, and ends training if the search finds the trial hopeless.

    Args:
        report: called in the first process with the number of the validation, counted from one, and the value; returns
            whether the trial is hopeless.
        name: name of the logged value; ``None`` for the one that validation monitors.
        validate: the validation.
        budget: a run whose budget is spent is finished rather than pruned.

    Attributes:
        pruned: whether training was ended.
    """

    def __init__(
        self, report: Callable[[int, float], bool], name: str | None, validate: Validate, budget: Budget
    ) -> None:
        self.report, self.name, self.validate, self.budget = report, name, validate, budget
        self.pruned = False

    @override
    def on_validation_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        if trainer.state.fn != "fit":
            return
        name, known = self.name or self.validate.key, trainer.callback_metrics
        require(name in known, f"objective={name} is not logged; logged are {', '.join(sorted(known))}.")
        hopeless = self.report(self.validate.done, float(known[name])) if is_rank_zero() else False
        if broadcast(hopeless) and self.budget.fraction < 1:
            self.pruned = trainer.should_stop = True
            tell(f"pruned after validation {self.validate.done} of {self.validate.validations}.")
