"""Networks that map images to the features in which samples are compared with data.

An extractor is independent of the model under evaluation. It is in eval mode, computes no gradients, runs in full
float32 (no autocast, no TF32) on every machine, and is identified by the hash of its weights.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any, ClassVar, Self

import torch
from torch import Tensor, nn
from typing_extensions import override

from genmodels.metrics.classifier_files import file_of, read, shipped
from genmodels.metrics.inception_file import LAYERS, load_layers

if TYPE_CHECKING:
    from genmodels.data import DataModule


class UnsuitableError(Exception):
    """The extractor does not apply to the data; the message gives the reason as one sentence."""


class Extractor(ABC):
    """Maps raw data to features.

    Args:
        network: the network that computes the features.
        identity: its name and the first digits of the SHA-256 of its weights.
        protocol: its preprocessing, as plain types.

    Attributes:
        space: name of the feature space, part of the names of scores.
        dims: length d of a feature vector.
        identity: the identity given; part of the key of cached statistics.
        protocol: identity, d and preprocessing, as plain types.
        incidental: entries of the protocol in which comparable scores may differ.
        provenance: further such entries, of scores alone: cached statistics do not depend on them.
        label_smoothing: with which the classifier that it is the trunk of was trained, if any.
    """

    incidental: ClassVar[tuple[str, ...]] = ()
    label_smoothing: float = 0.0
    space: str
    dims: int
    identity: str
    protocol: dict[str, Any]
    provenance: Mapping[str, Any] = {}

    def __init__(self, network: nn.Module, identity: str, protocol: dict[str, Any]) -> None:
        self.network = network.eval()
        self.identity = identity
        self.protocol = {"extractor": self.identity, "dims": self.dims, **protocol}

    def label(self, statistic: str) -> str:
        """Name of a quantity in this feature space, such as ``fd_mnist`` for ``fd`` with MNIST's classifier."""
        return f"{statistic}_{self.space}"

    @property
    def device(self) -> torch.device:
        """The device of the network, which extractors of the same file share."""
        return next((weights.device for weights in self.network.parameters()), torch.device("cpu"))

    def to(self, device: torch.device) -> Self:
        """Move the network to a device."""
        self.network.to(device)
        return self

    def __call__(self, x: Tensor) -> Tensor:
        """Features ``[B, d]`` (float32) of raw data ``x [B, *shape]``, on the extractor's device."""
        x = x.to(self.device, non_blocking=True)
        precise = torch.backends.cudnn.flags(enabled=True, allow_tf32=False)
        with torch.no_grad(), torch.autocast(x.device.type, enabled=False), precise:
            return self.features(x).float()

    @property
    def head(self) -> nn.Module:
        """The output layer, from features ``[B, d]`` to class logits ``[B, classes]``.

        Raises:
            UnsuitableError: if the network has no classifier head.
        """
        raise UnsuitableError(f"{self.identity} has no classifier head, and therefore no class probabilities.")

    @abstractmethod
    def features(self, x: Tensor) -> Tensor:
        """Features ``[B, d]`` of raw data ``x [B, *shape]``; :meth:`__call__` sets the precision."""


ExtractorFactory = Callable[..., Extractor]
"""Builds the extractor for a data module, its one argument."""


def no_head_reason(extractor: Extractor) -> str | None:
    """The reason why the extractor gives no class probabilities; ``None`` if it does."""
    try:
        _ = extractor.head
    except UnsuitableError as reason:
        return str(reason)
    return None


class InDomainClassifier(Extractor):
    """Penultimate layer of the classifier trained on the data set itself: one of the package, or the user's own.

    Args:
        data: the data module, whose name and spec determine the weights.

    Raises:
        UnsuitableError: if there is no classifier for these data.
        UserError: if its file is damaged.
    """

    incidental = ("classifier_test_accuracy",)

    def __init__(self, data: DataModule) -> None:
        self.space = str(data.name)
        path = file_of(self.space, data.root)
        if not path.is_file():
            raise UnsuitableError(absent(data))
        found = read(path)
        if data.spec.without_labels != found.network.spec:
            raise UnsuitableError(
                f"the classifier of '{data.name}', {path}, is for {found.network.spec}, the data are {data.spec}."
            )
        self.classifier = found.network
        self.dims = found.network.head.in_features
        self.label_smoothing = found.label_smoothing
        protocol = {"resize": "none", "classifier_test_accuracy": found.test_accuracy}
        super().__init__(found.network, f"{data.name}-classifier@{found.sha256[:12]}", protocol)

    @override
    def features(self, x: Tensor) -> Tensor:
        return self.classifier.features(x)

    @property
    @override
    def head(self) -> nn.Module:
        return self.classifier.head


def absent(data: DataModule) -> str:
    """The reason why there is no classifier, and what to do."""
    missing = f"no classifier is shipped for the data set '{data.name}', only for {', '.join(shipped())}"
    if data.labels("test") is not None:
        train = f"genmodels extractor data.name={data.name}, with the other data options of the run"
        return f"{missing}, and there is no {file_of(str(data.name), data.root)}; train it by {train}."
    return f"{missing}; for images without labels use metrics=[fid]." if data.spec.is_image else f"{missing}."


class InceptionV3(Extractor):
    """The 2048 pool features of the Inception-v3 of 2015-12-05, the network of the official FID.

    Heusel et al. 2017, arXiv:1706.08500. Of the file, see :mod:`genmodels.metrics.inception_file`, only the layers are
    used; the preprocessing of the original graph is done here: TF1's bilinear resize to 299x299 and ``(x - 128) / 128``
    on 8-bit RGB. The identity is that of the layers, whichever file they come from.

    Args:
        data: the data module, integer images of 1 or 3 channels; those with fewer than 256 levels are rescaled to
            0..255.

    Raises:
        UnsuitableError: if the data are not such images.
        UserError: if the network's file is altered, or missing and cannot be downloaded.
    """

    space = "inception"
    dims = 2048

    def __init__(self, data: DataModule) -> None:
        levels = data.spec.levels
        if not data.spec.is_image or data.spec.shape[0] not in (1, 3) or levels is None:
            raise UnsuitableError(f"Inception takes gray or RGB images of integers; the data are {data.spec}.")
        self.scale = 255 / (levels - 1)
        protocol = {"resize": "TF1 bilinear to 299x299", "gray": "tiled to RGB", "levels_scaled_by": self.scale}
        layers, sha256 = load_layers(data.root)
        super().__init__(layers, f"inception-2015-12-05@{LAYERS[:12]}", protocol)
        self.provenance = {"extractor_file": sha256}

    def label(self, statistic: str) -> str:
        """``fid`` and ``kid`` for ``fd`` and ``kd``, else ``<statistic>_inception``."""
        return {"fd": "fid", "kd": "kid"}.get(statistic, f"{statistic}_inception")

    def features(self, x: Tensor) -> Tensor:
        """Features ``[B, 2048]`` of integers ``x [B, C, H, W]`` with C = 1 or 3."""
        pixels = (x.float() * self.scale).round().expand(-1, 3, -1, -1)
        features: Tensor = self.network((tf1_bilinear(pixels, 299) - 128) / 128)
        return features.flatten(1)


def tf1_bilinear(x: Tensor, size: int) -> Tensor:
    """Resize ``x [B, C, H, W]`` to ``[B, C, size, size]`` as TensorFlow 1's ``resize_bilinear`` did.

    Output pixel i interpolates at position ``i * H / size``: neither corners nor pixel centers are aligned, and
    shrinking does not antialias.
    """
    return _interpolate(_interpolate(x, size, -1), size, -2)


def _interpolate(x: Tensor, size: int, dim: int) -> Tensor:
    length = x.shape[dim]
    position = torch.arange(size, device=x.device, dtype=x.dtype) * (length / size)
    lower = position.long()
    upper = (lower + 1).clamp(max=length - 1)
    fraction = position - lower
    if dim == -2:
        fraction = fraction[:, None]
    left, right = x.index_select(dim, lower), x.index_select(dim, upper)
    return left + (right - left) * fraction
