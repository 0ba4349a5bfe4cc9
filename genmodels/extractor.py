"""A classifier of a user's own data, in whose features ``fd`` and other metrics compare samples with these data."""

from __future__ import annotations

import os
from pathlib import Path

from omegaconf import DictConfig

from genmodels.builder import build
from genmodels.console import tell
from genmodels.data import DataModule
from genmodels.errors import require
from genmodels.files import sha256
from genmodels.metrics.classifier_files import file_of, shipped
from genmodels.metrics.train_classifier import examples, recipe_for, train_to_file
from genmodels.runs.threads import set_threads

KINDS = ("image_folder", "npz")  # names that say how data are stored, but not what they are


def train_extractor(config: DictConfig, command: str, epochs: int | None, features: int | None) -> Path:
    """Train a classifier on the labels of the data, and keep it below the data root, where metrics find it.

    Args:
        config: a config of training, of which data and seed are used.
        command: the command that repeats this, for the metadata.
        epochs: passes over the training data; by default as many as suit their number.
        features: width of the features; by default as suits the number of test examples.

    Returns:
        The file, which is written at the end, whole.

    Raises:
        UserError: if the data have no labels or no name of their own, or have a classifier already.
    """
    set_threads(None)
    data = build(config.data, "data", DataModule)
    name = str(data.name)
    path = file_of(name, data.root)
    check_place(name, path)
    _, labels = examples(data, "train", "val")
    recipe = recipe_for(data, epochs, features)
    tell(f"{len(labels)} examples of {int(labels.max()) + 1} classes, {recipe.epochs} epochs, {recipe.network} network")
    correct = train_to_file(data, recipe, config.seed, path, command)
    tell(f"accuracy {correct:.4f} on {len(data.split('test'))} test examples, SHA-256 {sha256(path)}", str(path))
    return path


def check_place(name: str, path: Path) -> None:
    """Check that a classifier of the data set ``name`` can be kept in ``path``, before it is trained.

    Raises:
        UserError: if it has a classifier already, or no name, or the folder cannot be written.
    """
    require(
        name not in shipped(), f"the package has a classifier of '{name}'; give your own data a name: data.name=..."
    )
    require(name not in KINDS, f"'{name}' says how the data are stored; name them: data.name=...")
    again = "remove it to train another one, with whose scores those so far do not compare"
    require(not path.exists(), f"{path} exists already; {again}.")
    there = next(folder for folder in path.parents if folder.exists())
    writable = there.is_dir() and os.access(there, os.W_OK)
    require(writable, f"{there} cannot be written; set data.root or GENMODELS_DATA to another folder.")
