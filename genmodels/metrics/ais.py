"""Log-likelihood of decoders, including GAN generators, by annealed importance sampling (Wu et al. 2017)."""

from __future__ import annotations

from dataclasses import asdict
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor
from typing_extensions import override

from genmodels.core import Kind, Score
from genmodels.core.abilities import DecodesLatent, HasLikelihood, HasObservation
from genmodels.core.observation import SphericalGaussian
from genmodels.core.processes import broadcast
from genmodels.core.randomness import EVALUATION, stream
from genmodels.errors import ensure_counts, ensure_numbers
from genmodels.hardware import require_memory
from genmodels.metrics.base import Evaluation, Subject, evenly_spaced
from genmodels.metrics.decoder_annealing import AnnealingSettings, DecoderAnnealing
from genmodels.metrics.decoders import Decoder, gaussian_decoder, own_decoder
from genmodels.metrics.likelihood import cost_in_unit, likelihood_score
from genmodels.metrics.noise_width import choose_sigma
from genmodels.metrics.processes import map_over_ranks
from genmodels.metrics.resumable import ResumableResults

if TYPE_CHECKING:
    from genmodels.data import DataModule
    from genmodels.models.base import BaseModel

TEST, SIMULATED, WIDTH = 1, 2, 3  # streams of random numbers


class AISEvaluation(Evaluation):
    """Scores ``ais_bits_per_dim`` or ``ais_nats``: a lower bound on log p(x) that tightens with more temperatures.

    The bound (Wu et al. 2017, arXiv:1611.04273) holds in expectation. A model with an observation model p(x|z) of its
    own is scored under it. A model without one, such as a GAN, is scored under p_sigma(x|z), isotropic Gaussian noise
    around the decoder's location (discretized on integers, see
    :class:`genmodels.core.observation.SphericalGaussian`), with sigma chosen on validation data; so is every model if
    ``gaussian`` is true. The score is then ``ais_gaussian_bits_per_dim``, the likelihood of decoder and noise together;
    the generator alone has none.

    The tightness of the bound is measured on data simulated from the model. There, annealing backward from the latents
    that generated them gives an upper bound on log p(x) as well (bidirectional Monte Carlo, Grosse et al. 2015,
    arXiv:1511.02543). ``gap``, the mean difference of the two bounds, is reported with the score.

    Finished batches are kept on disk, so that an evaluation that was killed resumes after the last of them.

    Args:
        images: number of test examples, evenly spaced.
        temperatures: T, on a sigmoid schedule.
        chains: independent chains per example, whose weights are averaged.
        leapfrogs: leapfrog steps of the Hamiltonian trajectory at each temperature.
        simulated: examples drawn from the model to measure the gap.
        batch_size: examples annealed at a time, each with all its chains.
        gaussian: score p_sigma(x|z) even if the model has an observation model of its own.
        sigma: standard deviation of p_sigma, on the [-1, 1] scale for integers; ``None`` chooses it on validation data.

    Raises:
        ValueError: for a number below 1, or a sigma that is not positive.
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
        self.annealing = AnnealingSettings(temperatures, chains, leapfrogs)
        self.sizes = {"images": images, **asdict(self.annealing)}
        ensure_counts(**self.sizes, simulated=simulated, batch_size=batch_size)
        ensure_numbers(above=0, optional=True, sigma=sigma)
        self.simulated = simulated
        self.batch_size = batch_size
        self.gaussian = gaussian
        self.sigma = sigma

    @override
    def unsupported_reason(self, model: BaseModel, data: DataModule) -> str | None:
        if isinstance(model, DecodesLatent):
            if model.no_latent_reason is not None:
                return f"{type(model).__name__} has no latent z that could be annealed: {model.no_latent_reason}."
            rows = self.annealing.chains * self.batch_size
            require_memory(12 * rows * (model.spec.dims + model.latent_dim), f"ais with {rows} chains at a time")
            return None
        instead = "; metrics=[likelihood] reports its log-likelihood" if isinstance(model, HasLikelihood) else ""
        return (
            f"{type(model).__name__} has no decoder p(x given z) with a latent z, "
            f"which the ais metric requires{instead}."
        )

    @override
    def measure(self, subject: Subject) -> list[Score]:
        test = subject.data.split("test")
        chosen = evenly_spaced(test, self.sizes["images"])
        resumable = self._resumable(chosen, subject)
        decoder, observation = self._decoder(subject, resumable)
        batches = self._batches(chosen, decoder, subject, resumable)
        protocol = {
            "split": "test",
            "of": len(test),
            **self.sizes,
            "schedule": "sigmoid",
            **observation,
            "acceptance": float(flat(batches, "acceptance").mean()),
            **self._gap(decoder, subject, resumable),
        }
        name = "ais_{}" if self._under_own(subject.model) else "ais_gaussian_{}"
        score = likelihood_score(
            flat(batches, "lower"),
            subject.model.spec,
            Kind.LOWER_BOUND,
            protocol,
            name,
            incidental=("images", "acceptance", "gap_se", "simulated", *(() if self.sigma else ("sigma",))),
            baselines={"gap": "gap"},
        )
        return [score]

    def _under_own(self, model: object) -> bool:
        """Whether the model is scored under its own p(x|z)."""
        return isinstance(model, HasObservation) and not self.gaussian

    def _resumable(self, chosen: Tensor, subject: Subject) -> ResumableResults:
        """Stored results for this model, settings and test examples ``chosen [n, *shape]``."""
        from genmodels.data.sources.base import content_sha256  # imports Lightning

        asked = [subject.seed, self.sizes, self.simulated, self.batch_size, self.sigma]
        about = [subject.fingerprint, self._sign_of_the_model(chosen, subject), content_sha256([chosen])]
        return ResumableResults(subject.folder, "ais", [*asked, *about])

    def _sign_of_the_model(self, chosen: Tensor, subject: Subject) -> list[float]:
        """What tells models of equal weights apart, such as by their activation or their p(x|z): values at z = 1."""
        model, device = subject.model, subject.model.device
        assert isinstance(model, DecodesLatent)
        z = torch.ones(1, model.latent_dim, device=device)
        values = [float(model.location(z).double().sum())]
        if isinstance(model, HasObservation) and self._under_own(model):
            values.append(float(model.conditional_log_prob(chosen[:1].to(device), z).double()))
        return broadcast(values)

    def _decoder(self, subject: Subject, resumable: ResumableResults) -> tuple[Decoder, dict[str, Any]]:
        """The decoder to be scored, and the protocol entries on its observation model."""
        model = subject.model
        assert isinstance(model, DecodesLatent)  # measure() is called only where there is no unsupported_reason
        if isinstance(model, HasObservation) and self._under_own(model):
            return own_decoder(model), {"observation": "the model's own"}
        if self.sigma is None and "sigma" not in resumable:
            width = choose_sigma(model, subject, (subject.seed, EVALUATION, WIDTH, 0))
            resumable["sigma"] = width  # equal in all processes
        sigma = resumable["sigma"] if self.sigma is None else self.sigma
        source = "validation data" if self.sigma is None else "given"
        decoder = gaussian_decoder(model, SphericalGaussian(subject.model.spec, sigma))
        return decoder, {"observation": "spherical Gaussian", "sigma": sigma, "sigma_from": source}

    def _batches(
        self, x: Tensor, decoder: Decoder, subject: Subject, resumable: ResumableResults
    ) -> list[dict[str, list[float]]]:
        """AIS results per batch of ``x [n, *shape]``, taken from ``resumable`` where available."""
        parts = x.split(self.batch_size)

        def work(i: int) -> dict[str, list[float]]:
            key = f"test {i}"
            if key not in resumable:
                title = f"AIS, batch {i + 1} of {len(parts)}"
                resumable[key] = self._annealing(decoder, parts[i], subject, (TEST, i), title).forward()
            return dict(resumable[key])

        return map_over_ranks(work, len(parts))

    def _gap(self, decoder: Decoder, subject: Subject, resumable: ResumableResults) -> dict[str, Any]:
        """Mean difference of upper and lower bound on simulated data, with standard error, in the unit of the score."""
        sizes = [min(self.batch_size, self.simulated - done) for done in range(0, self.simulated, self.batch_size)]
        device = subject.model.device

        def work(i: int) -> dict[str, list[float]]:
            key = f"simulated {i}"
            if key not in resumable:
                with stream(subject.seed, EVALUATION, SIMULATED, i, device=device):
                    z = decoder.draw(sizes[i])
                    x = decoder.sample(z)
                title = f"BDMC, batch {i + 1} of {len(sizes)}"
                run = self._annealing(decoder, x, subject, (SIMULATED, i), title)
                resumable[key] = run.forward() | run.reverse(z)
            return dict(resumable[key])

        batches = map_over_ranks(work, len(sizes))
        gap, se = cost_in_unit(flat(batches, "upper") - flat(batches, "lower"), subject.model.spec)
        return {"gap": gap, "gap_se": se, "simulated": self.simulated}

    def _annealing(
        self, decoder: Decoder, x: Tensor, subject: Subject, part: tuple[int, int], title: str
    ) -> DecoderAnnealing:
        name = (subject.seed, EVALUATION, *part)
        return DecoderAnnealing(decoder, x, self.annealing, name, subject.model.device, title)


def flat(batches: list[dict[str, list[float]]], key: str) -> Tensor:
    """The values under ``key`` of all batches, ``[n]`` float64."""
    return torch.tensor([value for batch in batches for value in batch[key]], dtype=torch.float64)
