r"""Samples of a diffusion model's posterior: given some of the values of x_0, or multiplied by a factor r(x_0).

Sohl-Dickstein et al. 2015 (§2.5, arXiv:1503.03585) multiply every step of the reverse chain by r, and inpaint by
fixing what is known; Song et al. 2021 (arXiv:2011.13456, appendix I.2) replace what is known by draws from the forward
process. Both are approximations. Here they are proposals, and weights make up for what they lack: the known values
follow ``q(x_{t-1} | x_t, x_0)``, which draws from the forward process step by step, the others ``p(x_{t-1} | x_t)``
tilted by r. A trajectory then has the weight

.. math:: w = \frac{p(x_{0:T})\, r(x_0)}{\text{density of its proposal}},

whose average is the probability of the known values (or of r). Of C candidates, which are resampled on the way (a
particle filter, as of Wu et al. 2023, arXiv:2306.17775), one is taken in the end. Its law becomes the posterior of the
model itself as C grows; C = 1 is the replacement method.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import torch
from torch import Tensor

from genmodels.core.candidates import chosen, resampled
from genmodels.diffusion.laws import Factor, Law


class ReverseChain(NamedTuple):
    """The laws of a diffusion model with T steps, at states ``[B, *shape]``.

    Attributes:
        steps: T.
        equilibrium: ``x -> p(x_T)``, of which x has the shape.
        forward: ``x_0 -> q(x_T | x_0)``.
        posterior: ``(x_0, x_t, t) -> q(x_{t-1} | x_t, x_0)`` for t >= 2.
        reverse: ``(x_t, t) -> p(x_{t-1} | x_t)`` for t >= 1.
    """

    steps: int
    equilibrium: Callable[[Tensor], Law[Any]]
    forward: Callable[[Tensor], Law[Any]]
    posterior: Callable[[Tensor, Tensor, int], Law[Any]]
    reverse: Callable[[Tensor, int], Law[Any]]


def guided(chain: ReverseChain, x0: Tensor, known: Tensor, candidates: int, log_r: Factor | None = None) -> Tensor:
    """One draw ``[N, *shape]`` of x_0 for each group of C candidates, given the known values.

    Args:
        chain: laws of the model.
        x0: ``[N C, *shape]`` on the scale of the chain, the candidates of a group one after another; values that are
            not known are ignored.
        known: ``[N C, *shape]``, true where x_0 is given.
        candidates: C.
        log_r: logarithm of a factor, elementwise, that multiplies p(x_0) where x_0 is not known.
    """
    free = ~known

    def weigh(values: Tensor, where: Tensor) -> Tensor:
        return torch.where(where, values, 0.0).flatten(1).sum(1)

    def step(p: Law[Any], q: Law[Any] | None, log_w: Tensor) -> tuple[Tensor, Tensor]:
        tilted = p if log_r is None else p.tilted(log_r)
        x = torch.where(known, x0 if q is None else q.sample(), tilted.sample())
        log_p = p.log_prob(x)
        log_w = log_w + weigh(log_p if q is None else log_p - q.log_prob(x), known)
        if log_r is not None:
            log_w = log_w + weigh(log_p - tilted.log_prob(x) + log_r(x), free)
        return x, log_w

    x, log_w = step(chain.equilibrium(x0), chain.forward(x0), x0.new_zeros(len(x0)))
    for t in range(chain.steps, 0, -1):
        index, log_w = resampled(log_w, candidates)
        x, x0 = x[index], x0[index]
        if log_r is not None:
            log_w = log_w - weigh(log_r(x), free)
        x, log_w = step(chain.reverse(x, t), chain.posterior(x0, x, t) if t > 1 else None, log_w)
    return x[chosen(log_w, candidates)]
