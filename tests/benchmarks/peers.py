"""Speed beside other libraries, at equal numbers of parameters: ``python -m tests.benchmarks.peers``.

The libraries are in nobody's requirements, so the benchmark runs in an environment of its own, with this package, its
development requirements, and::

    pip install zuko normflows diffusers denoising-diffusion-pytorch torchvision

A library that cannot be imported is named in the table and left out. Nothing is asserted: what is compared runs
alternately in one process on the same random data, and the ratio of the median times is printed. All train with plain
Adam and PyTorch's default settings for it.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

import torch
from rich.table import Table
from torch import Tensor, nn

from genmodels.core import DataSpec
from genmodels.hardware import keep_freed_memory
from genmodels.models.realnvp import RealNVP
from genmodels.networks.mlp import coupling_mlp
from genmodels.networks.unet import unet
from tests.benchmarks.__main__ import alternating, print_table
from tests.benchmarks.steps import Peer, compared, networks_alone, step

ROUNDS = 15
COUPLINGS, POINTS, HIDDEN = 32, 512, 64  # a flow on the plane: couplings, batch, units of two hidden layers
IMAGES, SIDE, WIDTH = 64, 28, 48  # a U-Net: batch, side of an image, channels at full resolution


def size(model: nn.Module) -> int:
    """Number of parameters."""
    return sum(p.numel() for p in model.parameters())


def compare(table: Table, what: str, sizes: str, *runs: Callable[[], object]) -> None:
    """Add the median times of ours and theirs and their ratio to the table, and the bound by their networks alone."""
    table.add_row(what, *compared(*alternating(*runs, rounds=ROUNDS)), sizes)


def our_flow(x: Tensor) -> Peer:
    """RealNVP with an MLP in every coupling."""
    network = partial(coupling_mlp, width=HIDDEN, depth=2)
    model = RealNVP(DataSpec((2,), None), network, torch.optim.Adam, depth=COUPLINGS)
    return model, lambda: model.loss(x).total, lambda: model.sample(len(x))


def zuko_flow(x: Tensor) -> Peer:
    """The same couplings of zuko, without normalized activations, which it lacks."""
    import zuko

    couplings = [
        zuko.flows.GeneralCouplingTransform(2, mask=torch.arange(2) == i % 2, hidden_features=(HIDDEN, HIDDEN))
        for i in range(COUPLINGS)
    ]
    normal = zuko.lazy.UnconditionalDistribution(
        zuko.distributions.DiagNormal, torch.zeros(2), torch.ones(2), buffer=True
    )
    model = zuko.flows.Flow(couplings, normal)
    return model, lambda: -model().log_prob(x).mean(), lambda: model().sample((len(x),))


def normflows_flow(x: Tensor) -> Peer:
    """The same couplings of normflows, with its normalized activations."""
    import normflows

    parts = []
    for _ in range(COUPLINGS):
        network = normflows.nets.MLP([1, HIDDEN, HIDDEN, 2], init_zeros=True)
        parts += [
            normflows.flows.AffineCouplingBlock(network),
            normflows.flows.Permute(2, mode="swap"),
            normflows.flows.ActNorm(2),
        ]
    model = normflows.NormalizingFlow(normflows.distributions.DiagGaussian(2, trainable=False), parts)
    return model, lambda: model.forward_kld(x), lambda: model.sample(len(x))


def flows(table: Table) -> None:
    """Training steps and samples of flows on the plane."""
    x = torch.randn(POINTS, 2)
    step_alone, pass_alone = networks_alone([1, HIDDEN, HIDDEN, 2], COUPLINGS, POINTS)
    for name, make in {"zuko": zuko_flow, "normflows": normflows_flow}.items():
        try:
            their_model, their_loss, their_samples = make(x)
        except ImportError as error:
            table.add_row(f"flows, {name}", "", "", str(error), "")
            continue
        our_model, our_loss, our_samples = our_flow(x)
        sizes = f"{size(our_model):,} | {size(their_model):,}"
        what = f"{COUPLINGS} couplings on the plane, batch {POINTS}, {name}"
        steps = step(our_model, our_loss), step(their_model, their_loss), step_alone
        compare(table, f"step of {what}", sizes, *steps)
        with torch.no_grad():
            compare(table, f"samples of {what}", sizes, our_samples, their_samples, pass_alone)


def diffusers_unet() -> nn.Module:
    """A U-Net of diffusers with the widths, blocks and attention of ours."""
    from diffusers import UNet2DModel

    return UNet2DModel(
        sample_size=SIDE,
        in_channels=1,
        out_channels=1,
        layers_per_block=2,
        block_out_channels=(WIDTH, 2 * WIDTH, 2 * WIDTH),
        down_block_types=("DownBlock2D", "AttnDownBlock2D", "DownBlock2D"),
        up_block_types=("UpBlock2D", "AttnUpBlock2D", "UpBlock2D"),
        norm_num_groups=8,
        attention_head_dim=2 * WIDTH,
    )


def lucidrains_unet() -> nn.Module:
    """A U-Net of denoising-diffusion-pytorch as near to the size of ours as its widths allow."""
    from denoising_diffusion_pytorch import Unet

    return Unet(dim=44, dim_mults=(1, 2, 3), channels=1, flash_attn=False)


def unets(table: Table) -> None:
    """Training steps of U-Nets in each memory format of ours; of theirs in PyTorch's own."""
    x, t = torch.randn(IMAGES, 1, SIDE, SIDE), torch.randint(1, 1000, (IMAGES,))
    for name, make in {"diffusers": diffusers_unet, "denoising-diffusion-pytorch": lucidrains_unet}.items():
        try:
            theirs = make()
        except ImportError as error:
            table.add_row(f"U-Net, {name}", "", "", str(error), "")
            continue

        def their_loss(theirs: nn.Module = theirs) -> Tensor:
            out = theirs(x, t)
            return getattr(out, "sample", out).square().mean()

        for layout in (torch.contiguous_format, torch.channels_last):
            ours = unet((1, SIDE, SIDE), (1, SIDE, SIDE), width=WIDTH).to(memory_format=layout)
            their_step = step(theirs, their_loss)
            our_step = step(ours, lambda ours=ours: ours(x, t).square().mean())
            what = f"step of a U-Net, {IMAGES} images of {SIDE}x{SIDE}, {str(layout)[6:]}, {name}"
            compare(table, what, f"{size(ours):,} | {size(theirs):,}", our_step, their_step)


MEASURED = (flows, unets)


def main() -> None:
    """Print a table of all comparisons, or of those named on the command line."""
    keep_freed_memory()  # as every run of ours does; the others gain from it too
    print_table(("what", "ours", "theirs", "ratio", "parameters, ours | theirs"), MEASURED)


if __name__ == "__main__":
    main()
