"""What the tests of continuous flows share."""

from functools import partial

import torch
from models.flows import NORMAL
from torch import nn

from genmodels.core import DataSpec
from genmodels.models.cnf import CNF, TIME_SCALE, FlowMatching
from genmodels.networks.time_conditioned import time_conditioned
from genmodels.ode import Midpoint


def density(model, u, steps):
    """``log p(u) [B]`` of ``u [B, D]``, with the traces of whole Jacobians integrated by Simpson's rule."""

    def derivative(t, x):
        jacobian = torch.func.vmap(torch.func.jacrev(lambda row: model.velocity(t, row[None])[0]))(x)
        return model.velocity(t, x), jacobian.diagonal(dim1=-2, dim2=-1).sum(-1)

    x, integral, h = u, 0.0, 1 / steps
    for i in range(steps, 0, -1):  # the classical method of Runge and Kutta, from t = 1 to 0
        t = torch.tensor(i * h, dtype=u.dtype)
        k1, trace1 = derivative(t, x)
        k2, trace2 = derivative(t - h / 2, x - h / 2 * k1)
        k3, trace3 = derivative(t - h / 2, x - h / 2 * k2)
        k4, trace4 = derivative(t - h, x - h * k3)
        x = x - h / 6 * (k1 + 2 * k2 + 2 * k3 + k4)
        integral = integral + h / 6 * (trace1 + 2 * trace2 + 2 * trace3 + trace4)
    return NORMAL.log_prob(x).sum(1) - integral


SMALL = partial(time_conditioned, width=8, depth=1, vector_width=32, vector_depth=2)
ADAM = partial(torch.optim.Adam, lr=5e-3)
PLANE = DataSpec((2,))


def tiny(spec, network=SMALL, objective=None, sampler=None, **options):
    return CNF(spec, network, objective or FlowMatching(), sampler or Midpoint(10), ADAM, **options).eval()


def awake(model, scale=0.5):
    """The model with every parameter away from its initial value."""
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.add_(scale * torch.randn_like(parameter) / parameter.shape[-1] ** 0.5)
    return model


class Field(nn.Module):
    """A velocity given as a function of the time ``[B, 1]`` and ``x [B, D]``."""

    def __init__(self, v):
        super().__init__()
        self.v = v
        self.shift = nn.Parameter(torch.zeros(()))  # a parameter tells where the model is

    def forward(self, x, t):
        return self.v(t[:, None] / TIME_SCALE, x) + self.shift


def of_field(v, dims=2, **options):
    """The flow of a velocity ``v(t, x)``, on reals that are not rescaled."""
    return tiny(DataSpec((dims,)), lambda in_shape, out_shape: Field(v), **options)


A = torch.tensor([[-0.5, 1.0, 0.2], [-1.0, -0.3, 0.0], [0.4, 0.1, 0.7]])
E = torch.matrix_exp(A)


MEAN, COVARIANCE = torch.tensor([1.0, -2.0]), torch.tensor([[1.5, 0.8], [0.8, 0.6]])
GAUSSIAN = torch.distributions.MultivariateNormal(MEAN, COVARIANCE)


def gaussian_velocity(t, x):
    """``E[u - z | x_t = x]`` for u ~ N(m, S): with ``x_t ~ N(t m, Σ)``, Σ = (1 - t)² I + t² S, regression on x_t."""
    t = t[..., None]
    identity, s = torch.eye(2).to(x), COVARIANCE.to(x)
    sigma = (1 - t) ** 2 * identity + t**2 * s  # [B, 2, 2]
    gain = torch.linalg.solve(sigma, t * s - (1 - t) * identity)  # both symmetric, and they commute
    return MEAN.to(x) + ((x - t[..., 0] * MEAN.to(x))[:, None] @ gain)[:, 0]
