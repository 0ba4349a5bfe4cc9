"""Log-likelihood of decoders by annealed importance sampling, GAN generators included (Wu et al. 2017)."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from genmodels.core import Kind, Score
from genmodels.core.abilities import DecodesLatent, HasLikelihood, HasObservation
from genmodels.core.observation import SphericalGaussian
from genmodels.core.quantization import to_symmetric
from genmodels.core.randomness import EVALUATION, stream
from genmodels.errors import require
from genmodels.mcmc import forward, lower_bound, reverse, sigmoid_schedule, tune, upper_bound
from genmodels.metrics.base import Evaluation, Subject, evenly_spaced
from genmodels.metrics.likelihood import cost_in_unit, likelihood_score
from genmodels.metrics.processes import map_over_ranks, track
from genmodels.metrics.resumable import ResumableResults

if TYPE_CHECKING:
    from genmodels.data import DataModule
    from genmodels.models.base import BaseModel

TEST, SIMULATED, WIDTH = 1, 2, 3  # streams of random numbers
TUNING, RUNNING = 1, 2
WIDTHS = 9  # candidates for the observation's standard deviation
WIDTH_IMAGES = 32  # validation examples that choose among them
WIDTH_TEMPERATURES, WIDTH_LEAPFROGS = 500, 5  # with fewer, the loose bound at small widths makes for a large one


@dataclass(frozen=True)
class Decoder:
    """A law p(x|z) with z ~ N(0, I).

    Attributes:
        latent_dim: dimensions of z.
        log_prob: ``x [N, *shape], z [N, d] -> log p(x|z) [N]`` in nats.
        sample: ``z [N, d] -> x ~ p(x|z)``.
    """

    latent_dim: int
    log_prob: Callable[[Tensor, Tensor], Tensor]
    sample: Callable[[Tensor], Tensor]


def spherical(model: DecodesLatent, observation: SphericalGaussian) -> Decoder:
    """The decoder that sees Gaussian noise of one width around the model's location."""

    def log_prob(x: Tensor, z: Tensor) -> Tensor:
        return observation.log_prob(x, model.location(z))

    def sample(z: Tensor) -> Tensor:
        return observation.sample(model.location(z))

    return Decoder(model.latent_dim, log_prob, sample)


class AISEvaluation(Evaluation):
    """Scores ``ais_bits_per_dim``, or ``ais_nats``: a lower bound on log p(x) that tightens with the temperatures.

    Of a model that has a law p(x|z) of its own, that law is scored. Of one that has none, a GAN, or where ``gaussian``
    is true, ``ais_gaussian_bits_per_dim`` is scored: p_sigma(x|z), Gaussian noise of one width around the decoder's
    location (on integers its mass, see :class:`genmodels.core.observation.SphericalGaussian`), the width chosen on
    validation data. It is the likelihood of that law, not of the generator alone, which has none.

    How near the bound is to the truth is measured on data simulated from the model, where annealing backwards from the
    latent they came from bounds it from above as well (bidirectional Monte Carlo, Grosse et al. 2015): ``gap`` is the
    mean distance of the two, and stands beside the score.

    Batches that are finished are kept: an evaluation that was killed goes on from there.

    Args:
        images: test examples, evenly spaced.
        temperatures: T, on a sigmoid schedule.
        chains: independent runs for each example, whose weights are averaged.
        leapfrogs: steps of one Hamiltonian trajectory, of which there is one a temperature.
        simulated: examples drawn from the model for the gap.
        batch_size: examples annealed at a time, each with all its chains.
        gaussian: score p_sigma(x|z) even of a model that has a law of its own.
        sigma: width of p_sigma, on the [-1, 1] scale for integers; ``None`` chooses it on validation data.
    """

    def __init__(
        self,
        images: int = 100,
        temperatures: int = 1000,
        chains: int = 1,
        leapfrogs: int = 5,
        simulated: int = 25,
        batch_size: int = 25,
        gaussian: bool = False,
        sigma: float | None = None,
    ) -> None:
        self.sizes = {"images": images, "temperatures": temperatures, "chains": chains, "leapfrogs": leapfrogs}
        for name, value in {**self.sizes, "simulated": simulated, "batch_size": batch_size}.items():
            require(value >= 1, f"{name} of ais must be at least 1, got {value}.")
        require(sigma is None or sigma > 0, f"sigma of ais must be positive, got {sigma}.")
        self.simulated = simulated
        self.batch_size = batch_size
        self.gaussian = gaussian
        self.sigma = sigma

    def unsupported_reason(self, model: BaseModel, data: DataModule) -> str | None:
        """Only a decoder can be annealed."""
        if isinstance(model, DecodesLatent):
            return None
        instead = "; metrics=[likelihood] has its log-likelihood" if isinstance(model, HasLikelihood) else ""
        return f"{type(model).__name__} has no decoder p(x given z) under a normal prior for AIS to integrate{instead}."

    def measure(self, subject: Subject) -> list[Score]:
        """The bound on test data, and beside it the gap on simulated data."""
        model, spec = subject.model, subject.model.spec
        assert isinstance(model, DecodesLatent)  # measure() is called only where there is no unsupported_reason
        test = subject.data.split("test")
        chosen = evenly_spaced(test, self.sizes["images"])
        its_own = isinstance(model, HasObservation) and not self.gaussian
        settings = [subject.fingerprint, subject.seed, self.sizes, self.simulated, self.batch_size, self.sigma, its_own]
        resumable = ResumableResults(subject.folder, "ais", [*settings, int(chosen.sum(dtype=torch.float64))])
        if isinstance(model, HasObservation) and its_own:
            decoder, observed = Decoder(model.latent_dim, model.conditional_log_prob, model.conditional_sample), {}
        else:
            sigma = self.sigma or self._choose_sigma(model, subject, resumable)
            decoder = spherical(model, SphericalGaussian(spec, sigma))
            observed = {"sigma": sigma, "sigma_from": "given" if self.sigma else "validation data"}
        found = self._batches(chosen, decoder, subject, resumable)
        lower, acceptance = flat(found, "lower"), flat(found, "acceptance").mean()
        protocol = {
            "split": "test",
            "of": len(test),
            **self.sizes,
            "schedule": "sigmoid",
            "observation": "the model's own" if its_own else "spherical Gaussian",
            **observed,
            "acceptance": float(acceptance),
            **self._gap(decoder, subject, resumable),
        }
        name = "ais_{}" if its_own else "ais_gaussian_{}"
        return [likelihood_score(lower, spec, Kind.LOWER_BOUND, protocol, name)]

    def _batches(
        self, x: Tensor, decoder: Decoder, subject: Subject, resumable: ResumableResults
    ) -> list[dict[str, list[float]]]:
        """What annealing has to say of each batch of ``x``, from the resumable or anew."""
        parts = x.split(self.batch_size)

        def work(i: int) -> dict[str, list[float]]:
            key = f"test {i}"
            if key not in resumable:
                run = Annealing(self, decoder, parts[i], subject, (TEST, i), f"AIS, batch {i + 1} of {len(parts)}")
                resumable[key] = run.forward()
            return dict(resumable[key])

        return map_over_ranks(work, len(parts))

    def _gap(self, decoder: Decoder, subject: Subject, resumable: ResumableResults) -> dict[str, Any]:
        """Mean distance of upper and lower bound on simulated data, in the unit of the score."""
        sizes = [min(self.batch_size, self.simulated - done) for done in range(0, self.simulated, self.batch_size)]
        device = subject.model.device

        def work(i: int) -> dict[str, list[float]]:
            key = f"simulated {i}"
            if key not in resumable:
                with stream(subject.seed, EVALUATION, SIMULATED, i, device=device):
                    z = torch.randn(sizes[i], decoder.latent_dim, device=device)
                    x = decoder.sample(z)
                run = Annealing(self, decoder, x, subject, (SIMULATED, i), f"BDMC, batch {i + 1} of {len(sizes)}")
                resumable[key] = run.forward() | run.reverse(z)
            return dict(resumable[key])

        found = map_over_ranks(work, len(sizes))
        gap, se = cost_in_unit(flat(found, "upper") - flat(found, "lower"), subject.model.spec)
        return {"gap": gap, "gap_se": se, "simulated": self.simulated}

    def _choose_sigma(self, model: DecodesLatent, subject: Subject, resumable: ResumableResults) -> float:
        """The width that makes validation data likeliest, by a short run over candidates in geometric steps.

        Around the best one the logarithm of the width is refined by the parabola through it and its neighbors.
        """
        if "sigma" not in resumable:
            spec, device, data = subject.model.spec, subject.model.device, subject.data.split("val")
            x = evenly_spaced(data, WIDTH_IMAGES).to(device)
            spread = float(to_symmetric(data, spec).std())
            candidates = torch.logspace(math.log10(0.03), math.log10(1.2), WIDTHS, device=device) * spread
            widths = candidates.repeat_interleave(len(x))
            decoder = spherical(model, SphericalGaussian(spec, widths))
            repeated = x.repeat(WIDTHS, *[1] * (x.dim() - 1))
            short = AISEvaluation(temperatures=WIDTH_TEMPERATURES, leapfrogs=WIDTH_LEAPFROGS)
            run = Annealing(short, decoder, repeated, subject, (WIDTH, 0), "AIS, width of the observation")
            nats = torch.tensor(run.forward()["lower"]).view(WIDTHS, -1).mean(1)
            resumable["sigma"] = float(vertex(candidates.log().cpu(), nats).exp())  # the same in every process
        return float(resumable["sigma"])


class Annealing:
    """One batch: its step sizes tuned on a pilot, then frozen.

    Args:
        settings: temperatures, chains and leapfrogs.
        decoder: what is annealed.
        x: raw data ``[B, *shape]``.
        subject: whose seed and device are used.
        part: names the batch's random numbers.
        title: of the progress bar.
    """

    def __init__(
        self, settings: AISEvaluation, decoder: Decoder, x: Tensor, subject: Subject, part: tuple[int, int], title: str
    ) -> None:
        self.chains, self.leapfrogs = settings.sizes["chains"], settings.sizes["leapfrogs"]
        self.betas = sigmoid_schedule(settings.sizes["temperatures"])
        self.decoder = decoder
        self.device = subject.model.device
        self.x = x.to(self.device).repeat(self.chains, *[1] * (x.dim() - 1))
        self.names = (subject.seed, EVALUATION, *part)
        self.title = title
        with stream(*self.names, TUNING, device=self.device):
            self.steps = tune(self._log_likelihood, self._prior(), self.betas, self.leapfrogs)

    def forward(self) -> dict[str, list[float]]:
        """Lower bound of each example in nats, and the mean acceptance probability."""
        with stream(*self.names, RUNNING, device=self.device):
            run = forward(self._log_likelihood, self._prior(), self.betas, self.steps, self.leapfrogs, self._watch)
        return {"lower": lower_bound(self._by_chain(run.log_weight)).tolist(), "acceptance": [run.acceptance]}

    def reverse(self, z: Tensor) -> dict[str, list[float]]:
        """Upper bound of each example in nats, from the latents ``z [B, d]`` that it was simulated from."""
        with stream(*self.names, RUNNING + 1, device=self.device):
            start = z.repeat(self.chains, 1)
            run = reverse(self._log_likelihood, start, self.betas, self.steps, self.leapfrogs, self._watch)
        return {"upper": upper_bound(self._by_chain(run.log_weight)).tolist()}

    def _log_likelihood(self, z: Tensor) -> Tensor:
        return self.decoder.log_prob(self.x, z)

    def _prior(self) -> Tensor:
        return torch.randn(len(self.x), self.decoder.latent_dim, device=self.device)

    def _by_chain(self, values: Tensor) -> Tensor:
        return values.view(self.chains, -1).cpu()

    def _watch(self, temperatures: Sequence[int]) -> Iterable[int]:
        return track(temperatures, len(temperatures), self.title)


def flat(found: list[dict[str, list[float]]], key: str) -> Tensor:
    """The values under ``key`` of all batches, float64."""
    return torch.tensor([value for batch in found for value in batch[key]], dtype=torch.float64)


def vertex(x: Tensor, y: Tensor) -> Tensor:
    """Where the parabola through the highest of ``y [n]`` over evenly spaced ``x [n]`` and its neighbors is highest.

    >>> x = torch.arange(5.0)
    >>> vertex(x, -(x - 2.3) ** 2)
    tensor(2.3000)
    """
    best = int(y.argmax())
    if not 0 < best < len(y) - 1:
        return x[best]
    left, middle, right = y[best - 1 : best + 2]
    return x[best] + 0.5 * (x[1] - x[0]) * (left - right) / (left - 2 * middle + right)
