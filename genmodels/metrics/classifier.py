"""The small convolutional classifiers whose penultimate layers are the in-domain feature spaces, as of ``fd``."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from pathlib import Path

from safetensors import safe_open
from safetensors.torch import load_file
from torch import Tensor, nn

from genmodels.core import DataSpec
from genmodels.core.quantization import to_symmetric

WEIGHTS = Path(__file__).parent / "weights"
LABEL_SMOOTHING = 0.1  # of all that are shipped


class Classifier(nn.Module):
    """Convolutions down to 4x4, one hidden layer of ``features`` SiLU units, and a linear output layer.

    Args:
        spec: the data, images ``(C, H, W)``.
        features: width of the penultimate layer.
        classes: number of classes.
    """

    def __init__(self, spec: DataSpec, features: int, classes: int) -> None:
        super().__init__()
        self.spec = spec
        channels, size = spec.shape[0], max(spec.shape[1:])
        stride = 1 if size <= 8 else 2
        size = -(-size // stride)
        layers = [self._block(channels, 32, 5, stride), self._block(32, 64, 3, 1)]
        while size > 4:
            layers.append(self._block(64, 64, 3, 2))
            size = -(-size // 2)
        self.trunk = nn.Sequential(*layers, nn.Flatten(), nn.Linear(64 * size * size, features), nn.SiLU())
        self.head = nn.Linear(features, classes)

    @staticmethod
    def _block(inputs: int, outputs: int, kernel: int, stride: int) -> nn.Module:
        convolution = nn.Conv2d(inputs, outputs, kernel, stride, kernel // 2, bias=False)
        return nn.Sequential(convolution, nn.BatchNorm2d(outputs), nn.SiLU())

    def features(self, x: Tensor) -> Tensor:
        """Features ``[B, features]`` of raw data ``x [B, *shape]``."""
        features: Tensor = self.trunk(to_symmetric(x, self.spec))
        return features

    def forward(self, x: Tensor) -> Tensor:
        """Class logits ``[B, classes]`` of raw data ``x [B, *shape]``."""
        logits: Tensor = self.head(self.features(x))
        return logits


@dataclass(frozen=True)
class Shipped:
    """A trained classifier of the package.

    Attributes:
        network: the classifier, in eval mode.
        metadata: metadata of the weights file: test accuracy, recipe, versions and the command that trained it.
        sha256: hash of the weights file.
    """

    network: Classifier
    metadata: dict[str, str]
    sha256: str


def shipped() -> list[str]:
    """Names of the data sets that have a classifier."""
    return sorted(path.stem for path in WEIGHTS.glob("*.safetensors"))


def load(name: str) -> Shipped:
    """The classifier shipped for the data set ``name``, which :func:`shipped` lists."""
    path = WEIGHTS / f"{name}.safetensors"
    with safe_open(path, "pt") as file:
        metadata = file.metadata()
    spec = DataSpec([int(size) for size in metadata["shape"].split("x")], int(metadata["levels"]))
    network = Classifier(spec, int(metadata["features"]), int(metadata["classes"]))
    network.load_state_dict(load_file(path))
    return Shipped(network.eval(), metadata, hashlib.sha256(path.read_bytes()).hexdigest())
