"""What any mirror of metrics.csv does."""

from __future__ import annotations

from types import SimpleNamespace

import pytest
from loggers.records import trainer_of

from genmodels.core import Kind, Score
from genmodels.errors import UserError
from genmodels.loggers import Copied, Mirror, log_scores, log_values


def test_a_bare_number_is_not_logged_as_a_score():
    logged = {}
    trainer = trainer_of(SimpleNamespace(log_metrics=lambda values, step: logged.update(values)))
    log_scores(trainer, [Score("nats", -1.0, "nats", 5, 0.1, Kind.EXACT), Score("fd_x_5", 3.0, "", 5)])
    assert logged == {"test/nats": -1.0, "test/nats_se": 0.1, "test/fd_x_5": 3.0}
    with pytest.raises(UserError, match="only a Score, with kind, n and protocol, is logged"):
        log_scores(trainer, [3.0])


class Remembering(Mirror):
    title = "the dashboard"

    def __init__(self):
        super().__init__()
        self.written = []

    def start(self, copied):
        return {"known": True}

    def write(self, values, step):
        self.written.append((step, values))

    def write_image(self, name, image, step):
        raise ConnectionError("gone")

    def finish(self, copied):
        self.written.append(("end", copied.outcome))


def test_a_mirror_keeps_the_best_of_each_validation_value_also_across_a_resume(tmp_path):
    mirror = Remembering()
    mirror.begin(Copied(tmp_path, {}, {}, curves=[{"val/a": "1.5"}, {"train/a": "9"}, {"val/a": "2.5", "val/b": "7"}]))
    for step, a in enumerate((2.0, 1.0, 3.0), start=4):
        log_values(trainer_of(mirror, batches=step), {"val/a": a})
    log_values(trainer_of(mirror, batches=7), {"val/b": 6.0, "train/c": 1.0}, better="higher")
    assert [values.get("best/a") for _, values in mirror.written] == [1.5, 1.0, 1.0, None]
    assert mirror.written[-1] == (7, {"val/b": 6.0, "train/c": 1.0, "best/b": 7.0})


def test_a_mirror_that_fails_closes_and_the_run_goes_on(tmp_path, capsys):
    mirror = Remembering()
    assert mirror.begin(Copied(tmp_path, {}, {})) == {"known": True}
    mirror.add_image("x", None, 1)
    log_values(trainer_of(mirror, batches=1), {"val/a": 1.0})
    mirror.end(Copied(tmp_path, {}, {}))
    assert not mirror.written
    assert capsys.readouterr().out == "the dashboard: ConnectionError: gone; continuing without it.\n"


def test_an_evaluation_after_training_is_logged_at_the_end_of_the_curves(tmp_path):
    mirror = Remembering()
    mirror.begin(Copied(tmp_path, {}, {"cost": {"batches": 40}}))
    log_values(trainer_of(mirror, batches=0), {"test/a": 1.0})
    assert mirror.written == [(40, {"test/a": 1.0})]
