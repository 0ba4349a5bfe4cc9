"""Generative adversarial network (Goodfellow et al. 2014, arXiv:1406.2661), convolutional on images (DCGAN).

A generator G maps noise ``z ~ N(0, I)`` to data. A discriminator D(x) estimates the probability that x is real. They
play a minimax game:

    min_G max_D V(D, G) = E_x[ log D(x) ] + E_z[ log(1 - D(G(z))) ]                                          (eq. 1)

For the optimal D, ``V = 2 JSD(p_data || p_G) - log 4``, which is minimal if G has the distribution of the data
(theorem 1). Other objectives replace V in the same game.
"""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections.abc import Iterable, Mapping, Sequence

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from typing_extensions import override

from genmodels.core import DataSpec
from genmodels.core.abilities import LATENTS, ON_SYMMETRIC, DecodesLatent, Exports, Program, Samples
from genmodels.core.observation import standard_normal_log_prob
from genmodels.core.quantization import dequantize, quantize
from genmodels.errors import ensure, ensure_counts, ensure_numbers
from genmodels.models.base import AdversarialModel, Loss, NetworkFactory, OptimizerFactory, Player, SchedulerFactory


class Objective(ABC):
    """Losses of the two players. ``real`` and ``fake`` are the discriminator's scores ``[B, 1]``, before a sigmoid."""

    penalized = False  # whether the objective has a penalty on the gradient of each example's score

    @abstractmethod
    def discriminator(self, real: Tensor, fake: Tensor) -> Tensor:
        """Loss of the discriminator, a scalar."""

    @abstractmethod
    def generator(self, fake: Tensor) -> Tensor:
        """Loss of the generator, a scalar."""

    def penalty(self, discriminator: nn.Module, real: Tensor, fake: Tensor) -> Tensor | None:
        """Penalty in the discriminator's loss at ``real`` and ``fake`` data ``[B, *shape]``: a scalar, or ``None``."""
        return None

    def terms(self, real: Tensor, fake: Tensor) -> dict[str, Tensor]:
        """Scalars to log, by name."""
        return {"score_real": real.mean(), "score_fake": fake.mean()}


class Minimax(Objective):
    """The game of eq. 1, with D = sigmoid(score)."""

    def value(self, real: Tensor, fake: Tensor) -> Tensor:
        """``V(D, G) = E[log D(x)] + E[log(1 - D(G(z)))]``, a scalar."""
        return F.logsigmoid(real).mean() + F.logsigmoid(-fake).mean()

    def discriminator(self, real: Tensor, fake: Tensor) -> Tensor:
        """-V."""
        return -self.value(real, fake)

    def generator(self, fake: Tensor) -> Tensor:
        """E[log(1 - D(G(z)))], the term of V that depends on G."""
        return F.logsigmoid(-fake).mean()

    def terms(self, real: Tensor, fake: Tensor) -> dict[str, Tensor]:
        """E[D(x)], E[D(G(z))], and the Jensen-Shannon divergence in nats that V implies if D is optimal (theorem 1)."""
        jsd = (self.value(real, fake) + 2 * math.log(2)) / 2
        return {"d_real": torch.sigmoid(real).mean(), "d_fake": torch.sigmoid(fake).mean(), "jsd": jsd}


class NonSaturating(Minimax):
    """The discriminator of eq. 1 and a generator that maximizes log D(G(z)), for stronger gradients early on (§3)."""

    def generator(self, fake: Tensor) -> Tensor:
        """-E[log D(G(z))]."""
        return -F.logsigmoid(fake).mean()


class Hinge(Objective):
    """Hinge loss (Lim & Ye 2017, arXiv:1705.02894; Miyato et al. 2018, eq. 16-17)."""

    def discriminator(self, real: Tensor, fake: Tensor) -> Tensor:
        """E[max(0, 1 - real)] + E[max(0, 1 + fake)]."""
        return F.relu(1 - real).mean() + F.relu(1 + fake).mean()

    def generator(self, fake: Tensor) -> Tensor:
        """-E[fake]."""
        return -fake.mean()


class WassersteinGP(Objective):
    """Wasserstein-1 distance with gradient penalty (Gulrajani et al. 2017, arXiv:1704.00028, eq. 3).

    The penalty is defined per example, and the discriminator must not use batch normalization.

    Args:
        weight: λ of eq. 3.

    Raises:
        ValueError: if the weight is not positive.
    """

    penalized = True

    def __init__(self, weight: float = 10.0) -> None:
        ensure_numbers(above=0, weight=weight)
        self.weight = weight

    def discriminator(self, real: Tensor, fake: Tensor) -> Tensor:
        """E[fake] - E[real]."""
        return fake.mean() - real.mean()

    def generator(self, fake: Tensor) -> Tensor:
        """-E[fake]."""
        return -fake.mean()

    def penalty(self, discriminator: nn.Module, real: Tensor, fake: Tensor) -> Tensor:
        """``weight E[(||∇D(x̂)|| - 1)²]`` at random interpolates x̂ between real and fake examples ``[B, *shape]``."""
        fraction = torch.rand(real.shape[0], *[1] * (real.dim() - 1), device=real.device)
        norm = input_gradient(discriminator, torch.lerp(real, fake, fraction)).norm(dim=1)
        return self.weight * (norm - 1).square().mean()

    def terms(self, real: Tensor, fake: Tensor) -> dict[str, Tensor]:
        """Estimate of the Wasserstein-1 distance."""
        return {"wasserstein": real.mean() - fake.mean()}


def input_gradient(discriminator: nn.Module, x: Tensor) -> Tensor:
    """Gradient ``[B, D]`` of the score of each example of ``x [B, *shape]``, itself differentiable; float32."""
    with torch.autocast(x.device.type, enabled=False):
        x = x.detach().float().requires_grad_()
        score = discriminator(x).sum()
        (gradient,) = torch.autograd.grad(score, x, create_graph=True)
    return gradient.flatten(1)


class GAN(AdversarialModel, Samples, DecodesLatent, Exports):
    """Generator G and discriminator D, trained in turn (algorithm 1).

    Integer data are dequantized onto [-1, 1], so that D cannot distinguish real from fake by discreteness alone.

    Args:
        spec: the data that the model is built for.
        latent_dim: dimension of z.
        generator: ``((latent_dim,), data shape) -> network``.
        discriminator: ``(data shape, (1,)) -> network`` giving a score.
        objective: losses of the two players.
        optimizer: ``parameters -> Optimizer`` of the generator.
        discriminator_optimizer: ``parameters -> Optimizer`` of the discriminator.
        scheduler: ``optimizer -> LRScheduler`` of both, stepped after each step of its optimizer, or ``None``.
        clip_norm: largest global gradient norm of a player, or ``None``.
        discriminator_steps: steps of the discriminator per step of the generator (k of algorithm 1).
        r1: weight of the zero-centered penalty ``r1/2 E[||∇D(x)||²]`` on real data (Mescheder et al. 2018, eq. 9).

    Raises:
        ValueError: if a number is out of range, a discriminator with a gradient penalty uses batch normalization, or
            the objective has a gradient penalty besides r1.
    """

    takes_labels = True

    def __init__(
        self,
        spec: DataSpec,
        latent_dim: int,
        generator: NetworkFactory,
        discriminator: NetworkFactory,
        objective: Objective,
        optimizer: OptimizerFactory,
        discriminator_optimizer: OptimizerFactory,
        scheduler: SchedulerFactory | None = None,
        clip_norm: float | None = None,
        discriminator_steps: int = 1,
        r1: float = 0.0,
    ) -> None:
        super().__init__(spec, scheduler, clip_norm)
        ensure_counts(latent_dim=latent_dim, discriminator_steps=discriminator_steps)
        ensure_numbers(at_least=0, r1=r1)
        self.latent_dim = latent_dim
        self.objective = objective
        self.r1 = r1
        self.discriminator_steps = discriminator_steps
        self.optimizer_factories = (discriminator_optimizer, optimizer)
        self.generator = self.labels.beside_input(generator)((latent_dim,), spec.shape)
        self.discriminator = self.labels.beside_input(discriminator)(spec.shape, (1,))
        ensure(r1 == 0 or not objective.penalized, f"r1 must be 0 under an objective with a penalty, got {r1}.")
        self.penalized = r1 > 0 or objective.penalized
        batch_norm = any(isinstance(m, nn.modules.batchnorm._BatchNorm) for m in self.discriminator.modules())
        ensure(
            not (self.penalized and batch_norm),
            "discriminator must not use batch normalization with a gradient penalty; set its batch_norm=false.",
        )

    def players(self) -> Sequence[Player]:
        """The discriminator, then the generator (algorithm 1)."""
        d_optimizer, g_optimizer = self.optimizer_factories
        return (
            Player(self.discriminator, d_optimizer, self.discriminator_loss),
            Player(self.generator, g_optimizer, self.generator_loss, every=self.discriminator_steps),
        )

    def compiled_networks(self) -> Iterable[nn.Module]:
        """Both networks; not a penalized discriminator, since compiled code has no second derivatives."""
        return (self.generator,) if self.penalized else (self.generator, self.discriminator)

    def discriminator_loss(self, x: Tensor) -> Loss:
        """Loss of D on raw data ``x [B, *shape]`` and B new samples, through which no gradient flows."""
        real_x = self.embed(x)
        with torch.no_grad():
            fake_x = self.generator(self.draw_latent(len(x)))
        real, fake = self.discriminator(real_x).float(), self.discriminator(fake_x).float()
        total = self.objective.discriminator(real, fake)
        terms = {"discriminator_loss": total, **self.objective.terms(real, fake)}
        penalty = self.objective.penalty(self.discriminator, real_x, fake_x)
        if penalty is not None:
            total, terms["penalty"] = total + penalty, penalty
        if self.r1 > 0:
            r1 = self.r1 / 2 * input_gradient(self.discriminator, real_x).square().sum(1).mean()
            total, terms["r1"] = total + r1, r1
        return Loss(total, terms)

    def generator_loss(self, x: Tensor) -> Loss:
        """Loss of G on B new samples, for raw data ``x [B, *shape]``."""
        fake = self.discriminator(self.generator(self.draw_latent(len(x)))).float()
        loss = self.objective.generator(fake)
        return Loss(loss, {"generator_loss": loss})

    def draw_latent(self, n: int) -> Tensor:
        """``z ~ N(0, I) [n, latent_dim]``."""
        return torch.randn(n, self.latent_dim, device=self.device)

    def latent_log_prob(self, z: Tensor) -> Tensor:
        """``log N(z; 0, I) [B]`` in nats of ``z [B, latent_dim]``."""
        return standard_normal_log_prob(z)

    def embed(self, x: Tensor) -> Tensor:
        """The input of D ``[B, *shape]`` for raw data: dequantized onto [-1, 1] for integers, unchanged otherwise."""
        u, _ = dequantize(x, self.spec)
        return 2 * u - 1 if self.spec.is_discrete else u

    def decode(self, z: Tensor) -> Tensor:
        """G(z) as raw data ``[B, *shape]``, for ``z [B, latent_dim]``."""
        y = self.generator(z)
        return quantize((y + 1) / 2, self.spec) if self.spec.is_discrete else y.float()

    def location(self, z: Tensor) -> Tensor:
        """``G(z) [B, *shape]`` for ``z [B, latent_dim]``, multiplied by L / (L - 1) for integers of L levels.

        In the output of G, level k has a bin of width 2/L centered at ``(2k + 1)/L - 1``. The factor moves the center
        to ``2k/(L - 1) - 1``, its position on the scale of :func:`genmodels.core.quantization.to_symmetric`.
        """
        y = self.generator(z).float()
        return y if self.spec.levels is None else y * (self.spec.levels / (self.spec.levels - 1))

    @override
    def programs(self) -> Mapping[str, Program]:
        about = f"{LATENTS} to data {ON_SYMMETRIC}"
        return {"generator": Program(self.location, (torch.zeros(2, self.latent_dim),), (self.generator,), about)}

    def sample(self, n: int) -> Tensor:
        """Raw data ``[n, *shape]``: G(z) for ``n`` draws of z."""
        return self.decode(self.draw_latent(n))
