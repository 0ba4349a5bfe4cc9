"""``search.json`` in the folder of a sweep: the study as plain text, for tables and the report."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from genmodels.runs import write_whole
from genmodels.search.plan import Plan

if TYPE_CHECKING:
    from optuna import Study
    from optuna.trial import FrozenTrial

FILE = "search.json"
FEWEST = 4  # complete trials from which importances are computed


def write(plan: Plan, study: Study) -> None:
    """Write the state of a search."""
    from genmodels.search.trials import counted, winners

    trials = counted(study.get_trials(deepcopy=False))
    record = {
        "objectives": dict(plan.better),
        "directions": plan.directions,
        "space": plan.about["space"],
        "n_trials": plan.n_trials,
        "sampler": plan.sampler,
        "pruner": plan.pruner,
        "best": [trial.number for trial in winners(plan, trials)],
        "importance": {name: importance(trials, index) for index, name in enumerate(plan.better)},
        "trials": [entry(trial) for trial in trials],
    }
    write_whole(plan.folder / FILE, json.dumps(record, indent=2) + "\n")


def entry(trial: FrozenTrial) -> dict[str, Any]:
    """One trial."""
    told = {"job": trial.user_attrs.get("job"), "reason": trial.user_attrs.get("reason")}
    seen = {str(step): found for step, found in trial.intermediate_values.items()}
    return {
        "number": trial.number,
        "state": trial.state.name.lower(),
        "params": trial.params,
        "values": trial.values if trial.state.name == "COMPLETE" else None,
        "validations": seen,
        **told,
    }


def importance(trials: Sequence[FrozenTrial], index: int) -> dict[str, float]:
    """The share of each parameter in the variance of an objective, by functional ANOVA on a forest of trees.

    A parameter that only some trials have is judged among these. Hutter et al. 2014, An Efficient Approach for
    Assessing Hyperparameter Importance.
    """
    from genmodels.search.study import optuna

    library = optuna()
    complete = [trial for trial in trials if trial.state.name == "COMPLETE"]
    found = {}
    for key in dict.fromkeys(key for trial in complete for key in trial.params):
        having = [trial for trial in complete if key in trial.params]
        if len(having) < FEWEST or len({trial.params[key] for trial in having}) < 2:
            continue
        study = library.create_study()
        for t in having:
            kept = library.create_trial(params=t.params, distributions=t.distributions, value=t.values[index])
            study.add_trial(kept)
        evaluator = library.importance.FanovaImportanceEvaluator(seed=0)
        shares = library.importance.get_param_importances(study, evaluator=evaluator)
        found[key] = float(shares.get(key, 0.0))
    return found
