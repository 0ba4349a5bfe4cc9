"""The speed that the progress bar shows."""

from __future__ import annotations

from types import SimpleNamespace

import pytest

from genmodels.callbacks import progress
from genmodels.callbacks.progress import ProgressBar


@pytest.mark.parametrize(
    ("batches", "seconds", "pace"),
    [(500, 10.0, "50 batches/s"), (10, 10.0, "1 batches/s"), (10, 23.0, "2.3 s/batch"), (0, 5.0, "0 batches/s")],
)
def test_below_one_batch_a_second_the_seconds_of_a_batch_are_shown(batches, seconds, pace, monkeypatch):
    budget, validate = SimpleNamespace(spent={"batches": batches}), SimpleNamespace(score=None)
    bar = ProgressBar("VAE", budget, validate, SimpleNamespace(latest={"train/loss": 1.234}))
    monkeypatch.setattr(progress.time, "monotonic", lambda: seconds)
    assert bar.status() == f"{pace}  loss 1.23"
