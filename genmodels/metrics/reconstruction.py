"""What a code keeps of an example: the error of encoding and decoding it, beside that of principal components."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor
from typing_extensions import override

from genmodels import plots
from genmodels.core import DataSpec, Score
from genmodels.core.abilities import Encodes
from genmodels.core.processes import is_rank_zero
from genmodels.core.quantization import from_symmetric, to_symmetric
from genmodels.core.randomness import EVALUATION, stream
from genmodels.errors import ensure_counts, require
from genmodels.metrics.base import Evaluation, Subject, evenly_spaced, mean_and_error
from genmodels.metrics.processes import map_over_ranks

if TYPE_CHECKING:
    from genmodels.data import DataModule
    from genmodels.models.base import BaseModel

RECONSTRUCTION = 9  # stream of random numbers; other metrics use 1 to 8
AT_A_TIME = 5000  # training examples whose moments are summed at a time
SHOWN = 32  # images in the picture
MOST_DIMS = 4096  # of data whose principal components are computed


class ReconstructionEvaluation(Evaluation):
    """Scores ``reconstruction``: the mean squared error per dimension of test examples that were encoded and decoded.

    Integers are compared on [-1, 1], as the levels to which ``decode`` rounds. The yardstick ``pca`` is the same error
    of the projection onto the first principal components of training data, as many as the code has dimensions, rounded
    alike. It is the best that an affine encoder and decoder could do on the training data. There is none for codes as
    large as the data, such as those of flows, which keep everything, nor beyond 4096 dimensions.

    Args:
        max_examples: limit on the number of test examples, or ``None``.

    Raises:
        ValueError: if the limit is less than 1.
    """

    def __init__(self, max_examples: int | None = None) -> None:
        ensure_counts(optional=True, max_examples=max_examples)
        self.max_examples = max_examples

    @override
    def unsupported_reason(self, model: BaseModel, data: DataModule) -> str | None:
        if isinstance(model, Encodes):
            return None
        return f"{type(model).__name__} does not encode data, so that nothing can be reconstructed."

    @override
    def measure(self, subject: Subject) -> list[Score]:
        spec, test = subject.model.spec, subject.data.split("test")
        x = evenly_spaced(test, self.max_examples or len(test))
        errors, size = self.reconstruct(x, subject)
        value, se = mean_and_error(errors)
        require(math.isfinite(value), f"the mean error of {len(x)} reconstructions is {value}: the model has diverged.")
        self.draw(x, subject)
        scale = "integers on [-1, 1]" if spec.is_discrete else "the data's own"
        protocol: dict[str, Any] = {"split": "test", "of": len(test), "scale": scale, "code_dims": size}
        if size < spec.dims <= MOST_DIMS:
            components = principal_components(subject.data.split("train"), spec)
            protocol["pca"] = float(squared_errors(x, components.reconstruct(x, size), spec).mean())
        declared: dict[str, Any] = {"incidental": ("code_dims",), "baselines": {"pca": f"PCA({size})"}}
        return [Score("reconstruction", value, "", len(x), se, protocol=protocol, **declared)]

    def draw(self, x: Tensor, subject: Subject) -> None:
        """Keep the picture of the first of ``x [N, *shape]``, if they are images."""
        model = subject.model
        assert isinstance(model, Encodes)  # see unsupported_reason
        if model.spec.is_image and is_rank_zero():
            shown = x[:SHOWN].to(model.device)
            with stream(subject.seed, EVALUATION, RECONSTRUCTION, 0, device=model.device):
                y = model.decode(model.encode(shown))
            subject.keep_picture("reconstructions", plots.pairs(shown, y, model.spec))

    def reconstruct(self, x: Tensor, subject: Subject) -> tuple[Tensor, int]:
        """Errors ``[N]`` of raw data ``x [N, *shape]``, float64 on the CPU, and the dimension of a code."""
        model, batches = subject.model, x.split(subject.data.eval_batch_size)
        assert isinstance(model, Encodes)  # see unsupported_reason

        def work(i: int) -> tuple[Tensor, int]:
            batch = batches[i].to(model.device)
            with stream(subject.seed, EVALUATION, RECONSTRUCTION, i, device=model.device):
                z = model.encode(batch)
                return squared_errors(batch, model.decode(z), model.spec).cpu(), z[0].numel()

        errors, sizes = zip(*map_over_ranks(work, len(batches), "reconstruction"), strict=True)
        return torch.cat(errors), sizes[0]


def squared_errors(x: Tensor, y: Tensor, spec: DataSpec) -> Tensor:
    """``||x - y||² / D [B]`` in float64 of raw data ``x, y [B, *shape]``, integers on [-1, 1].

    >>> squared_errors(torch.tensor([[0, 2]]), torch.tensor([[0, 0]]), DataSpec((2,), 3))
    tensor([2.], dtype=torch.float64)
    """
    difference = to_symmetric(x, spec).double() - to_symmetric(y, spec).double()
    return difference.square().flatten(1).mean(1)


@dataclass(frozen=True)
class PrincipalComponents:
    """Eigenvectors of a covariance (Pearson 1901, https://doi.org/10.1080/14786440109462720).

    Attributes:
        spec: shape and levels of the data.
        mean: ``[D]``, float64, of integers on [-1, 1].
        variances: eigenvalues ``[D]``, the largest first.
        axes: their eigenvectors ``[D, D]``, as columns.
    """

    spec: DataSpec
    mean: Tensor
    variances: Tensor
    axes: Tensor

    def reconstruct(self, x: Tensor, k: int) -> Tensor:
        """Raw data ``[B, *shape]``: the projections of ``x [B, *shape]`` onto the first ``k`` axes, rounded."""
        centered = to_symmetric(x, self.spec).flatten(1).double() - self.mean
        axes = self.axes[:, :k]
        return from_symmetric((self.mean + centered @ axes @ axes.T).view(x.shape), self.spec)


def principal_components(x: Tensor, spec: DataSpec) -> PrincipalComponents:
    """Principal components of raw data ``x [N, *shape]``, with the covariance of maximum likelihood, in float64."""
    mean = torch.stack([to_symmetric(part, spec).flatten(1).double().sum(0) for part in x.split(AT_A_TIME)]).sum(0)
    mean /= len(x)
    covariance = torch.zeros(spec.dims, spec.dims, dtype=torch.float64)
    for part in x.split(AT_A_TIME):
        centered = to_symmetric(part, spec).flatten(1).double() - mean
        covariance += centered.T @ centered / len(x)
    variances, axes = torch.linalg.eigh(covariance)
    return PrincipalComponents(spec, mean, variances.flip(0).clamp(min=0), axes.flip(1))
