"""Files of trained classifiers: those of the package, and a user's own under the data root."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from pathlib import Path

from safetensors import SafetensorError, safe_open
from safetensors.torch import load, save

from genmodels.core import DataSpec
from genmodels.errors import UserError
from genmodels.files import atomic, read_once
from genmodels.metrics.classifier import TRUNKS, Classifier

WEIGHTS = Path(__file__).parent / "weights"
OWN = "extractors"  # folder under the data root
SUFFIX = ".safetensors"
LABEL_SMOOTHING, TRUNK = 0.1, "convolutional"  # of the files whose metadata do not say


@dataclass(frozen=True)
class Trained:
    """A trained classifier.

    Attributes:
        network: the classifier, in eval mode.
        metadata: metadata of its file: test accuracy, recipe, versions and the command that trained it.
        sha256: hash of the file.
    """

    network: Classifier
    metadata: dict[str, str]
    sha256: str

    @property
    def label_smoothing(self) -> float:
        """With which it was trained."""
        return float(self.metadata.get("label_smoothing", LABEL_SMOOTHING))

    @property
    def test_accuracy(self) -> float:
        """Fraction of the test examples that it classifies correctly."""
        return float(self.metadata["test_accuracy"])


def shipped() -> list[str]:
    """Names of the data sets whose classifier is part of the package."""
    return sorted(path.stem for path in WEIGHTS.glob(f"*{SUFFIX}"))


def file_of(name: str, root: Path) -> Path:
    """Where the classifier of the data set ``name`` is: in the package, or else below the data root."""
    return (WEIGHTS if name in shipped() else root / OWN) / f"{name}{SUFFIX}"


@read_once
def read(path: Path) -> Trained:
    """The classifier in a file.

    Raises:
        UserError: if it cannot be read.
    """
    try:
        content = path.read_bytes()
        with safe_open(path, "pt") as file:
            metadata = file.metadata()
        spec = DataSpec([int(size) for size in metadata["shape"].split("x")], levels(metadata["levels"]))
        features = int(metadata["features"])
        trunk = TRUNKS[metadata.get("network", TRUNK)](spec, features)
        network = Classifier(spec, trunk, features, int(metadata["classes"]))
        network.load_state_dict(load(content))
        found = Trained(network.eval(), metadata, hashlib.sha256(content).hexdigest())
        _ = found.test_accuracy, found.label_smoothing
    except (OSError, SafetensorError, KeyError, ValueError, TypeError, RuntimeError) as error:
        reason = " ".join(str(error).split())[:160]
        raise UserError(
            f"{path} cannot be read as a classifier ({reason}); remove it, and train another one."
        ) from error
    return found


def write(network: Classifier, path: Path, metadata: dict[str, str]) -> None:
    """Write a classifier to a file, whole or not at all; shape, levels, features and classes are added as metadata.

    Raises:
        OSError: if the folder cannot be written.
    """
    described = {
        "shape": "x".join(map(str, network.spec.shape)),
        "levels": str(network.spec.levels),
        "features": str(network.head.in_features),
        "classes": str(network.head.out_features),
    }
    path.parent.mkdir(parents=True, exist_ok=True)
    tensors = {name: tensor.cpu().contiguous() for name, tensor in network.state_dict().items()}
    with atomic(path) as part:
        part.write_bytes(save(tensors, metadata | described))  # with the permissions of any new file


def levels(text: str) -> int | None:
    """The levels of a :class:`DataSpec` that metadata hold as text."""
    return None if text == "None" else int(text)
