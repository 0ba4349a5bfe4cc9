"""Test doubles: models with combinations of abilities that no model of the package has."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from genmodels.core import DataSpec, Kind, Likelihood
from genmodels.core.abilities import Encodes, HasEnergy, HasLikelihood, Samples
from genmodels.core.observation import standard_normal_log_prob
from genmodels.core.quantization import from_symmetric, to_symmetric
from genmodels.errors import ensure
from genmodels.models.base import GenerativeModel, Loss
from genmodels.networks.mlp import mlp


class Autoencoder(GenerativeModel, Encodes):
    """Encoder, decoder, squared error; no samples and no likelihood."""

    def __init__(self, spec: DataSpec, width: int = 16, lr: float = 1e-3) -> None:
        super().__init__(spec, lambda parameters: torch.optim.Adam(parameters, lr))
        self.encoder = mlp(spec.shape, (2,), width)
        self.decoder = mlp((2,), spec.shape, width)

    def loss(self, x: Tensor) -> Loss:
        """``|x - f(g(x))|²`` per dimension, averaged over the batch ``[B, *shape]``."""
        y = to_symmetric(x, self.spec)
        return Loss((self.decoder(self.encoder(y)) - y).square().mean())

    def encode(self, x: Tensor) -> Tensor:
        """Code ``g(x) [B, 2]`` of raw data ``[B, *shape]``."""
        return self.encoder(to_symmetric(x, self.spec))

    def decode(self, z: Tensor) -> Tensor:
        """Raw data ``f(z) [B, *shape]`` of codes ``[B, 2]``."""
        return from_symmetric(self.decoder(z), self.spec)


class PersistentChains(GenerativeModel, Samples, HasLikelihood, HasEnergy):
    """Energy ``|x - m|²/2`` of points, trained by contrast with Langevin chains that persist between batches.

    The gradient of the loss is in expectation that of the negative log-likelihood; its value fluctuates around zero.
    """

    def __init__(self, spec: DataSpec, lr: float = 1e-2, n_chains: int = 64) -> None:
        super().__init__(spec, lambda parameters: torch.optim.Adam(parameters, lr))
        ensure(not spec.is_discrete, "spec must be of continuous data.")
        self.mean = nn.Parameter(torch.zeros(spec.shape))
        self.n_chains = n_chains
        self.chains = self.initial_chains()

    def initial_chains(self):
        """All at the origin."""
        return {"x": torch.zeros(self.n_chains, *self.spec.shape)}

    def energy(self, x: Tensor) -> Tensor:
        """``E(x) [B]`` of points ``[B, *shape]``."""
        return 0.5 * (x.float() - self.mean).square().flatten(1).sum(1)

    def loss(self, x: Tensor) -> Loss:
        """Mean of ``E(data) - E(chains)``, after one Langevin step of the chains."""
        chain = self.chains["x"]
        self.chains["x"] = chain + 0.1 * (self.mean.detach() - chain) + 0.2**0.5 * torch.randn_like(chain)
        return Loss(self.energy(x).mean() - self.energy(self.chains["x"]).mean(), is_objective=False)

    def log_likelihood(self, x: Tensor, samples: int = 1) -> Likelihood:
        """Exact log-density ``log N(x; m, I) [B]``, in nats."""
        return Likelihood(standard_normal_log_prob(x.float() - self.mean), Kind.EXACT)

    def sample(self, n: int) -> Tensor:
        """Independent draws ``[n, *shape]``, which leave the chains unchanged."""
        return self.mean + torch.randn(n, *self.spec.shape, device=self.device)


DOUBLES = {double.__name__.lower(): double for double in (Autoencoder, PersistentChains)}
