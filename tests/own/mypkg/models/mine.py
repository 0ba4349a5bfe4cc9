"""A product of independent dimensions, whose parameters are the output of a network without input."""

import torch
from torch import Tensor, nn

from genmodels.core import DataSpec, Kind, Likelihood
from genmodels.core.abilities import HasLikelihood, Samples
from genmodels.core.observation import observation_for
from genmodels.models.base import GenerativeModel, Loss, NetworkFactory, OptimizerFactory


class Mine(GenerativeModel, Samples, HasLikelihood):
    """Bernoulli, discretized logistic or Gaussian dimensions.

    Args:
        spec: the data.
        network: from ``[B, 1]`` to the parameters.
        optimizer: ``parameters -> Optimizer``.
    """

    def __init__(self, spec: DataSpec, network: NetworkFactory, optimizer: OptimizerFactory) -> None:
        super().__init__(spec, optimizer)
        self.observation = observation_for(spec)
        self.network = network((1,), self.observation.param_shape)

    def params(self, n: int) -> Tensor:
        """Parameters ``[n, *param_shape]``, all the same."""
        one = self.network(torch.ones(1, 1, device=self.device))
        return one.view(1, *self.observation.param_shape).expand(n, *self.observation.param_shape)

    def loss(self, x: Tensor) -> Loss:
        """``-log p(x)`` in nats per dimension."""
        return Loss(-self.log_likelihood(x).nats.mean() / self.spec.dims)

    def log_likelihood(self, x: Tensor, samples: int = 1) -> Likelihood:
        """``log p(x) [B]``, exact."""
        return Likelihood(self.observation.log_prob(x, self.params(len(x))), Kind.EXACT)

    def sample(self, n: int) -> Tensor:
        """``x ~ p(x)``, ``[n, *shape]``."""
        return self.observation.sample(self.params(n))


def affine(in_shape: tuple[int, ...], out_shape: tuple[int, ...], bias: bool = True) -> nn.Module:
    """An affine map."""
    return nn.Linear(in_shape[0], torch.Size(out_shape).numel(), bias)
