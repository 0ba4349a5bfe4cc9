"""Two processes with shares of different size reach the scores of one process."""

import json
from types import SimpleNamespace

import torch
import torch.distributed as dist
import torch.multiprocessing as mp
from metrics.test_fd import Pixels, data_of, images

from genmodels.core import DataSpec, Kind, Likelihood
from genmodels.core.abilities import HasLikelihood, Samples
from genmodels.core.processes import broadcast, rank_and_world, shard
from genmodels.metrics import (
    FeatureStatistics,
    FrechetEvaluation,
    KernelEvaluation,
    LikelihoodEvaluation,
    MemorizationEvaluation,
    PRDCEvaluation,
    SampleSets,
    Subject,
)
from genmodels.metrics.processes import map_over_ranks, track

TEST = torch.randn(11, 2, generator=torch.Generator().manual_seed(0))


class Model(HasLikelihood):
    """A noisy bound on vectors."""

    spec, device = DataSpec((2,)), torch.device("cpu")

    def log_likelihood(self, x, samples=1):
        noise = torch.rand(len(x))
        return Likelihood(x.sum(1) + noise, Kind.LOWER_BOUND, {"rate": noise})


class Pictures(Samples):
    """Draws random pixels."""

    spec, device = DataSpec((1, 2, 2), 256), torch.device("cpu")

    def sample(self, n):
        return torch.randint(256, (n, 1, 2, 2)).to(torch.uint8)


def measure(folder):
    """All results whose computation is distributed over processes."""
    statistics = FeatureStatistics(2)
    for i in shard(len(TEST)):
        statistics.update(TEST[i : i + 1])
    found = {"moments": [part.tolist() if isinstance(part, torch.Tensor) else part for part in statistics.compute()]}
    data = SimpleNamespace(split=lambda name: TEST, eval_batch_size=3)
    (score,) = LikelihoodEvaluation(max_examples=7).measure(Subject(Model(), data, None, 0, folder))
    found["nats"] = [score.value, score.se, score.n, score.protocol["rate"]["value"]]
    pictures = data_of(folder / f"{rank_and_world()}", images(80, 0), images(21, 1), images(31, 2))
    model = Pictures()
    subject = Subject(model, pictures, SampleSets(model, 0), 0, folder / "evaluation")
    for evaluation in (
        FrechetEvaluation(Pixels, n=601, repeats=2),
        KernelEvaluation(Pixels, n=601, repeats=1),
        PRDCEvaluation(Pixels, n=601, repeats=2),
        MemorizationEvaluation(n=601),
    ):
        for score in evaluation.measure(subject):
            found[score.name] = [score.value, score.se, score.protocol.get("floor", score.protocol.get("real"))]
    return found


def worker(rank, folder):
    torch.set_num_threads(1)
    dist.init_process_group("gloo", init_method=f"file://{folder}/rendezvous", rank=rank, world_size=2)
    assert broadcast(rank) == 0
    assert map_over_ranks(lambda i: (i, rank_and_world()[0]), 5) == [(0, 0), (1, 1), (2, 0), (3, 1), (4, 0)]
    assert list(shard(7)) == [[0, 2, 4, 6], [1, 3, 5]][rank]
    (folder / f"{rank}.json").write_text(json.dumps(measure(folder)))
    dist.destroy_process_group()


def test_two_processes_measure_what_one_does(tmp_path):
    mp.start_processes(worker, (tmp_path,), nprocs=2, start_method="fork")
    alone = measure(tmp_path)
    assert len(alone) == 10
    for rank in range(2):
        found = json.loads((tmp_path / f"{rank}.json").read_text())
        for name, values in alone.items():
            torch.testing.assert_close(found[name], values, rtol=1e-6, atol=1e-9, msg=f"{name} on rank {rank}")


def test_outside_a_process_group_one_process_does_all():
    assert rank_and_world() == (0, 1)
    assert list(shard(3)) == [0, 1, 2] and broadcast("x") == "x"


def test_long_work_says_how_long_it_will_take_where_there_is_no_terminal(capsys, monkeypatch):
    clock = iter(range(100))
    monkeypatch.setattr("genmodels.progress.time.monotonic", lambda: next(clock))
    assert list(track(range(20), 20, "sampling")) == list(range(20))
    lines = capsys.readouterr().out.splitlines()
    assert lines[0] == "sampling   20%  16 s left" and lines[-1] == "sampling  100%  0 s left"
    assert len(lines) == 9


def test_short_work_says_nothing(capsys):
    assert list(track(range(20), 20, "sampling")) == list(range(20))
    assert capsys.readouterr().out == ""
