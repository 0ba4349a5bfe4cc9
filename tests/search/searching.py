"""What the tests of searches share: a launcher of trials that take no time."""

from __future__ import annotations

import json
from functools import cache, partial
from pathlib import Path

from hydra import compose
from hydra.core.override_parser.overrides_parser import OverridesParser

from genmodels.search.plan import plan
from genmodels.search.record import FILE
from genmodels.search.space import Space
from genmodels.search.sweeper import Search
from genmodels.search.trial import reports_to

LR = "model.optimizer.lr=tag(log,interval(1e-4,1e-2))"
WORDS = ("data=gaussian", "callbacks=[]", "data.limit=40", "metrics=[likelihood]")


@cache
def composed_once(words: tuple[str, ...]):
    return compose("train", overrides=["hparams_search=optuna", *words], return_hydra_config=True)


def fields(words):
    """Keys and values of a job's words."""
    return {each.get_key_element(): each.value() for each in OverridesParser.create().parse_overrides(list(words))}


class Launcher:
    """Writes the records that jobs would leave, of a training that takes no time.

    The validation value is smallest at a learning rate of 1e-3.
    """

    def __init__(self, folder, endings=(), prune=False):
        self.folder, self.endings, self.prune = Path(folder), dict(endings), prune
        self.jobs = []

    def launch(self, jobs, initial_job_idx):
        for words in jobs:
            self.run(words)

    def run(self, words):
        given = fields(words)
        self.jobs.append(given)
        ending = self.endings.pop(len(self.jobs) - 1, "finished")
        if ending == "vanish":
            return
        if ending == "kill":
            raise KeyboardInterrupt
        run = self.folder / given["hydra.sweep.subdir"]
        run.mkdir(parents=True, exist_ok=True)
        value = distance(given)
        if self.prune and not given["test"] and ending == "finished" and self.hopeless(given, value):
            ending = "pruned"
        record = {"status": "running" if ending == "die" else ending, "metrics": {}, "tested": given["test"]}
        record |= {"validation": {"val/nats": value}, "cost": {"parameters": round(1 / value)}}
        record |= {"error": "no disk."} if ending == "failed" else {}
        (run / "run.json").write_text(json.dumps(record))
        if ending == "die":
            raise KeyboardInterrupt

    def hopeless(self, given, value):
        place = {key.removeprefix("trial."): given[key] for key in given if key.startswith("trial.")}
        report, name = reports_to(place)
        assert name == "val/nats"
        return any(report(step, value + 1 / step) for step in (1, 2, 3))


def distance(given):
    return round(abs(float(given.get("model.optimizer.lr", 1e-3)) - 1e-3) * 1000 + 0.1, 9)


def planned(loader, folder, *words, **settings):
    """The search of a command line, and its space."""
    composed = partial(compose_with, loader)
    sampler, pruner = settings.pop("sampler", "tpe"), settings.pop("pruner", "none")
    chosen = [f"hydra/sweeper/sampler={sampler}", f"hydra/sweeper/pruner={pruner}"]
    config = composed([*chosen, *(f"hydra.sweeper.{key}={value}" for key, value in settings.items())])
    sweeper = Search(**{key: value for key, value in config.hydra.sweeper.items() if not key.startswith("_")})
    sweeper.check()
    space = Space.of({}, [*WORDS, *words], loader, composed)
    space.check()
    return plan(sweeper.settings, space, Path(folder).absolute()), space


def compose_with(loader, words):
    return composed_once(tuple(words))


def states(trials):
    return [trial.state.name for trial in trials]


def read(tmp_path):
    return json.loads((tmp_path / FILE).read_text())
