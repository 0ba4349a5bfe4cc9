"""Training of the classifiers for in-domain features: ``python -m genmodels.metrics.train_classifier mnist``.

The script requires a checkout: it reads ``conf/data/<data set>.yaml`` and writes
``genmodels/metrics/weights/<data set>.safetensors``, with test accuracy, recipe, version of torch and the command as
metadata. All training examples are used, including those that a run holds out for validation. Random affine distortions
keep the features smooth in the neighborhood of the data.
"""

from __future__ import annotations

import argparse
from dataclasses import dataclass
from pathlib import Path

import torch
import torch.nn.functional as F
from hydra import compose, initialize_config_dir
from hydra.utils import instantiate
from safetensors.torch import save_file
from torch import Tensor

from genmodels.core import DataSpec
from genmodels.data import DataModule
from genmodels.metrics.classifier import LABEL_SMOOTHING, WEIGHTS, Classifier
from genmodels.metrics.processes import track

CONF = Path(__file__).parents[2] / "conf"


@dataclass(frozen=True)
class Recipe:
    """Hyperparameters of a classifier: width of its features, and its training."""

    features: int
    epochs: int
    batch_size: int


RECIPES = {
    "digits": Recipe(features=64, epochs=100, batch_size=64),
    "mnist": Recipe(features=128, epochs=6, batch_size=128),
    "fashion_mnist": Recipe(features=128, epochs=8, batch_size=128),
}


def distorted(x: Tensor, angle: float = 0.15, zoom: float = 0.15, shear: float = 0.15, shift: float = 0.12) -> Tensor:
    """Images ``x [B, C, H, W]`` under independent random affine maps, padded with zeros; float32, shaped as ``x``.

    Args:
        x: raw images.
        angle: largest rotation, in radians.
        zoom: largest change of scale, as a fraction of one.
        shear: largest shear.
        shift: largest translation, in units of half the side of the image.
    """
    matrix = torch.eye(2, 3).repeat(len(x), 1, 1)
    turn, bend = ((torch.rand(len(x)) * 2 - 1) * bound for bound in (angle, shear))
    matrix[:, 0, 1], matrix[:, 1, 0] = bend - turn, turn
    matrix[:, [0, 1], [0, 1]] += (torch.rand(len(x), 2) * 2 - 1) * zoom
    matrix[:, :, 2] = (torch.rand(len(x), 2) * 2 - 1) * shift
    grid = F.affine_grid(matrix, list(x.shape), align_corners=False)
    return F.grid_sample(x.float(), grid, align_corners=False)


def train(spec: DataSpec, recipe: Recipe, x: Tensor, labels: Tensor) -> Classifier:
    """A classifier trained on ``x [N, *shape]`` with ``labels [N]`` by AdamW and a one-cycle schedule; in eval mode."""
    network = Classifier(spec, recipe.features, int(labels.max()) + 1)
    steps = recipe.epochs * len(x) // recipe.batch_size
    optimizer = torch.optim.AdamW(network.parameters(), weight_decay=0.01)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, max_lr=3e-3, total_steps=steps)
    for _ in track(range(steps), steps, "training"):
        batch = torch.randint(len(x), (recipe.batch_size,))
        optimizer.zero_grad()
        F.cross_entropy(network(distorted(x[batch])), labels[batch], label_smoothing=LABEL_SMOOTHING).backward()
        optimizer.step()
        schedule.step()
    return network.eval()


@torch.no_grad()
def accuracy(network: Classifier, x: Tensor, labels: Tensor) -> float:
    """Fraction of ``x [N, *shape]`` that ``network`` classifies as ``labels [N]``."""
    hits = [network(a).argmax(1) == b for a, b in zip(x.split(500), labels.split(500), strict=True)]
    return torch.cat(hits).double().mean().item()


def read(name: str, root: Path | None) -> DataModule:
    """The data module of ``conf/data/<name>.yaml``, with data in the folder ``root`` or the default one."""
    with initialize_config_dir(str(CONF), version_base="1.3"):
        config = compose("train", [f"data={name}", f"data.root={'null' if root is None else root}"])
    data: DataModule = instantiate(config.data)
    return data


def examples(data: DataModule, *splits: str) -> tuple[Tensor, Tensor]:
    """Raw data ``[N, *shape]`` and labels ``[N]`` of ``splits``, concatenated."""
    labels = [found for split in splits if (found := data.labels(split)) is not None]
    return torch.cat([data.split(split) for split in splits]), torch.cat(labels)


def main() -> None:
    """Train, test and save one classifier."""
    parser = argparse.ArgumentParser(description="Train the classifier of a data set for in-domain features.")
    parser.add_argument("name", choices=sorted(RECIPES))
    parser.add_argument("--root", type=Path, help="folder of the data sets; by default that of the runs")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--output", type=Path, default=WEIGHTS, help="folder of the weights")
    options = parser.parse_args()

    data = read(options.name, options.root)
    torch.manual_seed(options.seed)
    network = train(data.spec, RECIPES[options.name], *examples(data, "train", "val"))
    correct = accuracy(network, *examples(data, "test"))
    metadata = {
        "test_accuracy": f"{correct:.6f}",
        "shape": "x".join(map(str, data.spec.shape)),
        "levels": str(data.spec.levels),
        "features": str(network.head.in_features),
        "classes": str(network.head.out_features),
        "command": f"python -m genmodels.metrics.train_classifier {options.name} --seed {options.seed}",
        "recipe": str(RECIPES[options.name]),
        "torch": torch.__version__,
    }
    options.output.mkdir(parents=True, exist_ok=True)
    save_file(network.state_dict(), options.output / f"{options.name}.safetensors", metadata)
    print(f"{options.name}: test accuracy {correct:.4f}")


if __name__ == "__main__":
    main()
