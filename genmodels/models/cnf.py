"""Continuous normalizing flow: noise z at time 0 is carried to data u at time 1 by a velocity that a network learns.

    dx/dt = v(x, t),    x(0) = z ~ N(0, I),    x(1) = u            (Chen et al. 2018, eq. 2, arXiv:1806.07366)

is invertible for every smooth v: it is solved backwards just as well. In a short step ``x + h v(x, t)`` the density is
divided by ``|det(I + h ∂v/∂x)| = 1 + h tr(∂v/∂x) + O(h²)``, so that in the limit (theorem 1)

    d log p(x(t)) / dt = -tr(∂v/∂x),    log p(u) = log N(z; 0, I) - ∫_0^1 tr(∂v/∂x(t)) dt.

Two objectives train the same velocity. :class:`MaximumLikelihood` solves the ODE for every batch. :class:`FlowMatching`
needs no solver: it regresses on velocities known in closed form, at the cost of one network pass, as for diffusion.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterable, Mapping
from contextlib import nullcontext
from itertools import pairwise
from typing import Any, ClassVar

import torch
from torch import Tensor, nn
from torch.nn.attention import SDPBackend, sdpa_kernel
from typing_extensions import override

from genmodels.core import DataSpec, Kind, Likelihood, bits_per_dim, log_mean_exp
from genmodels.core.abilities import Denoises, Encodes, Exports, HasLikelihood, HasProbabilityFlow, Program, Samples
from genmodels.core.observation import standard_normal_log_prob
from genmodels.core.quantization import dequantize, from_symmetric, to_symmetric, unit_to_symmetric
from genmodels.core.randomness import stratified_uniform
from genmodels.errors import ensure, ensure_counts, ensure_numbers
from genmodels.models.base import (
    GenerativeModel,
    Loss,
    NetworkFactory,
    OptimizerFactory,
    SchedulerFactory,
    Standardizes,
    in_float32,
    solving,
)
from genmodels.ode import (
    Dopri5,
    ShiftedRK4,
    Solver,
    integrate,
    integrate_with_energies,
    integrate_with_log_det,
    random_signs,
    trace_protocol,
)

TIME_SCALE = 10.0  # the fastest wave of the network's embedding of time has a period of 0.6: a smooth velocity
ROUGH = 1e-3  # tolerance of the solver for likelihoods during training and for pictures


class Objective(ABC):
    """What training minimizes.

    Attributes:
        is_likelihood: whether validation watches the likelihood, not the loss.
    """

    is_likelihood: ClassVar[bool]

    @abstractmethod
    def __call__(self, flow: CNF, u: Tensor, log_det: Tensor) -> Loss:
        """The loss of data ``u [B, *shape]`` on the scale of the flow, with ``log |du/dx| [B]``."""


class FlowMatching(Objective):
    """``E |v(x_t, t) - (u - z)|²`` per dimension, ``x_t = (1 - t) z + t u`` with z ~ N(0, I) and t uniform.

    Along straight lines from noise to data the velocity is ``u - z``. Its conditional mean given x_t, which minimizes
    the loss, is a velocity that carries N(0, I) to the data (Lipman et al. 2023, theorems 1 and 2, and §4.1 with
    σ_min = 0, arXiv:2210.02747; Liu et al. 2023, arXiv:2209.03003).

    Args:
        optimal_transport: pair the noise with the data of a batch such that the sum of squared distances is least,
            which straightens the flow (Tong et al. 2024, §3.2, arXiv:2302.00482). The pairing costs O(B³) on the CPU.
    """

    is_likelihood = False

    def __init__(self, optimal_transport: bool = False) -> None:
        self.optimal_transport = optimal_transport

    def __call__(self, flow: CNF, u: Tensor, log_det: Tensor) -> Loss:
        """Loss with the term ``mse``."""
        z = torch.randn_like(u)
        if self.optimal_transport:
            z = z[nearest(u, z)]
        t = stratified_uniform(len(u), u.device)
        weight = t.view(-1, *[1] * (u.dim() - 1))
        x_t = (1 - weight) * z + weight * u
        mse = (flow.velocity(t, x_t) - (u - z)).square().mean()
        return Loss(mse, {"mse": mse})


class MaximumLikelihood(Objective):
    """``-log p(u)`` in nats per dimension, by the Runge-Kutta method of order 4 in equal steps.

    The gradient is that of the steps that are taken, by plain backpropagation (for its memory Chen et al. 2018, §2,
    solve an adjoint ODE instead). Traces are estimated by one random direction, the same along the path of an example
    (Grathwohl et al. 2019, §3.1, arXiv:1810.01367), and are exact in up to 16 dimensions.

    The steps are shifted at random for every batch (:class:`genmodels.ode.ShiftedRK4`). On a grid that stays, few steps
    teach a velocity that is right for these steps only, whose likelihood by an accurate solver becomes worse and worse.

    Of all flows that carry noise to the data, two penalties prefer one that is easy to solve (Finlay et al. 2020,
    arXiv:2002.02798): the loss is ``-log p(u) + kinetic ∫ |v|² dt + jacobian ∫ |∂v/∂x|_F² dt``, per dimension.

    Args:
        steps: number of steps from data to noise, less the one that the shift adds; each is of four network passes.
        kinetic: weight of the kinetic energy of an example's path, which straight paths of constant speed minimize.
        jacobian: weight of the squares of the velocity's Jacobian along the path, estimated like its trace.

    Raises:
        ValueError: if steps is less than 1, or a weight is negative.
    """

    is_likelihood = True

    def __init__(self, steps: int = 8, kinetic: float = 0.0, jacobian: float = 0.0) -> None:
        ensure_numbers(at_least=0, kinetic=kinetic, jacobian=jacobian)
        self.solver = ShiftedRK4(steps)
        self.kinetic, self.jacobian = kinetic, jacobian

    def __call__(self, flow: CNF, u: Tensor, log_det: Tensor) -> Loss:
        """Loss with the terms ``bits_per_dim`` on integers or ``nats`` on reals, and both energies, per dimension."""
        signs, dims = random_signs(u, flow.probes), flow.spec.dims
        log_p, *energies = flow.log_density_and_energies(u, self.solver, signs)
        nats = (log_p + log_det).mean()
        kinetic, jacobian = (energy.mean() / dims for energy in energies)
        terms = {"bits_per_dim": bits_per_dim(nats, flow.spec)} if flow.spec.is_discrete else {"nats": -nats}
        terms |= {"kinetic": kinetic, "jacobian": jacobian}
        return Loss(-nats / dims + self.kinetic * kinetic + self.jacobian * jacobian, terms)


class CNF(GenerativeModel, Standardizes, Samples, HasLikelihood, HasProbabilityFlow, Encodes, Denoises, Exports):
    """Continuous flow of images or vectors, of integers (scaled to [-1, 1]) or reals (standardized).

    Integers are dequantized uniformly: the flow is trained on points of the bins around the levels, and a sample is the
    level whose bin contains its point.

    Args:
        spec: the data.
        network: factory ``(in_shape, out_shape) -> net(x [B, *in_shape], t [B]) -> [B, *out_shape]``.
        objective: :class:`FlowMatching` or :class:`MaximumLikelihood`.
        sampler: solves the ODE from noise to samples, see :mod:`genmodels.ode.solvers`.
        optimizer: see :class:`GenerativeModel`.
        scheduler: see :class:`GenerativeModel`.
        clip_norm: see :class:`GenerativeModel`.
        tolerance: of the adaptive solver for likelihoods and codes, relative and absolute.
        probes: random directions by which a trace is estimated; ``None`` for exact traces in up to 16 dimensions, one
            direction in more.

    Raises:
        ValueError: if the tolerance is outside (0, 0.1), probes is less than 1, or noise would be paired with labels.
    """

    family = "flows"
    draws = "dequantization_samples"
    takes_labels = True

    def __init__(
        self,
        spec: DataSpec,
        network: NetworkFactory,
        objective: Objective,
        sampler: Solver,
        optimizer: OptimizerFactory,
        scheduler: SchedulerFactory | None = None,
        clip_norm: float | None = None,
        tolerance: float = 1e-5,
        probes: int | None = None,
    ) -> None:
        super().__init__(spec, optimizer, scheduler, clip_norm)
        ensure_numbers(above=0, below=0.1, tolerance=tolerance)  # a tenfold of it is the coarser one
        ensure_counts(optional=True, probes=probes)
        paired = isinstance(objective, FlowMatching) and objective.optimal_transport
        mixed = "optimal_transport pairs noise with examples of all labels, so that no label has N(0, I) at t = 0."
        ensure(spec.classes is None or not paired, mixed)
        self.network = self.labels.beside_time(network)(spec.shape, spec.shape)
        self.objective = objective
        self.sampler = sampler
        self.tolerance = tolerance
        self.probes = probes
        self.hold_moments(*spec.shape)

    def compiled_networks(self) -> Iterable[nn.Module]:
        """The network."""
        return (self.network,)

    # Between raw data and the scale of the flow -----------------------------------------------------------------------

    def initialize(self, x: Tensor) -> None:
        """Take the moments by which reals are standardized from ``x [B, *shape]``."""
        if not self.spec.is_discrete:
            self.take_moments(x.float().flatten(1))

    def to_flow(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """A draw ``u [B, *shape]`` in the bins of raw data ``x [B, *shape]``, and the log-determinants ``[B]``."""
        point, log_volume = dequantize(x, self.spec)
        y, log_slope = unit_to_symmetric(point, self.spec)
        return self.standardized(y), log_volume + log_slope + self.log_det_standardized

    def from_flow(self, u: Tensor) -> Tensor:
        """Raw data ``[B, *shape]`` at ``u [B, *shape]``."""
        return from_symmetric(self.restored(u), self.spec)

    # The flow ---------------------------------------------------------------------------------------------------------

    def velocity(self, t: Tensor, x: Tensor) -> Tensor:
        """``v(x, t) [B, *shape]`` at ``x [B, *shape]``, and ``t [B]``, or ``[]`` for all examples."""
        v: Tensor = self.network(x, TIME_SCALE * t.expand(x.shape[0]))
        return v.to(x.dtype)

    @override
    def programs(self) -> Mapping[str, Program]:
        about = "t [B] in [0, 1], from noise to data, and x [B, *shape] to the velocity of x, on the scale of the flow"
        inputs = torch.zeros(2), torch.zeros(2, *self.spec.shape)
        return {"velocity": Program(self.velocity, inputs, (self.network,), about)}

    def solve(self, x: Tensor, t0: float, t1: float, solver: Solver) -> Tensor:
        """The state ``[B, *shape]`` at t1 that was ``x [B, *shape]`` at t0."""
        with solving():
            return integrate(self.velocity, x, t0, t1, solver)[0]

    @in_float32
    def log_density(self, u: Tensor, solver: Solver, probes: Tensor | None) -> tuple[Tensor, int]:
        """``log p(u) [B]`` in nats of ``u [B, *shape]``, by one solution from t = 1 to 0, and its evaluations.

        ``probes [P, B, *shape]`` estimate the traces, see :func:`genmodels.ode.integrate_with_log_det`.
        """
        with solving(), sdpa_kernel(SDPBackend.MATH):  # the other kernels of attention have no second derivatives
            z, log_det, evaluations = integrate_with_log_det(self.velocity, u, 1.0, 0.0, solver, probes)
        return standard_normal_log_prob(z) + log_det, evaluations

    @in_float32
    def log_density_and_energies(
        self, u: Tensor, solver: Solver, probes: Tensor | None
    ) -> tuple[Tensor, Tensor, Tensor]:
        """:meth:`log_density`, and the energies of :func:`genmodels.ode.integrate_with_energies`, each ``[B]``."""
        with solving(), sdpa_kernel(SDPBackend.MATH):
            z, log_det, kinetic, jacobian = integrate_with_energies(self.velocity, u, 1.0, 0.0, solver, probes)
        return standard_normal_log_prob(z) + log_det, kinetic, jacobian

    def loss(self, x: Tensor) -> Loss:
        """The objective, of raw data ``x [B, *shape]``."""
        return self.objective(self, *self.to_flow(x))

    # Likelihoods ------------------------------------------------------------------------------------------------------

    @torch.no_grad()
    def log_likelihood(self, x: Tensor, samples: int = 1) -> Likelihood:
        """An estimate of ``log p(x) [B]`` in nats of raw data ``x [B, *shape]``, at ``tolerance`` and at ten times it.

        On integers it estimates the bound of :func:`genmodels.core.quantization.log_mass`, which more ``samples`` of
        the noise tighten. The errors of solver and random directions may have either sign, so that it is no bound.

        Raises:
            ValueError: if samples is less than 1.
        """
        ensure_counts(samples=samples)
        u, log_det = self.to_flow(x.repeat(samples, *[1] * (x.dim() - 1)))  # [K B, *shape]
        signs = random_signs(u, self.probes)

        def solved(tolerance: float) -> tuple[Tensor, int]:
            nats, evaluations = self.log_density(u, Dopri5(tolerance), signs)
            return log_mean_exp((nats + log_det).view(samples, -1)), evaluations

        (coarse, first), (nats, second) = solved(10 * self.tolerance), solved(self.tolerance)
        evaluations = torch.full_like(nats, first + second)
        return Likelihood(nats, Kind.ESTIMATE, solution={"coarse": coarse, "evaluations": evaluations})

    @torch.no_grad()
    def validation_likelihood(self, x: Tensor) -> Likelihood:
        """The estimate at a tolerance of 0.001."""
        u, log_det = self.to_flow(x)
        nats, _ = self.log_density(u, Dopri5(ROUGH), random_signs(u, self.probes))
        return Likelihood(nats + log_det, Kind.ESTIMATE)

    def monitor(self, x: Tensor) -> Likelihood | Tensor:
        """The likelihood if that is trained, else the loss, which is as cheap as in training."""
        return self.validation_likelihood(x) if self.objective.is_likelihood else self.loss(x).total

    @property
    def likelihood_protocol(self) -> dict[str, Any]:
        """The solver with its tolerance, and how traces are computed, as one entry, since they are the model's own."""
        return {"solution": {**Dopri5(self.tolerance).protocol, "trace": trace_protocol(self.spec.dims, self.probes)}}

    @property
    def passes_per_example(self) -> int:
        """About the evaluations at both tolerances; the exact number is known when the ODE is solved."""
        return Dopri5(self.tolerance).evaluations + Dopri5(10 * self.tolerance).evaluations

    def flow_log_density(self, y: Tensor, tolerance: float, probes: Tensor | None = None) -> tuple[Tensor, int]:
        """Density of the flow's ends."""
        nats, evaluations = self.log_density(self.standardized(y), Dopri5(tolerance), probes)
        return nats + self.log_det_standardized, evaluations

    # Samples and codes ------------------------------------------------------------------------------------------------

    @torch.no_grad()
    def sample(self, n: int) -> Tensor:
        """``n`` examples ``[n, *shape]`` in data space, by the configured solver."""
        z = torch.randn(n, *self.spec.shape, device=self.device)
        with torch.autocast(self.device.type, enabled=False) if self.sampler.adaptive else nullcontext():
            return self.from_flow(self.solve(z, 0.0, 1.0, self.sampler))

    @property
    def sampling_protocol(self) -> dict[str, Any]:
        """The solver's settings, in plain types."""
        return self.sampler.protocol

    @property
    def passes_per_sample(self) -> int:
        """The evaluations of the solver; of an adaptive one about that number."""
        return self.sampler.evaluations

    @torch.no_grad()
    @in_float32
    def encode(self, x: Tensor) -> Tensor:
        """Code ``z [B, D]`` of raw data ``x [B, *shape]``; an integer is represented by its level."""
        u = self.standardized(to_symmetric(x, self.spec))
        return self.solve(u, 1.0, 0.0, Dopri5(self.tolerance)).flatten(1)

    @torch.no_grad()
    @in_float32
    def decode(self, z: Tensor) -> Tensor:
        """Raw data ``x [B, *shape]`` of codes ``z [B, D]``."""
        return self.from_flow(self.solve(z.view(-1, *self.spec.shape), 0.0, 1.0, Dopri5(self.tolerance)))

    @torch.no_grad()
    @in_float32
    def denoising_strip(self, n: int, frames: int) -> Tensor:
        """``[frames, n, *shape]`` in data space: states of the flow at evenly spaced times, from noise to data."""
        states = [torch.randn(n, *self.spec.shape, device=self.device)]
        for t, later in pairwise(torch.linspace(0, 1, frames).tolist()):
            states.append(self.solve(states[-1], t, later, Dopri5(ROUGH)))
        return torch.stack([self.from_flow(x) for x in states])


def nearest(u: Tensor, z: Tensor) -> Tensor:
    """The order ``[B]`` of ``z [B, *shape]`` that minimizes ``Σ_i |u_i - z_order(i)|²``, an optimal assignment.

    >>> nearest(torch.tensor([[0.0], [5.0]]), torch.tensor([[4.0], [1.0]]))
    tensor([1, 0])
    """
    from scipy.optimize import linear_sum_assignment  # imported here, because few runs pair a batch

    distances = torch.cdist(u.flatten(1), z.flatten(1)).square()
    return torch.from_numpy(linear_sum_assignment(distances.cpu().numpy())[1]).to(u.device)
