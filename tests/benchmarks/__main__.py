"""Benchmarks against reference implementations in one process: ``python -m tests.benchmarks``.

Timings are noisy, so nothing is asserted: the implementations compared run alternately, and the ratio of the medians of
their times is printed.
"""

from __future__ import annotations

import json
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import datetime
from pathlib import Path

import numpy as np
import torch
from lightning import Callback
from rich.console import Console
from rich.table import Table
from torch.utils.data import DataLoader, Dataset
from torch.utils.flop_counter import FlopCounterMode
from torchmetrics.image.fid import _compute_fid

from genmodels.builder import build
from genmodels.core.abilities import Samples
from genmodels.data import BatchLoader, DataModule
from genmodels.experiment import Experiment
from genmodels.launch import compose, options
from genmodels.metrics import InDomainClassifier, SampleSets, Subject, frechet_distance
from genmodels.metrics.features import FeatureSpace
from genmodels.models.base import BaseModel, make_optimizers, train_batch
from genmodels.runs import set_memory_format
from tests.benchmarks import continuous, energy
from tests.benchmarks import flows as flow_benchmarks
from tests.benchmarks.precision import precision

ROOT = Path(__file__).parents[2]
ROUNDS, STEPS, WARM = 5, 12, 3
IMAGES = {"images 8x8": ([1, 8, 8], 17), "images 28x28": ([1, 28, 28], 256)}
SETS = {"images 28x28": IMAGES["images 28x28"], "points": ([2], None)}
SIDE = 1024  # of the matrices whose product is the peak


class Clock(Callback):
    """Records when each batch begins."""

    def __init__(self) -> None:
        self.times: list[float] = []

    def on_train_batch_start(self, *_: object) -> None:
        self.times.append(time.perf_counter())


def lightning_steps(name: str, overrides: list[str]) -> list[float]:
    """Durations of training steps under Lightning with all callbacks, from batch to batch, in seconds."""
    experiment = Experiment.assemble(compose([f"model={name}", *overrides]))
    clock = Clock()
    experiment.trainer.callbacks.append(clock)
    experiment.fit()
    return np.diff(clock.times)[WARM:].tolist()


def bare_step(name: str, overrides: list[str]) -> Callable[[], object]:
    """The same step in a plain loop, on one batch in memory."""
    experiment = Experiment.assemble(compose([f"model={name}", *overrides]))
    model, data = experiment.model, experiment.data
    model.initialize(data.first_train(512))
    set_memory_format(model, experiment.computing.channels_last)
    x = data.split("train")[: data.batch_size]
    optimizers = make_optimizers(model)
    return lambda: train_batch(model, x, optimizers)


def bare_steps(name: str, overrides: list[str]) -> list[float]:
    """Durations of the same steps in a plain loop over batches in memory, in seconds."""
    step, times = bare_step(name, overrides), []
    for _ in range(STEPS):
        times.append(time.perf_counter())
        step()
    return np.diff(times)[WARM:].tolist()


@contextmanager
def made_up(shape: list[int], levels: int | None) -> Iterator[list[str]]:
    """Overrides for a short run on random data ``[2000, *shape]`` of that many levels."""
    with tempfile.TemporaryDirectory() as folder:
        array, size = Path(folder) / "data.npz", (2000, *shape)
        generator = np.random.default_rng(0)
        x = generator.integers(0, levels, size, dtype=np.uint8) if levels else generator.normal(size=size)
        np.savez(array, train=x, test=x[:10])
        yield [
            "data=npz", f"data.source.path={array}", f"data.spec.shape={shape}",
            f"data.spec.levels={'null' if levels is None else levels}", f"budget.max_batches={STEPS}",
            "validations=1", "metrics=[]", "callbacks.samples=null", f"run_dir={folder}/run",
            "trainer.precision=32-true",
        ]  # fmt: skip


def step_ratios(table: Table) -> None:
    """Training steps of every model against a bare loop."""
    for title, (shape, levels) in SETS.items():
        for name in options("model"):
            with made_up(shape, levels) as overrides:
                ours, bare = [], []
                for _ in range(ROUNDS):
                    bare += bare_steps(name, overrides)
                    ours += lightning_steps(name, overrides)
            a, b = statistics.median(ours), statistics.median(bare)
            table.add_row(f"step of {name}, {title}", f"{1e3 * a:.2f} ms", f"{1e3 * b:.2f} ms", f"{a / b:.3f}x")


def utilization(table: Table) -> None:
    """Arithmetic of every model's float32 training step per second, beside the matrix products' peak.

    Counted are the products of linear layers, convolutions and attention, forward and backward. A product with the
    zeros around an image counts, since it is computed; it is a third of a 3x3 convolution on 4x4 pixels.
    """
    factors = torch.randn(2, SIDE, SIDE)
    for title, (shape, levels) in IMAGES.items():
        for name in options("model"):
            with made_up(shape, levels) as overrides:
                step = bare_step(name, overrides)
            with FlopCounterMode(display=False) as counter:
                step()
            gflop = counter.get_total_flops() / 1e9
            seconds, of_product = alternating(step, lambda: factors[0] @ factors[1])
            ours, most = gflop / seconds, 2 * SIDE**3 / of_product / 1e9
            what = f"{gflop:.2f} GFLOP in a step of {name}, {title}"
            table.add_row(what, f"{ours:.0f} GFLOP/s", f"{most:.0f} GFLOP/s", f"{ours / most:.0%} of the peak")


class PerSample(Dataset):
    """The usual Dataset: one example at a time, scaled to floats."""

    def __init__(self, x: torch.Tensor) -> None:
        self.x = x

    def __len__(self) -> int:
        return len(self.x)

    def __getitem__(self, index: int) -> torch.Tensor:
        return self.x[index].float() / 255


def loader_ratio(table: Table) -> None:
    """Batches of a data set of MNIST's size against a per-example Dataset in a DataLoader."""
    x = torch.randint(0, 256, (60_000, 1, 28, 28), dtype=torch.uint8)
    ours, usual = BatchLoader(x, 128, shuffle=True), DataLoader(PerSample(x), 128, shuffle=True)

    def seconds_per_batch(loader, batches):
        iterator = iter(loader)
        next(iterator)
        start = time.perf_counter()
        for _ in range(batches):
            next(iterator)
        return (time.perf_counter() - start) / batches

    a = statistics.median(seconds_per_batch(ours, 200) for _ in range(5))
    b = statistics.median(seconds_per_batch(usual, 40) for _ in range(5))
    title = "batch of MNIST, against a per-sample Dataset in a DataLoader"
    table.add_row(title, f"{1e6 * a:.0f} µs", f"{1e6 * b:.0f} µs", f"{b / a:.0f}x faster")


def first_step(table: Table) -> None:
    """Seconds from the command to its first training step and to the help, each the median of three."""
    words = ["budget.max_batches=1", "metrics=[]", "callbacks.samples=null"]
    lines = (("python train.py, whole run of one batch", words, "6 s"), ("python train.py --help", ["--help"], "0.5 s"))
    for title, given, wanted in lines:
        times = []
        for _ in range(3):
            with tempfile.TemporaryDirectory() as folder:
                start = time.perf_counter()
                command = [sys.executable, "train.py", *given, f"hydra.run.dir={folder}/run"]
                subprocess.run(command, cwd=ROOT, check=True, capture_output=True)
                times.append(time.perf_counter() - start)
        table.add_row(title, f"{statistics.median(times):.2f} s", f"{wanted} wanted", "")


def matrix_peak() -> float:
    """Float32 GFLOP/s of matrix products of 2048 rows, the best of ten."""
    a, times = torch.randn(2048, 2048), []
    for _ in range(11):
        start = time.perf_counter()
        a @ a
        times.append(time.perf_counter() - start)
    return 2 * 2048**3 / min(times[1:]) / 1e9


def main_job(table: Table) -> None:
    """The main job's seconds, in training and in everything else, beside the machine's peak in matrix products."""
    with tempfile.TemporaryDirectory() as folder:
        words = ["-m", "model=gan,vae,realnvp,ddpm", f"hydra.sweep.dir={folder}"]
        start = time.perf_counter()
        subprocess.run([sys.executable, "train.py", *words], cwd=ROOT, check=True, capture_output=True)
        whole = time.perf_counter() - start
        records = [json.loads(path.read_text()) for path in sorted(Path(folder).glob("*/run.json"))]
    training = 0.0
    for record in records:
        seconds = record["cost"]["train_seconds"]
        lasted = (datetime.fromisoformat(record["ended"]) - datetime.fromisoformat(record["started"])).total_seconds()
        training += seconds
        rest = f"{lasted - seconds:.0f} s besides"
        table.add_row(f"main job, {record['model']}", f"{seconds:.0f} s of training", rest, f"{seconds / lasted:.0%}")
    title = f"main job at a peak of {matrix_peak():.0f} GFLOP/s"
    table.add_row(title, f"{whole:.0f} s", f"{training:.0f} s of training", f"{training / whole:.0%}")


def sharing(table: Table) -> None:
    """Two trainings that are started at the same time against one after the other, on all cores."""
    with tempfile.TemporaryDirectory() as folder:
        words = ["budget.max_batches=300", "metrics=[]", "callbacks.samples=null", "validations=1"]
        runs = [[sys.executable, "train.py", f"hydra.run.dir={folder}/{i}", *words] for i in range(4)]
        start = time.perf_counter()
        for run in runs[:2]:
            subprocess.run(run, cwd=ROOT, check=True, capture_output=True)
        between = time.perf_counter()
        both = [
            subprocess.Popen(run, cwd=ROOT, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL) for run in runs[2:]
        ]
        codes = [each.wait() for each in both]
        end = time.perf_counter()
    assert codes == [0, 0]
    a, b = end - between, between - start
    table.add_row("two trainings side by side, against one by one", f"{a:.1f} s", f"{b:.1f} s", f"{a / b:.2f}x")


def alternating(*runs: Callable[[], object], rounds: int = ROUNDS) -> tuple[float, ...]:
    """Median durations of functions that run alternately, in seconds, after one warm-up round."""
    times: list[list[float]] = [[] for _ in runs]
    for _ in range(rounds + 1):
        for run, kept in zip(runs, times, strict=True):
            start = time.perf_counter()
            run()
            kept.append(time.perf_counter() - start)
    return tuple(statistics.median(kept[1:]) for kept in times)


def frechet_ratio(table: Table) -> None:
    """The Fréchet distance at Inception's dimension against torchmetrics' computation from the same moments."""
    factor = torch.randn(2, 2048, 2048, dtype=torch.float64) / 45
    covariances = factor @ factor.mT + 0.01 * torch.eye(2048)
    means = torch.randn(2, 2048, dtype=torch.float64)
    arguments = (means[0], covariances[0], means[1], covariances[1])
    relative = abs(frechet_distance(*arguments) / float(_compute_fid(*arguments)) - 1)
    a, b = alternating(lambda: frechet_distance(*arguments), lambda: _compute_fid(*arguments), rounds=3)
    title = f"Fréchet distance at d=2048 against torchmetrics' (equal to {relative:.0e})"
    table.add_row(title, f"{a:.2f} s", f"{b:.2f} s", f"{b / a:.2f}x faster")


@torch.no_grad()
def extraction_ratio(table: Table) -> None:
    """Features of MNIST-sized images against a bare loop over the same network."""
    data = build(compose(["data=mnist"]).data, "data", DataModule)
    x = torch.randint(0, 256, (5000, 1, 28, 28), dtype=torch.uint8)
    extractor = InDomainClassifier(data)
    subject = Subject(Still(), data, SampleSets(Still(), 0), 0, Path())

    def bare() -> None:
        for part in x.split(250):
            extractor.features(part)

    a, b = alternating(lambda: FeatureSpace(extractor, subject).extract(x, "x"), bare)
    table.add_row("features of 5000 MNIST-sized images", f"{a:.2f} s", f"{b:.2f} s", f"{a / b:.3f}x")


class Still(Samples):
    """A placeholder for a model that is never used."""

    device = torch.device("cpu")

    def sample(self, n: int) -> torch.Tensor:
        raise AssertionError


@torch.no_grad()
def likelihood_costs(table: Table) -> None:
    """IWAE-50 of 1000 images of MNIST's size, and the whole bound of the diffusion model against its network alone."""
    overrides = ["data=mnist", "data.spec.shape=[1,28,28]"]
    vae, ddpm = (
        build(compose([f"model={name}", *overrides]).model, "model", BaseModel).eval() for name in ("vae", "ddpm")
    )
    x = torch.randint(0, 256, (1000, 1, 28, 28), dtype=torch.uint8)
    start = time.perf_counter()
    for part in x.split(500):
        vae.log_likelihood(part, samples=50)
    seconds = time.perf_counter() - start
    table.add_row("IWAE-50 of 1000 MNIST-sized images, vae", f"{seconds:.1f} s", "30 s wanted", "")
    images, steps = x[:2], ddpm.process.steps
    repeated, t = torch.randn(512, 1, 28, 28), torch.randint(1, steps + 1, (512,))

    def bound() -> None:
        with torch.autocast("cpu", torch.bfloat16):
            ddpm.log_likelihood(images)

    def bare() -> None:
        with torch.autocast("cpu", torch.bfloat16):
            for done in range(0, steps * len(images), 512):
                size = min(512, steps * len(images) - done)
                ddpm.network(repeated[:size], t[:size])

    a, b = alternating(bound, bare)
    title = f"bound of ddpm, T={steps}, 28x28, bf16, against a bare loop of T passes"
    table.add_row(title, f"{len(images) / a:.2f} images/s", f"{len(images) / b:.2f} images/s", f"{a / b:.3f}x")


def rbm_training(table: Table) -> None:
    """See :func:`tests.benchmarks.energy.rbm_training`."""
    energy.rbm_training(table, alternating)


def langevin_step(table: Table) -> None:
    """See :func:`tests.benchmarks.energy.langevin_step`."""
    energy.langevin_step(table, alternating)


def flows(table: Table) -> None:
    """See :func:`tests.benchmarks.flows.flows`."""
    flow_benchmarks.flows(table, alternating)


def flow_matching(table: Table) -> None:
    """See :func:`tests.benchmarks.continuous.flow_matching`."""
    continuous.flow_matching(table, alternating)


MEASURED = (
    loader_ratio, first_step, main_job, sharing, frechet_ratio, extraction_ratio, likelihood_costs, step_ratios,
    utilization, rbm_training, langevin_step, flows, flow_matching,
)  # fmt: skip


def print_table(headings: tuple[str, ...], measured: tuple[Callable[[Table], None], ...]) -> None:
    """Print a table with the rows of all functions ``measured``, or of those named on the command line."""
    table = Table(*headings, title=f"{torch.get_num_threads()} threads, torch {torch.__version__}")
    for measure in measured:
        if len(sys.argv) == 1 or measure.__name__ in sys.argv[1:]:
            measure(table)
    Console().print(table)


def main() -> None:
    """Print a table of all measurements, or of those named on the command line; or the table of precisions."""
    if sys.argv[1:2] == ["precision"]:
        precision(sys.argv[2:])
        return
    print_table(("what", "ours", "against", "ratio"), MEASURED)


if __name__ == "__main__":
    main()
