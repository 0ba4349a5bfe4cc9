"""Runs on two processes: gloo on the CPU, with an odd number of test examples."""

from __future__ import annotations

import json
import os
import runpy
import signal
import socket
import subprocess
import sys
import time
from functools import partial
from pathlib import Path

import numpy as np
import pytest
import torch
from conformance.kinds import KINDS, ROOT, examples, tiny
from processes import CONTEXT

from genmodels.cli import main
from genmodels.runs import read_checkpoint

ONE_THREAD = os.environ | {"OMP_NUM_THREADS": "1"}  # sums of other orders round differently, which a solver amplifies
METRICS = [
    "likelihood",
    "generalization",
    "fd",
    "kd",
    "prdc",
    "inception_score",
    "recognized",
    "memorization",
    "ais",
    "ode",
]


@pytest.fixture(autouse=True)
def one_thread():
    """As many threads here as in the processes that are started."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


def free_port():
    """A port of this machine that nobody listens to."""
    with socket.socket() as found:
        found.bind(("127.0.0.1", 0))
        return found.getsockname()[1]


def train(rank, port, log, words):
    """What one of two processes does that something else than Lightning has started, as a job script may."""
    told = {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": port, "NODE_RANK": 0, "LOCAL_RANK": rank, "WORLD_SIZE": 2}
    os.environ |= {name: str(value) for name, value in told.items()}
    torch.set_num_threads(1)
    sys.stdout = sys.stderr = open(log, "a")  # noqa: SIM115  for the life of the process
    sys.argv = ["train.py", *words]
    runpy.run_path(str(ROOT / "train.py"), run_name="__main__")


def start(folder, *words):
    """The record of a run on two processes, in which torch is imported already."""
    words = ("trainer=ddp", "trainer.accelerator=cpu", f"run_dir={folder}", *words)
    port, log = free_port(), f"{folder}.log"
    processes = [CONTEXT.Process(target=train, args=(rank, port, log, words)) for rank in range(2)]
    for process in processes:
        process.start()
    for process in processes:
        process.join(400)
    assert [process.exitcode for process in processes] == [0, 0], Path(log).read_text()[-2000:]
    return json.loads((folder / "run.json").read_text())


def score_alone(folder):
    """The record of the same run after evaluation by this process alone."""
    for kept in (folder / "evaluation").glob("*.jsonl"):
        kept.unlink()  # else the stored results would be reused
    main(["evaluate", f"run={folder}", "trainer.devices=1", "trainer.strategy=auto"])
    return json.loads((folder / "run.json").read_text())


@pytest.mark.slow
@pytest.mark.parametrize("name", ["vae", "ddpm"])  # which between them have all of these metrics
def test_every_metric_has_one_value_on_one_and_on_two_processes(name, tmp_path):
    small = ["budget.max_batches=4", "validations=1", "callbacks.samples.n=4", "data.batch_size=8", "data.limit=61"]
    sizes = ["metrics.fd.n=301", "metrics.fd.repeats=2", "metrics.likelihood.samples=2", "metrics.memorization.n=301"]
    annealing = ["metrics.ais.temperatures=10", "metrics.ais.batch_size=20", "metrics.ais.simulated=21"]
    flow = ["metrics.ode.tolerance=0.01", "metrics.ode.max_examples=11", "metrics.ode.batch_size=5"]
    words = [f"model={name}", *tiny(name), f"metrics=[{','.join(METRICS)}]", *small, *sizes, *annealing, *flow]
    two = start(tmp_path / "run", *words)
    assert two["cost"]["examples"] == 64  # four batches of 8 on each of two processes
    assert two["metrics"]["bits_per_dim_k2"]["n"] == 61
    one = score_alone(tmp_path / "run")
    assert set(one["metrics"]) == set(two["metrics"]) and one["refusals"] == two["refusals"]
    for metric, score in two["metrics"].items():
        again = one["metrics"][metric]
        for key in ("value", "se"):
            assert again[key] == pytest.approx(score[key], rel=1e-6, abs=1e-9), metric
        assert again["n"] == score["n"]


@pytest.mark.slow
def test_a_signal_to_one_process_stops_both_and_resume_is_exact(tmp_path):
    """The noise of a VAE comes from another stream of random numbers in each process."""
    small = ["metrics=[likelihood]", "budget.max_batches=60", "validations=2", "callbacks.samples.n=4"]
    words = ["model=vae", *tiny("vae"), *small, "data.batch_size=8", "data.limit=500", "trainer.log_every_n_steps=1"]

    def launched(folder):
        """The command with which Lightning starts the other process."""
        return [sys.executable, "train.py", "trainer=ddp", "trainer.accelerator=cpu", f"hydra.run.dir={folder}", *words]

    subprocess.run(launched(tmp_path / "whole"), cwd=ROOT, check=True, timeout=400, env=ONE_THREAD)
    parts = tmp_path / "parts"
    heed = partial(signal.signal, signal.SIGTERM, signal.SIG_DFL)
    process = subprocess.Popen(
        launched(parts), cwd=ROOT, env=ONE_THREAD, stderr=subprocess.PIPE, text=True, preexec_fn=heed
    )
    deadline = time.monotonic() + 100
    while not (parts / "run.json").exists() and time.monotonic() < deadline:
        time.sleep(0.01)
    process.terminate()
    _, err = process.communicate(timeout=100)
    assert process.returncode == 143, err
    told = f"interrupted by SIGTERM; continue with: genmodels resume run={parts}"
    assert told in err.splitlines()  # after which the other process may tell of its closed connection
    assert read_checkpoint(parts / "checkpoints" / "last.ckpt")["callbacks"]["Budget"]["spent"]["batches"] < 60
    again = [sys.executable, "-m", "genmodels.cli", "resume", f"run={parts}"]
    subprocess.run(again, cwd=ROOT, check=True, timeout=400, env=ONE_THREAD)
    expected, found = (read_checkpoint(f / "checkpoints" / "last.ckpt") for f in (tmp_path / "whole", parts))
    assert all(torch.equal(found["state_dict"][key], value) for key, value in expected["state_dict"].items())


def test_players_of_a_game_take_turns_on_two_processes(tmp_path):
    spec = KINDS["points"]
    array = tmp_path / "data.npz"
    np.savez(array, train=examples(spec, 40).numpy(), test=examples(spec, 11, seed=1).numpy())
    on_points = ["data=npz", f"data.source.path={array}", "data.spec.shape=[2]", "data.batch_size=8"]
    small = ["metrics=[likelihood]", "budget.max_batches=2", "validations=1", "callbacks.samples.n=4"]
    words = ["model=gan", *tiny("gan"), *on_points, *small]
    assert start(tmp_path / "run", *words)["cost"]["examples"] == 32
