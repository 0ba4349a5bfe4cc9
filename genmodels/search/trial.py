"""A trial's job, which may run in another process or on another machine: it reports to the study on disk."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from genmodels.search.study import existing, make_pruner, storage_at, trial_of


def reports_to(trial: Mapping[str, Any]) -> tuple[Callable[[int, float], bool], str | None]:
    """How the trial of a search reports its validation values.

    Args:
        trial: where it belongs: the ``storage`` and the name of the ``study``, and its ``number``.

    Returns:
        A function of the number of the validation and the value, which says whether the trial is hopeless; and the name
        of the value.

    Raises:
        UserError: if there is no such study.
    """
    storage = storage_at(trial["storage"])
    study, number = existing(storage, trial["study"]), trial["number"]
    told = study.user_attrs
    study.pruner = make_pruner(told["pruner"], told["validations"])
    mine = trial_of(study, storage, number)

    def report(step: int, value: float) -> bool:
        if step not in study.trials[number].intermediate_values:  # else told before the process was killed
            mine.report(value, step)
        return bool(mine.should_prune())

    return report, told["objectives"][0]
