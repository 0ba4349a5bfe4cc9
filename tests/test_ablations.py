"""The kept runs of tests/ablations, which exchange one part of a model, and the tables that are made of them."""

from __future__ import annotations

import pytest

from genmodels.compare import find_runs
from tests.ablations.keep import HERE, QUESTIONS, readme


def test_the_tables_are_those_of_the_kept_runs():
    assert (HERE / "README.md").read_text() == readme()
    assert {folder.name for folder in HERE.iterdir() if folder.is_dir()} - {"__pycache__"} == set(QUESTIONS)


@pytest.mark.parametrize("question", QUESTIONS)
def test_the_command_of_a_question_is_that_of_its_runs(question):
    runs = find_runs(HERE / question)
    assert runs and all(run.record["status"] == "finished" for run in runs)
    for run in runs:
        words = [word for word in run.record["overrides"] if not word.startswith(("sweep=", "seed="))]
        for word in words:
            key, _, value = word.partition("=")
            assert f"{key}=" in QUESTIONS[question] and value in QUESTIONS[question], word
