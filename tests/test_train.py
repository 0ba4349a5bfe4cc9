"""The command line of train.py: complete runs, and the messages for bad input."""

from __future__ import annotations

import gzip
import json
import signal
import subprocess
import sys
import time
from functools import partial
from types import SimpleNamespace

import numpy as np
import pytest
from conformance.kinds import ROOT
from hydra.errors import MissingConfigException
from PIL import Image

from genmodels.errors import UserError
from genmodels.hints import sentence
from genmodels.launch import options, require_one_folder
from genmodels.search.sweeper import refuse_other_plugin

SMALL = ("data.limit=40", "data.batch_size=16", "validations=1", "callbacks.samples.n=4", "model.encoder.width=8",
         "model.decoder.width=8", "metrics=[likelihood]", "trainer.accelerator=cpu")  # fmt: skip
PIPES = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "text": True}


@pytest.fixture
def command(tmp_path, train_py):
    """A function that runs train.py in this process and returns status, standard output and standard error."""
    return lambda *words, folder="run": train_py(*words, f"hydra.run.dir={tmp_path / folder}")


def test_trains_scores_and_leaves_a_complete_folder(command, tmp_path):
    status, out, err = command(*SMALL, "budget.max_batches=4")
    assert status == 0, err
    assert "bits_per_dim  <= " in out
    run = tmp_path / "run"
    names = {"config.yaml", "run.json", "metrics.csv", "checkpoints", "samples"}
    assert {path.name for path in run.iterdir()} == names
    record = json.loads((run / "run.json").read_text())
    assert record["status"] == "finished"
    assert record["metrics"]["bits_per_dim"]["kind"] == "lower_bound"
    assert record["metrics"]["bits_per_dim"]["n"] == 40


def test_a_finished_run_is_never_overwritten(command, tmp_path):
    command(*SMALL, "budget.max_batches=2")
    before = (tmp_path / "run" / "run.json").read_bytes()
    status, out, _ = command(*SMALL, "budget.max_batches=2")
    assert status == 0
    assert "skipped" in out
    status, _, err = command(*SMALL, "budget.max_batches=3")
    assert status == 1
    assert "already holds another run" in err
    assert (tmp_path / "run" / "run.json").read_bytes() == before


BAD = {
    "unknown model": (["model=vea"], "unknown model 'vea'; did you mean 'vae'?"),
    "unknown data": (["data=mnst"], "unknown data 'mnst'; did you mean 'mnist'?"),
    "unknown key": (["model.latnt_dim=3"], "did you mean 'model.latent_dim'?"),
    "unknown group": (["modl=vae"], "did you mean 'model'?"),
    "added key": (["+model.latnt=3"], "unknown key model.latnt; did you mean 'latent_dim'?"),
    "negative": (["model.encoder.width=-3"], "model.encoder.width must be an integer from 1 to 16384, got -3."),
    "text for a number": (["model.encoder.width=many"], "model.encoder.width must be an integer, got 'many'."),
    "precision": (["trainer.precision=abc"], "trainer.precision must be auto, 32-true, bf16-mixed or 16-mixed"),
    "true precision": (["trainer.precision=64-true"], "parameters, likelihoods and chains are float32"),
    "no seed": (["seed=null"], "seed must be an integer from 0 to 4294967295, got null."),
    "text seed": (["seed=abc"], "seed must be an integer"),
    "learning rate": (["model.optimizer.lr=-1"], "Invalid learning rate: -1"),
    "budget": (["budget.max_batches=-5"], "budget.max_batches must be a positive amount"),
    "no accumulation": (["trainer.accumulate_grad_batches=0"], "trainer.accumulate_grad_batches must be an integer"),
    "no validation": (["trainer.limit_val_batches=0"], "got 0; checkpoints are saved at validations."),
    "decay": (
        ["callbacks.average.decay=2"],
        "callbacks.average.decay must be a number of at least 0 and below 1",
    ),
    "weights": (["weights=averaged"], "weights must be ema or raw"),
    "target": (["model._target_=os.system"], "refused"),
    "batch size": (["data.batch_size=0"], "data.batch_size must be an integer from 1 to 1000000, got 0."),
    "missing path": (["data=npz"], "error: data.source.path must be given on the command line."),
    "option's key": (["model=ddpm", "model.sampler.eta=1"], "'model.sampler.eta'; it is a key of model/sampler=ddim"),
    "model's key": (
        ["model=realnvp", "model.latent_dim=2"],
        "it is a key of model=ae and of model=gan and of model=vae",
    ),
    "key to add": (["trainer.benchmark=true"], "to add it, write +trainer.benchmark="),
    "key without its group": (["optimizer.lr=3"], "unknown key 'optimizer'; did you mean 'model.optimizer'?"),
    "unknown part": (["model=ddpm", "model/sampler=dim"], "unknown model/sampler 'dim'; did you mean 'ddim'?"),
    "no such part": (["model=vae", "model/sampler=ddim"], "model/sampler; it belongs to model="),
    "another model's part": (
        ["model=gan", "model/objective=simple"],
        "model/objective=simple belongs to ddpm, not to gan; choose one of: hinge, minimax, non_saturating,",
    ),
    "removed key": (["~budget"], "budget can be changed but not removed"),
    "removed seed": (["~seed"], "seed can be changed but not removed"),
    "removed model": (["~model"], "model cannot be removed; to choose another, write model=OPTION"),
    "null": (["model=null"], f"model needs an option; choose one of: {', '.join(sorted(options('model')))}"),
    "two values": (["seed=0,1"], "seed=0,1 gives several values; add -m to sweep over them"),
    "no value": (["model"], "'model' is not of the form key=value"),
    "unquoted": (["data.source.path=~/x.npz"], "put a value with special characters in quotes"),
    "of another type": (["budget=[1]"], "budget must be text such as batches:5000, or a mapping"),
    "unknown launcher": (["hydra/launcher=basik"], "unknown hydra/launcher 'basik'; did you mean 'basic'?"),
}


@pytest.mark.slow
@pytest.mark.parametrize("case", BAD)
def test_bad_input_is_one_sentence_and_leaves_nothing(case, command, tmp_path):
    words, sentence = BAD[case]
    status, _, err = command(*words)
    assert status == 1
    assert sentence in err
    assert len(err.splitlines()) == 1, err
    assert not (tmp_path / "run").exists()


def test_a_plugin_that_is_not_installed_names_the_extra():
    error = MissingConfigException("Could not find 'hydra/sweeper/optuna'", "hydra/sweeper/optuna", ["basic"])
    assert sentence(error).endswith("pip install 'genmodels[sweeps]'")


@pytest.mark.parametrize("damage", ["truncated", "altered", "missing"])
def test_damaged_data_files_are_named(damage, command, tmp_path):
    folder = tmp_path / "root" / "mnist"
    folder.mkdir(parents=True)
    name = "train-images-idx3-ubyte.gz"
    if damage != "missing":
        content = gzip.compress(b"\0" * 1000)
        for part in ("train-images-idx3", "train-labels-idx1", "t10k-images-idx3", "t10k-labels-idx1"):
            (folder / f"{part}-ubyte.gz").write_bytes(content[:-9] if damage == "truncated" else content)
    status, _, err = command("data=mnist", f"data.root={tmp_path / 'root'}")
    assert status == 1
    assert name in err
    assert "Traceback" not in err
    assert not (tmp_path / "run").exists()


def test_an_image_that_does_not_decode_is_named(command, tmp_path):
    (tmp_path / "images").mkdir()
    for name in "abcdefghijklmnopqrst":
        Image.new("RGB", (64, 64)).save(tmp_path / "images" / f"{name}.png")
    (tmp_path / "images" / "broken.png").write_bytes(b"not an image")
    status, _, err = command("data=image_folder", f"data.source.path={tmp_path / 'images'}", f"data.root={tmp_path}")
    assert status == 1
    assert "broken.png" in err
    assert "Traceback" not in err


def test_a_loss_that_turns_nan_stops_and_names_the_batch(command, tmp_path):
    array = tmp_path / "points.npz"
    x = np.random.default_rng(0).normal(size=(64, 2)).astype(np.float32)
    np.savez(array, train=x, test=x)
    words = ("data=npz", f"data.source.path={array}", "model.optimizer.lr=1e12", *SMALL, "budget.max_batches=50")
    status, _, err = command(*words)
    assert status == 1
    assert "became NaN, infinite or larger than 1e+20 at batch" in err
    assert "Traceback" not in err
    assert json.loads((tmp_path / "run" / "run.json").read_text())["status"] == "failed"


def test_a_sweep_reports_failures_and_continues(command, tmp_path):
    words = ("-m", f"hydra.sweep.dir={tmp_path / 'sweep'}", "model.latent_dim=-1,2", *SMALL, "budget.max_batches=2")
    status, out, err = command(*words)
    assert status == 1
    assert "model.latent_dim must be an integer" in err
    assert "Comparison" in out
    records = list((tmp_path / "sweep").rglob("run.json"))
    assert [json.loads(r.read_text())["status"] for r in records] == ["finished"]


def test_processes_of_torchrun_need_one_folder(monkeypatch):
    monkeypatch.setenv("TORCHELASTIC_RUN_ID", "none")
    monkeypatch.setenv("WORLD_SIZE", "2")
    with pytest.raises(UserError, match="need one folder; name it: run_dir=FOLDER"):
        require_one_folder(["model=vae"])
    require_one_folder(["model=vae", "run_dir=runs/x"])
    monkeypatch.setenv("WORLD_SIZE", "1")
    require_one_folder([])


def test_a_search_beside_the_plugin_for_optuna_2_says_what_to_remove(monkeypatch):
    found = [SimpleNamespace(name="hydra-optuna-sweeper")]
    monkeypatch.setattr("importlib.metadata.distributions", lambda: found)
    with pytest.raises(UserError, match="pip uninstall hydra-optuna-sweeper"):
        refuse_other_plugin(["hparams_search=optuna", "seed=0"])
    refuse_other_plugin(["seed=0,1"])
    found.clear()
    refuse_other_plugin(["hparams_search=optuna"])


def test_dry_run_prints_the_plan_and_writes_nothing(command, tmp_path):
    status, out, _ = command("dry_run=true")
    assert status == 0
    assert "encoder" in out
    assert "parameters" in out
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize("nothing", ["metrics=[]", "logger=[]"])
def test_groups_may_be_empty(nothing, command):
    status, _, err = command(*SMALL, "budget.max_batches=2", nothing)
    assert status == 0, err


@pytest.mark.slow
@pytest.mark.parametrize("name", ["SIGINT", "SIGHUP"])  # SIGTERM: in a sweep below, and callbacks/test_interrupt.py
def test_a_signal_saves_and_marks_the_run_interrupted(name, tmp_path):
    run = tmp_path / "run"
    words = [sys.executable, "train.py", f"hydra.run.dir={run}", "budget.max_time=10m", *SMALL]
    heed = partial(signal.signal, getattr(signal, name), signal.SIG_DFL)  # which background jobs may ignore
    process = subprocess.Popen(words, cwd=ROOT, preexec_fn=heed, **PIPES)
    try:
        deadline = time.monotonic() + 120
        while not (run / "metrics.csv").exists() and time.monotonic() < deadline and process.poll() is None:
            time.sleep(0.2)
        process.send_signal(getattr(signal, name))
        _, err = process.communicate(timeout=60)
    finally:
        process.kill()
    assert process.returncode == 128 + getattr(signal, name)
    assert err.splitlines() == [f"interrupted by {name}; continue with: genmodels resume run={run}"]
    assert json.loads((run / "run.json").read_text())["status"] == "interrupted"
    assert (run / "checkpoints" / "last.ckpt").exists()


@pytest.mark.slow
def test_a_signal_in_a_sweep_ends_in_tables_of_what_is_done_and_names_the_rest(tmp_path):
    words = [sys.executable, "train.py", "-m", "seed=0,1,2,3", f"hydra.sweep.dir={tmp_path}", "data=gaussian", *SMALL]
    heed = partial(signal.signal, signal.SIGTERM, signal.SIG_DFL)
    process = subprocess.Popen([*words, "budget.max_batches=150"], cwd=ROOT, preexec_fn=heed, **PIPES)
    try:
        deadline = time.monotonic() + 120
        while not [*tmp_path.glob("*_seed1/run.json")] and time.monotonic() < deadline:
            time.sleep(0.05)
        process.send_signal(signal.SIGTERM)
        out, err = process.communicate(timeout=60)
    finally:
        process.kill()
    assert process.returncode == 143
    assert "Comparison of 1 run" in out and (tmp_path / "report.html").exists()
    first, *rest = err.splitlines()
    assert first == f"interrupted by SIGTERM; continue with: genmodels resume run={next(tmp_path.glob('*_seed1'))}"
    assert [line.partition(" seed=")[2][0] for line in rest] == ["2", "3"]
    assert all(line.startswith("not started: ") for line in rest)


@pytest.mark.parametrize("flag", ["--help", "--cfg=job"])
def test_help_needs_no_torch(flag):
    code = (
        "import sys, runpy; sys.argv = ['train.py', *sys.argv[1:]]\n"
        "try: runpy.run_path('train.py', run_name='__main__')\n"
        "finally: assert 'torch' not in sys.modules"
    )
    done = subprocess.run(
        [sys.executable, "-c", code, *flag.split("=")], cwd=ROOT, capture_output=True, text=True, check=True
    )
    assert "latent_dim" in done.stdout
    assert flag != "--help" or "model/sampler: ancestral, ddim" in done.stdout
    assert " _base" not in done.stdout and " _mnist" not in done.stdout
