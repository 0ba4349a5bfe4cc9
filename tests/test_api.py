"""The functions of the package for Python and notebooks."""

from __future__ import annotations

import json
import pkgutil
import re
import signal
import threading
import time

import numpy as np
import pytest
import torch
from PIL import Image

import genmodels

SMALL = ["model=vae", "data=gaussian", "debug=fast", "metrics=[likelihood]", "trainer.accelerator=cpu"]


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    folder = tmp_path_factory.mktemp("api")
    return genmodels.train(*SMALL, f"run_dir={folder / 'vae'}", "seed=1")


def test_a_run_has_its_scores_and_stands_for_its_folder(trained):
    assert trained.status == "finished" and trained.seed == "1" and set(trained.scores) == {"nats"}
    assert trained.scores["nats"].kind.value == "lower_bound" and trained.cost["batches"] == 10
    assert genmodels.load(trained).sample(3).shape == (3, 2)


def test_trained_is_what_the_same_words_train_on_the_command_line(trained, train_py, tmp_path):
    status, *_ = train_py(*SMALL, "seed=1", f"hydra.run.dir={tmp_path / 'other'}")
    other = json.loads((tmp_path / "other" / "run.json").read_text())
    assert status == 0 and other["metrics"]["nats"]["value"] == trained.scores["nats"].value
    assert other["config_hash"] == trained.config_hash


def test_a_run_without_a_folder_of_its_own_lies_below_runs(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    run = genmodels.train(*SMALL, "budget.max_batches=2")
    assert run.path.relative_to(tmp_path).parts[0] == "runs" and run.path.name.endswith("_vae_gaussian")
    assert {path.name for path in tmp_path.iterdir()} == {"runs"}


def test_evaluates_again(trained):
    again = genmodels.evaluate(trained, "metrics.likelihood.samples=5", metrics=["likelihood"])
    assert {"nats", "nats_k5"} <= set(again.scores) and again.path == trained.path


def test_samples_are_the_same_for_the_same_seed(trained):
    first, again, other = (genmodels.sample(trained, 5, f"seed={seed}").x for seed in (1, 1, 2))
    assert torch.equal(first, again) and not torch.equal(first, other)


def test_a_number_may_be_numpys(trained):
    assert genmodels.sample(trained, np.int64(3)).x.shape == (3, 2)


def test_resumes(trained, tmp_path):
    run = genmodels.train(*SMALL, f"run_dir={tmp_path / 'short'}", "budget.max_batches=2")
    assert genmodels.resume(run, "budget.max_batches=5").cost["batches"] == 5


def test_no_module_takes_the_name_of_a_function():
    """The import of a module sets the attribute of its name in the package."""
    modules = {module.name for module in pkgutil.iter_modules(genmodels.__path__)}
    assert set(genmodels.__all__) & modules == {"compare"} and callable(genmodels.compare)


def test_compares_folders_runs_and_lists_of_them(trained):
    for places in ([trained], [str(trained.path)], [[trained, str(trained.path)]], [trained.path.parent]):
        results = genmodels.compare(*places)
        assert len(results.runs) == 1 and results.data == ["gaussian"]


def test_a_notebook_shows_tables_and_pictures(trained, tmp_path):
    for shown in (trained._repr_html_(), genmodels.compare(trained)._repr_html_()):
        captions = re.findall("<caption>(.*?)</caption>", shown)
        assert captions == ["gaussian: quality", "gaussian: cost"] and "<td>VAE</td>" in shown
        assert shown.count('src="data:image/png;base64,') == 1
    (tmp_path / "a.png").write_bytes(genmodels.sample(trained, 5)._repr_png_())
    assert Image.open(tmp_path / "a.png").format == "PNG"


def test_what_a_terminal_shows_is_short(trained):
    shown = repr(trained)
    assert "nats" in shown and str(trained.path) in shown and len(shown) < 400 and "protocol" not in shown
    assert repr(genmodels.compare(trained)).startswith("**gaussian: quality**\n\n| model |")
    assert (
        repr(genmodels.sample(trained, 2)).startswith("Drawn(x=tensor(")
        and len(repr(genmodels.sample(trained, 2))) < 200
    )


def test_what_a_notebook_shows_of_a_strangers_run_is_escaped(trained, tmp_path):
    record = json.loads((trained.path / "run.json").read_text()) | {"model": "<script>alert(1)</script>"}
    (tmp_path / "run.json").write_text(json.dumps(record))
    assert "<script" not in genmodels.compare(tmp_path)._repr_html_()


BAD = {
    "unknown option": (lambda: genmodels.train("model=vea"), "unknown model 'vea'; did you mean 'vae'"),
    "no word": (lambda: genmodels.train("model"), "'model' is not of the form key=value"),
    "several values": (lambda: genmodels.train("seed=0,1"), "seed=0,1 gives several values; make a call for each"),
    "a plan": (lambda: genmodels.train("dry_run=true"), "dry_run=true leaves no run"),
    "missing value": (lambda: genmodels.train("data=npz"), "data.source.path must be given"),
    "no run": (lambda: genmodels.evaluate("/nowhere"), "/nowhere is not a run folder"),
    "no folder": (lambda: genmodels.compare("/nowhere"), "there is no /nowhere"),
    "nothing": (lambda: genmodels.compare(), "name one or more folders"),
    "no samples": (lambda: genmodels.sample("/nowhere", 0), "n must be a positive integer, got 0."),
    "a text for a number": (lambda: genmodels.sample("/nowhere", "3"), "n must be a positive integer, got '3'."),
    "a text for a label": (lambda: genmodels.sample("/nowhere", 3, label="3"), "label must be an integer, got '3'."),
    "words in a list": (lambda: genmodels.train(["model=vae"]), "overrides are words such as 'seed=1', each by itself"),
    "no text": (lambda: genmodels.train(None), "overrides are words such as 'seed=1', each by itself, got None."),
    "no run at all": (lambda: genmodels.evaluate(None), "run must be a text or a path, got None."),
    "a number for a run": (lambda: genmodels.load(5), "run must be a text or a path, got 5."),
    "a number for samples": (lambda: genmodels.score(5, "x"), "samples must be a text or a path, got 5."),
    "nothing to compare": (lambda: genmodels.compare(None), "a folder of runs must be a text or a path, got None."),
    "a number among folders": (lambda: genmodels.compare([5]), "a folder of runs must be a text or a path, got 5."),
    "a metric by itself": (
        lambda: genmodels.evaluate("/nowhere", metrics="fd"),
        "metrics must be a list of names such as ['likelihood'], got 'fd'.",
    ),
}


@pytest.mark.parametrize("case", BAD)
def test_bad_input_is_a_user_error_of_one_sentence(case, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    call, sentence = BAD[case]
    with pytest.raises(genmodels.UserError) as caught:
        call()
    assert sentence in str(caught.value) and "\n" not in str(caught.value)
    assert not [*tmp_path.iterdir()]


def test_an_interrupt_saves_and_is_a_keyboard_interrupt(tmp_path):
    folder, over = tmp_path / "run", threading.Event()

    def interrupt():
        while not (folder / "metrics.csv").exists() and not over.is_set():
            time.sleep(0.05)
        signal.raise_signal(signal.SIGINT)

    thread = threading.Thread(target=interrupt)
    handler = signal.signal(signal.SIGINT, signal.default_int_handler)  # jobs in the background may ignore it
    thread.start()
    try:
        with pytest.raises(KeyboardInterrupt, match="continue with: genmodels resume run="):
            genmodels.train(*SMALL, f"run_dir={folder}", "budget=batches:100000")
    finally:
        over.set()
        thread.join()
        signal.signal(signal.SIGINT, handler)
    assert (folder / "checkpoints" / "last.ckpt").exists()
