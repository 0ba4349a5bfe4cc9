"""MAF, NICE and a flow of splines against other libraries' with equal networks, and MAF against a naive sampler.

They are in nobody's requirements: ``pip install zuko nflows normflows`` in an environment of its own. One that cannot
be imported is named in the table and left out. All train with plain Adam on the same random data, and have a standard
normal base. The networks and Adam alone, which all have in common, bound what a ratio can be.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

import torch
from rich.table import Table
from torch import Tensor, nn

from genmodels.core import DataSpec
from genmodels.hardware import keep_freed_memory
from genmodels.models.base import StandardNormal
from genmodels.models.maf import MAF
from genmodels.models.nice import NICE
from genmodels.models.realnvp import RealNVP
from genmodels.networks.made import made
from genmodels.networks.mlp import coupling_mlp
from genmodels.transforms import Autoregressive, RationalQuadraticSpline
from tests.benchmarks.steps import Peer, compared, networks_alone, step

D, BATCH, WIDTH, LAYERS, BINS, BOUND = 64, 256, 256, 5, 8, 5.0
COUPLINGS, DEPTH = 8, 2
PIXELS, DRAWS = 784, 100  # of the naive sampler

Alternating = Callable[..., tuple[float, ...]]


def ours(kind: str, x: Tensor) -> Peer:
    """The model of this package."""
    spec, adam = DataSpec((D,)), torch.optim.Adam
    network = partial(coupling_mlp, width=WIDTH, depth=DEPTH)
    spline = partial(RationalQuadraticSpline, bins=BINS, bound=BOUND)
    models = {
        "MAF": lambda: MAF(spec, partial(made, width=WIDTH), adam, layers=LAYERS),
        "NICE": lambda: NICE(spec, network, adam, couplings=COUPLINGS, base=StandardNormal),
        "splines": lambda: RealNVP(spec, network, adam, depth=COUPLINGS, coupling=spline),
    }
    model = models[kind]()
    return model, lambda: model.loss(x).total, lambda: model.sample(len(x))


def of_zuko(kind: str, x: Tensor) -> Peer:
    """The same layers of zuko, without normalized activations, which it lacks."""
    import zuko

    shapes = [(BINS,), (BINS,), (BINS - 1,)]
    spline = {"univariate": partial(zuko.transforms.MonotonicRQSTransform, bound=BOUND), "shapes": shapes}
    shift = {"univariate": zuko.transforms.AdditiveTransform, "shapes": [()]}
    if kind == "MAF":
        model = zuko.flows.MAF(D, transforms=LAYERS, hidden_features=[WIDTH])
    else:
        options = {"hidden_features": [WIDTH] * DEPTH, **(shift if kind == "NICE" else spline)}
        masks = [torch.arange(D) % 2 == i % 2 for i in range(COUPLINGS)]
        layers = [zuko.flows.GeneralCouplingTransform(D, mask=mask, **options) for mask in masks]
        normal = zuko.lazy.UnconditionalDistribution(
            zuko.distributions.DiagNormal, torch.zeros(D), torch.ones(D), buffer=True
        )
        model = zuko.flows.Flow(layers, normal)
    return model, lambda: -model().log_prob(x).mean(), lambda: model().sample((len(x),))


class Unconditional(nn.Sequential):
    """The network of a coupling of nflows or normflows, which also passes a context."""

    def forward(self, x: Tensor, context: None = None) -> Tensor:
        return super().forward(x)


def of_nflows(kind: str, x: Tensor) -> Peer:
    """The same layers of nflows, and its normalized activations where ours has them."""
    from nflows import distributions, flows, transforms

    def network(inputs: int, outputs: int) -> nn.Module:
        return Unconditional(*coupling_mlp((inputs,), (outputs,), WIDTH, DEPTH))

    spline = partial(
        transforms.PiecewiseRationalQuadraticCouplingTransform, num_bins=BINS, tails="linear", tail_bound=BOUND
    )
    if kind == "MAF":
        layer = partial(transforms.MaskedAffineAutoregressiveTransform, num_blocks=0, use_residual_blocks=False)
        layers = [(transforms.ActNorm(D), layer(D, WIDTH), transforms.ReversePermutation(D)) for _ in range(LAYERS)]
    else:
        masks = [(torch.arange(D) + i) % 2 for i in range(COUPLINGS)]
        couple = transforms.AdditiveCouplingTransform if kind == "NICE" else spline
        norms = [] if kind == "NICE" else [transforms.ActNorm(D)]
        layers = [(couple(mask=mask, transform_net_create_fn=network), *norms) for mask in masks]
    flat = [part for parts in layers for part in parts]
    model = flows.Flow(transforms.CompositeTransform(flat), distributions.StandardNormal([D]))
    return model, lambda: -model.log_prob(x).mean(), lambda: model.sample(len(x))


def of_normflows(kind: str, x: Tensor) -> Peer:
    """The same layers of normflows, from x to z in the direction in which each takes one pass of its network."""
    import normflows
    from normflows.flows.neural_spline.coupling import PiecewiseRationalQuadraticCoupling

    def network(inputs: int, outputs: int) -> nn.Module:
        return Unconditional(*coupling_mlp((inputs,), (outputs,), WIDTH, DEPTH))

    def couple(i: int) -> tuple[nn.Module, ...]:
        if kind == "NICE":
            halves = "channel_inv" if i % 2 else "channel"
            return (normflows.flows.AffineCouplingBlock(network(D // 2, D // 2), scale=False, split_mode=halves),)
        mask = (torch.arange(D) + i) % 2
        spline = PiecewiseRationalQuadraticCoupling(mask, network, num_bins=BINS, tails="linear", tail_bound=BOUND)
        return spline, normflows.flows.ActNorm((D,))

    def autoregressive() -> tuple[nn.Module, ...]:
        layer = normflows.flows.MaskedAffineAutoregressive(D, WIDTH, num_blocks=0, use_residual_blocks=False)
        return normflows.flows.ActNorm((D,)), layer, normflows.flows.Permute(D)

    layers = [autoregressive() for _ in range(LAYERS)] if kind == "MAF" else [couple(i) for i in range(COUPLINGS)]
    flat = [part for parts in layers for part in parts]
    model = normflows.NormalizingFlow(normflows.distributions.DiagGaussian(D, trainable=False), flat)

    def loss() -> Tensor:
        z, log_det = model.forward_and_log_det(x)
        return -(model.q0.log_prob(z) + log_det).mean()

    return model, loss, lambda: model.inverse(model.q0(len(x))[0])


PEERS = {"zuko": of_zuko, "nflows": of_nflows, "normflows": of_normflows}


def flows(table: Table, alternating: Alternating) -> None:
    """Training steps and samples beside the libraries', and draws of 784 dimensions beside one pass for each."""
    keep_freed_memory()  # as every run of ours does; the others gain from it too
    x = torch.randn(BATCH, D)
    half = [D // 2, *[WIDTH] * DEPTH]
    networks = {
        "MAF": ([D, WIDTH, 2 * D], LAYERS),
        "NICE": ([*half, D // 2], COUPLINGS),
        "splines": ([*half, (3 * BINS - 1) * D // 2], COUPLINGS),
    }
    for kind, (widths, number) in networks.items():
        step_alone, pass_alone = networks_alone(widths, number, BATCH)
        for name, make in PEERS.items():
            what = f"{kind}, {D} dimensions, batch {BATCH}, against {name}"
            try:
                their_model, their_loss, their_samples = make(kind, x)
            except ImportError as error:
                table.add_row(what, "", "", str(error))
                continue
            our_model, our_loss, our_samples = ours(kind, x)
            counts = [sum(p.numel() for p in model.parameters()) for model in (our_model, their_model)]
            sizes = " and ".join(f"{count:,}" for count in counts)
            table.add_row(f"step of {what} ({sizes} parameters)", *compared(*alternating(
                step(our_model, our_loss), step(their_model, their_loss), step_alone, rounds=15
            )))  # fmt: skip
            with torch.no_grad():
                alone = [] if kind == "MAF" else [pass_alone]  # other libraries take a pass for every dimension
                times = alternating(our_samples, their_samples, *alone)
            table.add_row(f"samples of {what}", *compared(*times))
    spline_alone(table, alternating)
    naive_sampler(table, alternating)


def spline_alone(table: Table, alternating: Alternating) -> None:
    """A pass through the splines of a coupling and back, without its network, which is the same in all libraries."""
    spline = RationalQuadraticSpline((D // 2,), BINS, BOUND)
    x, params = torch.randn(BATCH, D // 2), torch.randn(BATCH, 3 * BINS - 1, D // 2, requires_grad=True)
    theirs = params.detach().mT.contiguous().requires_grad_()
    raw = theirs.split([BINS, BINS, BINS - 1], dim=2)
    splines: dict[str, Callable[[], tuple[Tensor, Tensor]]] = {}
    try:
        import zuko

        splines["zuko"] = lambda: zuko.transforms.MonotonicRQSTransform(*raw, bound=BOUND).call_and_ladj(x)
    except ImportError as error:
        table.add_row("splines alone, against zuko", "", "", str(error))
    try:
        from nflows.transforms.splines import unconstrained_rational_quadratic_spline as peer

        splines["nflows"] = lambda: peer(x, *raw, tail_bound=BOUND)
    except ImportError as error:
        table.add_row("splines alone, against nflows", "", "", str(error))

    def there_and_back(encode: Callable[[], tuple[Tensor, Tensor]], leaf: Tensor) -> Callable[[], object]:
        return lambda: torch.autograd.grad(sum(part.sum() for part in encode()), leaf)

    for name, encode in splines.items():
        a, b = alternating(
            there_and_back(lambda: spline.encode(x, params), params), there_and_back(encode, theirs), rounds=30
        )
        what = f"splines alone, {D // 2} dimensions, batch {BATCH}, with gradients, against {name}"
        table.add_row(what, *compared(a, b))


@torch.no_grad()
def naive_sampler(table: Table, alternating: Alternating) -> None:
    """One layer's samples of 784 dimensions, against a pass of its network for every dimension."""
    layer = Autoregressive(PIXELS, partial(made, width=512))
    z = torch.randn(DRAWS, PIXELS)

    def naive() -> None:
        x = torch.zeros_like(z)
        for i in range(PIXELS):
            x[:, i] = layer.map.decode(z, layer.network(x))[:, i]

    a, b = alternating(lambda: layer.decode(z), naive, rounds=3)
    table.add_row(f"{DRAWS} samples of a layer of MAF, {PIXELS} dimensions, against a pass for each", *compared(a, b))
