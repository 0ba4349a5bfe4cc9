"""Autoencoder (Rumelhart, Hinton & Williams 1986; with deep networks Hinton & Salakhutdinov 2006).

An encoder g maps data to a code z of fewer dimensions, a decoder f maps codes to data. Both minimize what is lost on
the way there and back,

    L = E_x || x - f(g(x)) ||² / D.

If both are affine, f(g(x)) is at best the projection onto the span of the first k principal components, and L the sum
of the discarded eigenvalues of the covariance, divided by D (Baldi & Hornik 1989,
https://doi.org/10.1016/0893-6080(89)90014-2).

Nothing makes the codes follow any particular law. One that is fitted to them makes the autoencoder a generative model:
``z ~ q(z)``, then ``x = f(z)`` (Ghosh et al. 2020, arXiv:1903.12436).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import torch
from torch import Tensor
from typing_extensions import override

from genmodels.core import DataSpec
from genmodels.core.abilities import LATENTS, ON_SYMMETRIC, DecodesLatent, Encodes, Exports, Program, Samples
from genmodels.core.observation import standard_normal_log_prob
from genmodels.core.quantization import from_symmetric, to_symmetric
from genmodels.core.reconstruction import Reconstruction, reconstruction_for
from genmodels.errors import ensure_counts
from genmodels.models.base import GenerativeModel, Loss, NetworkFactory, OptimizerFactory, SchedulerFactory
from genmodels.transforms import AffineLaw, CodeLawFactory, GaussianCodes

MOST_LATENTS = 32  # dimensions of the code by default
MOST_CODES = 10_000  # of training examples, to which the law of codes is fitted
AT_A_TIME = 500  # examples that are encoded in one pass


class AE(GenerativeModel, Samples, Encodes, DecodesLatent, Exports):
    """Encoder, decoder, and a law of codes.

    The law is fitted to the codes of training data whenever validation starts, with the weights that are validated and
    scored. Training does not depend on it, and another one can be chosen of a trained model. Samples are decoded from
    its draws, without noise, so that there is no likelihood.

    Args:
        spec: the data that the model is built for.
        latent_dim: dimension k of the code; ``None`` for a quarter of the data's, at least 1 and at most 32.
        encoder: ``(data shape, (latent_dim,)) -> network``.
        decoder: ``((latent_dim,), data shape) -> network``.
        reconstruction: ``spec -> Reconstruction``, the error.
        codes: ``latent_dim -> CodeLaw``, the law of codes.
        optimizer: ``parameters -> Optimizer``.
        scheduler: ``optimizer -> LRScheduler``, stepped once per batch, or ``None``.
        clip_norm: largest global gradient norm, or ``None``.

    Raises:
        ValueError: if latent_dim is less than 1.
    """

    family = "autoencoders"

    def __init__(
        self,
        spec: DataSpec,
        latent_dim: int | None,
        encoder: NetworkFactory,
        decoder: NetworkFactory,
        optimizer: OptimizerFactory,
        reconstruction: Callable[[DataSpec], Reconstruction] = reconstruction_for,
        codes: CodeLawFactory = GaussianCodes,
        scheduler: SchedulerFactory | None = None,
        clip_norm: float | None = None,
    ) -> None:
        super().__init__(spec, optimizer, scheduler, clip_norm)
        ensure_counts(optional=True, latent_dim=latent_dim)
        self.latent_dim = max(1, min(spec.dims // 4, MOST_LATENTS)) if latent_dim is None else latent_dim
        self.reconstruction = reconstruction(spec)
        self.codes = codes(self.latent_dim)
        self.encoder = encoder(spec.shape, (self.latent_dim,))
        self.decoder = decoder((self.latent_dim,), spec.shape)

    def loss(self, x: Tensor) -> Loss:
        """Mean error of ``f(g(x))`` per dimension over raw data ``x [B, *shape]``."""
        return Loss(self.reconstruction.error(x, self.decoder(self.encode(x))))

    def encode(self, x: Tensor) -> Tensor:
        """``z = g(x) [B, k]`` of raw data ``x [B, *shape]``, of which integers are put on [-1, 1]."""
        z: Tensor = self.encoder(to_symmetric(x, self.spec))
        return z

    def decode(self, z: Tensor) -> Tensor:
        """``f(z)`` as raw data ``[B, *shape]``, rounded to the nearest level for integers, of codes ``z [B, k]``."""
        return from_symmetric(self.reconstruction.location(self.decoder(z)), self.spec)

    def sample(self, n: int) -> Tensor:
        """Raw data ``[n, *shape]``: ``f(z)`` of ``n`` draws of the law of codes."""
        return self.decode(self.codes.sample(n))

    @property
    def sampling_protocol(self) -> dict[str, Any]:
        """The law of codes."""
        return {"codes": type(self.codes).__name__}

    @override
    def programs(self) -> Mapping[str, Program]:
        def decode(z: Tensor) -> Tensor:
            return self.reconstruction.location(self.decoder(z)).float()

        about = f"{LATENTS} to data {ON_SYMMETRIC}"
        return {"decoder": Program(decode, (torch.zeros(2, self.latent_dim),), (self.decoder,), about)}

    # The law of codes -------------------------------------------------------------------------------------------------

    def on_validation_start(self) -> None:
        """Fit the law of codes, after callbacks have put in place the weights that are validated."""
        x: Tensor = self.trainer.datamodule.split("train")  # type: ignore[attr-defined]
        self.fit_codes(x[:: -(-len(x) // MOST_CODES)])

    @torch.no_grad()
    def fit_codes(self, x: Tensor) -> None:
        """Fit the law of codes to those of raw data ``x [N, *shape]``.

        Codes that are not finite leave it as it is: the validation that follows reports them.
        """
        z = torch.cat([self.encode(part.to(self.device)).float() for part in x.split(AT_A_TIME)])
        if bool(z.isfinite().all()):
            self.codes.fit(z)

    # The latent variable u of z = m + L u, by which an autoencoder is scored as any decoder of N(0, I) ----------------

    @property
    def no_latent_reason(self) -> str | None:
        """A mixture of codes has no such u."""
        if isinstance(self.codes, AffineLaw):
            return None
        return "its codes follow a mixture, which no affine map makes of N(0, I); model/codes=gaussian has one"

    def draw_latent(self, n: int) -> Tensor:
        """``u ~ N(0, I) [n, k]``."""
        return torch.randn(n, self.latent_dim, device=self.device)

    def latent_log_prob(self, z: Tensor) -> Tensor:
        """``log N(z; 0, I) [B]`` in nats of the latent variable u, here called ``z [B, k]``."""
        return standard_normal_log_prob(z)

    def location(self, z: Tensor) -> Tensor:
        """``f(m + L u) [B, *shape]`` of the latent variable u, here called ``z [B, k]``."""
        assert isinstance(self.codes, AffineLaw)  # see no_latent_reason
        return self.reconstruction.location(self.decoder(self.codes.color(z))).float()
