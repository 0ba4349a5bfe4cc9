"""Two processes reach the numbers of one, with shares of different size."""

from types import SimpleNamespace

import torch
import torch.distributed as dist
import torch.multiprocessing as mp

from genmodels.core import DataSpec, Kind, Likelihood
from genmodels.metrics import FeatureStatistics, LikelihoodEvaluation
from genmodels.metrics.processes import from_first, rank_and_world, share
from genmodels.models.base import HasLikelihood

TEST = torch.randn(11, 2, generator=torch.Generator().manual_seed(0))


class Model(HasLikelihood):
    spec, device = DataSpec((2,)), torch.device("cpu")

    def log_likelihood(self, x, samples=1):
        return Likelihood(x.sum(1), Kind.EXACT)


def measure():
    """Everything that is reduced over processes."""
    statistics = FeatureStatistics(2)
    for i in share(len(TEST)):
        statistics.update(TEST[i : i + 1])
    evaluation = LikelihoodEvaluation(max_examples=7)
    evaluation.start(Model(), SimpleNamespace(split=lambda name: TEST, eval_batch_size=3))
    (score,) = evaluation.finish(Model())
    return {"moments": tuple(statistics.compute()), "score": (score.value, score.se, score.n)}


def worker(rank, folder):
    torch.set_num_threads(1)
    dist.init_process_group("gloo", init_method=f"file://{folder}/rendezvous", rank=rank, world_size=2)
    assert from_first(rank) == 0
    torch.save({**measure(), "alone": list(share(7))}, f"{folder}/{rank}.pt")
    dist.destroy_process_group()


def test_two_processes_measure_what_one_does(tmp_path):
    mp.start_processes(worker, (str(tmp_path),), nprocs=2, start_method="fork")
    alone = measure()
    both = [torch.load(tmp_path / f"{rank}.pt") for rank in range(2)]
    for found in both:
        torch.testing.assert_close(found["moments"], alone["moments"])
        torch.testing.assert_close(found["score"], alone["score"])
    assert both[0]["alone"] == [0, 2, 4, 6] and both[1]["alone"] == [1, 3, 5]


def test_outside_a_process_group_one_process_does_all():
    assert rank_and_world() == (0, 1)
    assert list(share(3)) == [0, 1, 2] and from_first("x") == "x"
