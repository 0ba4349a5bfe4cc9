"""Diffusions whose every law is a sum over states or a Gaussian in closed form, in float64."""

from __future__ import annotations

import itertools
import math

import torch
from torch import Tensor

from genmodels.diffusion import reciprocal
from genmodels.diffusion.kernels import BinomialKernel, GaussianKernel
from genmodels.diffusion.laws import Bit, Normal

BITS = torch.tensor(list(itertools.product((0.0, 1.0), repeat=4)), dtype=torch.float64)  # [16, 4]
PAIRED = torch.softmax(2.0 * (2 * BITS[:, 0] - 1) * (2 * BITS[:, 1] - 1) + BITS[:, 2] * BITS[:, 3] - BITS[:, 3], 0)
COVARIANCE = torch.tensor([[1.0, 0.8], [0.8, 1.0]], dtype=torch.float64)


def bit_kernel(rate: float = 0.5) -> BinomialKernel:
    """The kernel of bits with the equilibrium B(rate), in float64."""
    return BinomialKernel(torch.tensor(rate, dtype=torch.float64))


def matrix(kernel: BinomialKernel, beta: Tensor) -> Tensor:
    """``T[x, x']``, the probabilities of a step between the 16 states of four bits."""
    law = kernel.transition(BITS.repeat_interleave(16, 0), beta)
    return law.log_prob(BITS.repeat(16, 1)).sum(1).exp().view(16, 16)


def joints(data: Tensor, betas: Tensor, rate: float = 0.5) -> list[Tensor]:
    """``q(x_{t-1}, x_t) [16, 16]`` for t = 1 .. T of a chain that starts from ``data [16]``."""
    found, q = [], data
    for beta in betas:
        found.append(q[:, None] * matrix(bit_kernel(rate), beta))
        q = found[-1].sum(0)
    return found


def independent(joint: Tensor) -> Tensor:
    """``p(x_{t-1} | x_t) [16 of x_{t-1}, 16 of x_t]``: the best reverse step of independent bits, of q's marginals."""
    ones = torch.einsum("ai,ab->bi", BITS, joint) / joint.sum(0)[:, None]  # q(x_{t-1,i} = 1 | x_t)
    return Bit(torch.logit(ones)[None]).log_prob(BITS[:, None]).sum(2).exp()


def gap_of_bits(steps: int, data: Tensor = PAIRED) -> float:
    """``E[log p_data(x_0) - K]`` in nats for the best reverse chain of independent bits: a divergence of chains."""
    last = joints(data, reciprocal(steps))[-1].sum(0)
    end = (last * (last * 16).log()).sum()  # KL(q(x_T) || π)
    return float(end) + sum(step_gaps_of_bits(steps, data))


def step_gaps_of_bits(steps: int, data: Tensor = PAIRED) -> list[float]:
    """``KL(q(x_{t-1} | x_t) || p(x_{t-1} | x_t))`` in nats for t = 1 .. T, in the mean over x_t."""
    pairs = joints(data, reciprocal(steps))
    return [float((pair * (pair / pair.sum(0) / independent(pair)).log()).sum()) for pair in pairs]


def gap_of_gaussian(steps: int, covariance: Tensor = COVARIANCE) -> float:
    """The same for Gaussian data and the best reverse chain of independent Gaussians with linear means."""
    betas, before = reciprocal(steps), covariance
    eye = torch.eye(len(covariance), dtype=torch.float64)
    total = 0.0
    for beta in betas.tolist():
        after = (1 - beta) * before + beta * eye
        rest = before - (1 - beta) * before @ torch.linalg.solve(after, before)  # covariance of x_{t-1} given x_t
        total += 0.5 * float(rest.diagonal().log().sum() - torch.logdet(rest))
        before = after
    return total + 0.5 * float(before.diagonal().sum() - len(before) - torch.logdet(before))


class LinearChain:
    """Reals: the forward kernel, and reverse steps ``p(x_{t-1} | x_t) = N(a_t x_t, s_t²)`` that do not fit it.

    The first one, of t = 1, is the kernel itself.
    """

    kernel = GaussianKernel()
    betas = torch.tensor([0.05, 0.1, 0.2, 0.4], dtype=torch.float64)
    slopes = torch.tensor([math.sqrt(0.95), 0.9, 1.1, 0.6], dtype=torch.float64)
    variances = torch.tensor([0.05, 0.2, 0.1, 0.5], dtype=torch.float64)

    @property
    def lost(self) -> Tensor:
        """``1 - ᾱ_t [T + 1]``."""
        return 1 - torch.cat([torch.ones(1, dtype=torch.float64), torch.cumprod(1 - self.betas, 0)])

    def reverse(self, x_t: Tensor, t: int) -> Normal:
        """``p(x_{t-1} | x_t)``."""
        return Normal(self.slopes[t - 1] * x_t, self.variances[t - 1].log())

    def variance_of_samples(self) -> float:
        """That of x_0 ~ N(0, ·): ``V_{t-1} = a_t² V_t + s_t²`` from ``V_T = 1``."""
        variance = 1.0
        for slope, rest in zip(self.slopes.tolist()[::-1], self.variances.tolist()[::-1], strict=True):
            variance = slope**2 * variance + rest
        return variance

    def log_weight(self, x: Tensor) -> Tensor:
        """``log p(x_{0:T}) - log q(x_{1:T} | x_0) [N]`` of trajectories ``x [T + 1, N]``."""
        steps = range(1, len(self.betas) + 1)
        ratios = (
            self.reverse(x[t], t).log_prob(x[t - 1])
            - self.kernel.transition(x[t - 1], self.betas[t - 1]).log_prob(x[t])
            for t in steps
        )
        return sum(ratios, self.kernel.equilibrium(x[-1]).log_prob(x[-1]))


def hermite(nodes: int = 12) -> tuple[Tensor, Tensor]:
    """Points and weights, each ``[nodes]``, of the Gauss-Hermite rule for averages over N(0, 1)."""
    import numpy as np

    points, weights = np.polynomial.hermite_e.hermegauss(nodes)
    return torch.tensor(points), torch.tensor(weights / weights.sum())
