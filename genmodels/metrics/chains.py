"""Do a model's own Markov chains reach its law? Energies of long chains from noise and from data."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, NamedTuple

import torch
from torch import Tensor
from typing_extensions import override

from genmodels import plots
from genmodels.core import Score
from genmodels.core.abilities import RunsChains, Samples
from genmodels.core.processes import is_rank_zero
from genmodels.core.randomness import EVALUATION, stream
from genmodels.errors import ensure_counts, require
from genmodels.mcmc import Meeting, effective_draws, meeting, split_r_hat
from genmodels.metrics.base import Evaluation, Subject, evenly_spaced
from genmodels.metrics.processes import map_over_ranks, track

if TYPE_CHECKING:
    from genmodels.data import DataModule
    from genmodels.models.base import BaseModel

CHAINS = 8  # stream of random numbers; other metrics use 1 to 7
AT_A_TIME = 100  # chains
RECORDS = 200  # energies recorded of each chain, besides the first
MOST_ERRORS = 4  # standard errors within which the energies of chains that have met agree
LARGEST_R_HAT = 1.1  # of chains that agree with each other (Gelman & Rubin 1992)


class Recorded(NamedTuple):
    """What is kept of N chains.

    Attributes:
        energies: ``[R + 1, N]`` in nats, float64, from the start on, at equal numbers of steps.
        acceptance: mean probability ``[N]`` of accepting a step.
    """

    energies: Tensor
    acceptance: Tensor


class ChainsEvaluation(Evaluation):
    r"""Scores ``rhat_energy``: split R-hat of the energy, one where all chains of the model agree.

    Half of the chains start far from equilibrium, where annealing begins, the other half at test examples. Both run by
    the transitions with which the model is trained and sampled, at temperature 1. Their energies over the last half of
    the steps should then have one distribution: split :math:`\hat R` is the ratio of the standard deviation of all of
    them to that within halves of single chains (Vehtari et al. 2021, arXiv:1903.08008; genmodels.mcmc.diagnostics).

    The protocol has the mean energy of either half in nats, their difference with its standard error, the effective
    number of draws of all chains, and the mean acceptance probability. The score is flagged where the means differ by
    more than four standard errors, so that chains from noise and from data have not met, or where R-hat exceeds 1.1.
    ``evaluation/chains.png`` shows the energies. What no chain visits, and modes of equal energy, stay unseen.

    Args:
        chains: number of chains from noise, and from test data if there are so many, at least 2.
        steps: transitions of each, at least 10; energies are recorded after every one, or of many about 200 times.

    Raises:
        ValueError: for a number below these.
    """

    def __init__(self, chains: int = 100, steps: int = 1000) -> None:
        ensure_counts(2, chains=chains)
        ensure_counts(10, steps=steps)
        self.chains = chains
        self.steps = steps

    @override
    def unsupported_reason(self, model: BaseModel, data: DataModule) -> str | None:
        return None if isinstance(model, RunsChains) else f"{type(model).__name__} runs no Markov chains."

    @override
    def measure(self, subject: Subject) -> list[Score]:
        noise, data = self.recorded(subject)
        energies = torch.cat([noise.energies, data.energies], dim=1)
        require(bool(energies.isfinite().all()), "energies of chains are not finite: the model has diverged.")
        self.draw(noise.energies, data.energies, subject)
        rhat, met = float(split_r_hat(late(energies))), meeting(late(noise.energies), late(data.energies))
        model, test = subject.model, subject.data.split("test")
        protocol = {
            "split": "test",
            "of": len(test),
            "chains": self.chains,
            "steps": self.records * self.every,
            "acceptance": float(torch.cat([noise.acceptance, data.acceptance]).mean()),
            "ess": float(effective_draws(late(energies))),
            "from_noise": float(late(noise.energies).mean()),
            "from_data": float(late(data.energies).mean()),
            "difference": {"value": float(met.difference), "se": float(met.error)},
            "sampling": dict(model.sampling_protocol) if isinstance(model, Samples) else {},
            **disagreement(rhat, met),
        }
        return [
            Score(
                "rhat_energy",
                rhat,
                "",
                energies.shape[1],
                protocol=protocol,
                incidental=("acceptance", "ess"),
                baselines={"from_noise": "energy from noise", "from_data": "from data"},
            )
        ]

    def recorded(self, subject: Subject) -> tuple[Recorded, Recorded]:
        """The chains from noise and those from evenly spaced test examples, on the CPU."""
        model, x = subject.model, evenly_spaced(subject.data.split("test"), self.chains)
        assert isinstance(model, RunsChains)  # see unsupported_reason
        require(len(x) > 1, "chains from data require two test examples.")
        sizes, batches = [len(each) for each in torch.arange(self.chains).split(AT_A_TIME)], x.split(AT_A_TIME)

        def work(i: int) -> Recorded:
            device, of_noise = subject.model.device, i < len(sizes)
            with stream(subject.seed, EVALUATION, CHAINS, i, device=device):
                if of_noise:
                    return self.run(model, model.chains_of_noise(sizes[i]), "chains from noise")
                return self.run(model, model.chains_at(batches[i - len(sizes)].to(device)), "chains from data")

        found = map_over_ranks(work, len(sizes) + len(batches))
        return joined(found[: len(sizes)]), joined(found[len(sizes) :])

    @property
    def every(self) -> int:
        """Steps from one recorded energy to the next."""
        return max(1, self.steps // RECORDS)

    @property
    def records(self) -> int:
        """Number R of recorded energies besides the first."""
        return self.steps // self.every

    def run(self, model: RunsChains, state: Tensor, title: str) -> Recorded:
        """Chains from ``state [N, ...]``."""
        energies, accepted = [model.chain_energy(state)], torch.zeros(len(state), device=state.device)
        for _ in track(range(self.records), self.records, title):
            state, acceptance = model.run_chains(state, self.every)
            energies.append(model.chain_energy(state))
            accepted = accepted + acceptance
        return Recorded(torch.stack(energies).cpu().double(), (accepted / self.records).cpu())

    def draw(self, noise: Tensor, data: Tensor, subject: Subject) -> None:
        """Keep the picture of energies ``[R + 1, N]`` and ``[R + 1, M]``."""
        if is_rank_zero():
            subject.keep_picture("chains", plots.energies({"from noise": noise, "from data": data}, self.every))


def joined(parts: list[Recorded]) -> Recorded:
    """Several batches of chains as one."""
    energies, acceptance = zip(*parts, strict=True)
    return Recorded(torch.cat(energies, dim=1), torch.cat(acceptance))


def late(energies: Tensor) -> Tensor:
    """The last half of energies ``[R + 1, N]``, without the start."""
    return energies[-((len(energies) - 1) // 2) :]


def disagreement(rhat: float, met: Meeting) -> Mapping[str, Any]:
    """A flag that says in which way chains disagree, as an entry of the protocol; nothing if they agree."""
    difference, error = float(met.difference), float(met.error)
    if abs(difference) > MOST_ERRORS * error:
        where = "above" if difference > 0 else "below"
        words = f"chains from noise are {abs(difference):.3g} ± {error:.2g} nats {where} those from data"
        return {"flag": f"chains have not met: {words}"}
    if math.isnan(rhat):
        return {"flag": "the energies of all chains are equal and constant"}
    return {"flag": "chains have not mixed: they still differ from each other"} if rhat > LARGEST_R_HAT else {}
