"""The file of the Inception network, which is downloaded once, and may be in either of two forms."""

from __future__ import annotations

import warnings
from collections.abc import Callable
from pathlib import Path
from typing import cast

import torch
from torch import nn

from genmodels.errors import require
from genmodels.files import read_once, sha256

NAME = "inception-2015-12-05.pt"
FOLDER = "inception"  # under the data root
ADDRESSES = (
    "https://nvlabs-fi-cdn.nvidia.com/stylegan2-ada-pytorch/pretrained/metrics/inception-2015-12-05.pt",
    "https://huggingface.co/Leoxing/H2CEvaluator/resolve/main/fid/inception-2015-12-05.pt",  # a mirror
)
LAYERS = "7ff4a85c3a6378f0dfc8433ffd789663b01176bec0a683a435651739c091fa34"
"""TorchScript of the layers alone, from images on [-1, 1) of 299x299 pixels to features."""

WHOLE = "f58cb9b6ec323ed63459aa4fb441fe750cfe39fafad6da5cb504a16f19e958f4"
"""TorchScript of the whole graph by NVIDIA, for StyleGAN2-ADA: preprocessing, the same layers, and an output layer."""

LAYERS_OF: dict[str, Callable[[nn.Module], nn.Module]] = {
    LAYERS: lambda network: network,
    WHOLE: lambda network: cast("nn.Module", network.layers),
}
"""How the layers are found in the network of a file, by the SHA-256 of the file."""


def load_layers(root: Path) -> tuple[nn.Module, str]:
    """The layers of the network in ``<root>/inception``, downloaded if it is not there, and the SHA-256 of its file.

    Raises:
        UserError: if the file cannot be downloaded, or is none of those known.
    """
    path = root / FOLDER / NAME
    if not path.exists():  # in either form
        from genmodels.data.files import fetch  # with Lightning

        fetch(path.parent, {NAME: WHOLE}, *ADDRESSES)
    return read(path)


@read_once
def read(path: Path) -> tuple[nn.Module, str]:
    """The layers of the network in a file, and the file's SHA-256.

    Raises:
        UserError: if the file is none of those known.
    """
    digest = sha256(path)
    require(
        digest in LAYERS_OF,
        f"{path} is not the Inception network of 2015-12-05: its SHA-256 is {digest}, not {' or '.join(LAYERS_OF)};"
        " delete the file to have it downloaded.",
    )
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)  # TorchScript is deprecated, but the file is in its format
        network: nn.Module = torch.jit.load(path, map_location="cpu")
    return LAYERS_OF[digest](network), digest
