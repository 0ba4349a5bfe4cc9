r"""Samples of a diffusion model's posterior: given some of the values of x_0, or multiplied by a factor r(x_0).

Sohl-Dickstein et al. 2015 (§2.5, arXiv:1503.03585) multiply the steps of the reverse chain by powers of r, and inpaint
by fixing what is known; Song et al. 2021 (arXiv:2011.13456, appendix I.2) replace what is known by draws of the forward
process. Both are approximations. Here they are proposals, and weights make up for what they lack: known values follow
``q(x_{t-1} | x_t, x_0)``, by which they are a draw of the forward process, the others ``p(x_{t-1} | x_t)``, tilted by
``r_t = r^((T - t) / T)``. A trajectory then has the weight

.. math:: w = \frac{p(x_{0:T})\, r(x_0)}{\text{density of its proposal}},

whose average is the probability of the known values, or the average of r. Of C weighted trajectories one is taken. Its
law becomes the posterior of the model itself as C grows; C = 1 is the replacement method.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from genmodels.diffusion.chain import DiffusionChain
from genmodels.diffusion.laws import Factor, Law, per_example


def guided(chain: DiffusionChain, x0: Tensor, known: Tensor, log_r: Factor | None = None) -> tuple[Tensor, Tensor]:
    """x_0 at the ends of proposed trajectories ``[B, *shape]``, and ``log w [B]`` in nats.

    Args:
        chain: laws of the model.
        x0: ``[B, *shape]`` on the scale of the chain; values that are not known are ignored.
        known: ``[B, *shape]``, true where x_0 is given.
        log_r: logarithm of a factor, elementwise, that multiplies p(x_0) where x_0 is not known.
    """

    def step(p: Law[Any], q: Law[Any] | None, t: int) -> tuple[Tensor, Tensor]:
        """x_t, drawn from q where it is known, else from p, tilted; and what the step multiplies the weight by."""
        tilts = log_r is not None and t < chain.steps
        proposal = p.tilted(lambda x: (chain.steps - t) / chain.steps * log_r(x)) if tilts and log_r else p
        x = torch.where(known, x0 if q is None else q.sample(), proposal.sample())
        log_p = p.log_prob(x)
        of_known = log_p if q is None else log_p - q.log_prob(x)
        ratio = torch.where(known, of_known, log_p - proposal.log_prob(x))
        return x, per_example(ratio)

    x, log_w = step(chain.equilibrium(x0), chain.forward(x0), chain.steps)
    for t in range(chain.steps, 0, -1):
        x, ratio = step(chain.reverse(x, t), chain.posterior(x0, x, t) if t > 1 else None, t - 1)
        log_w = log_w + ratio
    if log_r is not None:
        log_w = log_w + per_example(torch.where(known, 0.0, log_r(x)))
    return x, log_w
