"""Training of the classifiers for in-domain features.

``genmodels extractor`` trains that of a user's own data. Those of the package are trained from a checkout, by
``python -m genmodels.metrics.train_classifier mnist``, which reads ``conf/data/<data set>.yaml`` and writes
``genmodels/metrics/weights/<data set>.safetensors``. The file's metadata are test accuracy, recipe, version of torch
and the command. All training examples are used, including those that a run holds out for validation. Random distortions
keep the features smooth in the neighborhood of the data.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable
from contextlib import nullcontext
from dataclasses import dataclass
from pathlib import Path

import torch
import torch.nn.functional as F
from hydra import compose, initialize_config_dir
from hydra.utils import instantiate
from torch import Tensor

from genmodels.core import DataSpec
from genmodels.data import DataModule
from genmodels.errors import require
from genmodels.hardware import bf16_unit, device_for
from genmodels.metrics.classifier import TRUNKS, Classifier
from genmodels.metrics.classifier_files import LABEL_SMOOTHING, SUFFIX, WEIGHTS, write
from genmodels.metrics.processes import track

CONF = Path(__file__).parents[2] / "conf"
MANY = 2000  # test examples from which on more features are affordable
LARGE = 5000  # training examples from which on batches are larger
FEWEST = 10  # steps of training


@dataclass(frozen=True)
class Recipe:
    """Hyperparameters of a classifier: width of its features, network and training.

    Attributes:
        features: width of the features.
        epochs: passes over the training data.
        batch_size: examples per batch.
        network: one of :data:`genmodels.metrics.classifier.TRUNKS`.
        distortion: one of :data:`DISTORTIONS`.
        weight_decay: of AdamW.
    """

    features: int
    epochs: int
    batch_size: int
    network: str = "convolutional"
    distortion: str = "affine"
    weight_decay: float = 0.01


RECIPES = {
    "digits": Recipe(features=64, epochs=100, batch_size=64),
    "mnist": Recipe(features=128, epochs=6, batch_size=128),
    "fashion_mnist": Recipe(features=128, epochs=8, batch_size=128),
    "cifar10": Recipe(192, epochs=24, batch_size=128, network="residual", distortion="mirrored", weight_decay=0.1),
}


def recipe_for(data: DataModule, epochs: int | None = None, features: int | None = None) -> Recipe:
    """The recipe for a user's data: half a million examples, in 10 to 100 epochs; fewer features for few test data."""
    n = len(data.train_and_val())
    width = features or (192 if len(data.split("test")) >= MANY else 64)
    training = (epochs or min(100, max(10, 500_000 // n)), 128 if n >= LARGE else 64)
    if not data.spec.is_image:
        return Recipe(width, *training, "perceptron", "none", 0.1)
    return Recipe(width, *training, "residual", "mirrored" if data.flip else "shifted", 0.1)


def affine(x: Tensor, angle: float = 0.15, zoom: float = 0.15, shear: float = 0.15, shift: float = 0.12) -> Tensor:
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


def shifted(x: Tensor) -> Tensor:
    """Images ``x [B, C, H, W]`` moved by up to an eighth of their sides, continued by reflection; float32."""
    height, width = x.shape[2:]
    up, left = height // 8, width // 8
    padded = F.pad(x.float(), (left, left, up, up), mode="reflect").permute(0, 2, 3, 1)  # [B, H', W', C]
    rows = torch.randint(2 * up + 1, (len(x), 1)) + torch.arange(height)
    columns = torch.randint(2 * left + 1, (len(x), 1)) + torch.arange(width)
    each = torch.arange(len(x))[:, None, None]
    return padded[each, rows[:, :, None], columns[:, None, :]].permute(0, 3, 1, 2)


def mirrored(x: Tensor) -> Tensor:
    """Images ``x [B, C, H, W]`` moved as by :func:`shifted`, of which half are mirrored; float32."""
    flip = torch.rand(len(x), 1, 1, 1) < 0.5
    moved = shifted(x)
    return torch.where(flip, moved.flip(3), moved)


DISTORTIONS: dict[str, Callable[[Tensor], Tensor]] = {
    "affine": affine,
    "shifted": shifted,
    "mirrored": mirrored,
    "none": Tensor.float,
}
"""Random distortions of training data by name."""


def train(spec: DataSpec, recipe: Recipe, x: Tensor, labels: Tensor) -> Classifier:
    """A classifier trained on ``x [N, *shape]`` with ``labels [N]`` by AdamW and a one-cycle schedule; in eval mode.

    It is trained on a GPU if there is one. Networks other than the ``convolutional`` are trained in bfloat16 where the
    device computes it.
    """
    trunk = TRUNKS[recipe.network](spec, recipe.features)
    network = Classifier(spec, trunk, recipe.features, int(labels.max()) + 1)
    device, wide = device_for("auto"), recipe.network != "convolutional"
    network.to(device)
    distort, steps = DISTORTIONS[recipe.distortion], max(FEWEST, recipe.epochs * len(x) // recipe.batch_size)
    optimizer = torch.optim.AdamW(network.parameters(), weight_decay=recipe.weight_decay)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, max_lr=3e-3, total_steps=steps)
    low = wide and bf16_unit(device) is not None
    if wide and spec.is_image:
        network.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
    for _ in track(range(steps), steps, "training"):
        batch = torch.randint(len(x), (recipe.batch_size,))
        optimizer.zero_grad()
        with torch.autocast(device.type, torch.bfloat16) if low else nullcontext():
            logits = network(distort(x[batch]).to(device))
        F.cross_entropy(logits.float(), labels[batch].to(device), label_smoothing=LABEL_SMOOTHING).backward()
        optimizer.step()
        schedule.step()
    return network.cpu().eval()


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
    """Raw data ``[N, *shape]`` and labels ``[N]`` of ``splits``, concatenated.

    Raises:
        UserError: if a split has no labels.
    """
    labels = [found for split in splits if (found := data.labels(split)) is not None]
    require(
        len(labels) == len(splits),
        f"the data set '{data.name}' has no labels, from which a classifier could learn: images need a folder for each "
        "class, an archive arrays train_labels and test_labels, or y.",
    )
    return torch.cat([data.split(split) for split in splits]), torch.cat(labels)


def train_to_file(data: DataModule, recipe: Recipe, seed: int, path: Path, command: str) -> float:
    """Train and test a classifier, write it to ``path``, and return its accuracy on the test split.

    Raises:
        UserError: if the data have no labels, or a single class.
    """
    x, labels = examples(data, "train", "val")
    held_out = examples(data, "test")
    require(int(labels.max()) > 0, f"the data set '{data.name}' has a single class; a classifier needs two or more.")
    torch.manual_seed(seed)
    network = train(data.spec, recipe, x, labels)
    correct = accuracy(network, *held_out)
    metadata = {
        "test_accuracy": f"{correct:.6f}",
        "test_n": str(len(held_out[0])),
        "network": recipe.network,
        "label_smoothing": str(LABEL_SMOOTHING),
        "command": command,
        "recipe": str(recipe),
        "data": str(data.name),
        "data_sha256": data.sha256,
        "torch": torch.__version__,
    }
    write(network, path, metadata)
    return correct


def main() -> None:
    """Train, test and save one classifier of the package."""
    parser = argparse.ArgumentParser(description="Train the classifier of a data set for in-domain features.")
    parser.add_argument("name", choices=sorted(RECIPES))
    parser.add_argument("--root", type=Path, help="folder of the data sets; by default that of the runs")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--output", type=Path, default=WEIGHTS, help="folder of the weights")
    options = parser.parse_args()

    data, name = read(options.name, options.root), options.name
    command = f"python -m genmodels.metrics.train_classifier {name} --seed {options.seed}"
    correct = train_to_file(data, RECIPES[name], options.seed, options.output / f"{name}{SUFFIX}", command)
    print(f"{name}: test accuracy {correct:.4f}")


if __name__ == "__main__":
    main()
