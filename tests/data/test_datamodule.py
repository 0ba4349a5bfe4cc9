import inspect
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch
from hydra.utils import instantiate

from genmodels.builder import build
from genmodels.core import DataSpec
from genmodels.data import DataModule, data_root
from genmodels.data.sources import Arrays
from genmodels.errors import UserError
from genmodels.launch import compose, options

DIGITS = ["digits", "binary_digits"]
DRAWN = ["gaussian", "mixture", "checkerboard", "moons", "swiss_roll", "heartbeat", "bars"]


class Images:
    """Hundred images whose pixels hold their number; counts how often it is read."""

    def __init__(self, val=False):
        self.val, self.reads = val, 0

    def load(self, root):
        self.reads += 1
        x = torch.arange(100, dtype=torch.uint8).view(100, 1, 1, 1).repeat(1, 1, 2, 3)
        return Arrays(x, x[:7], torch.arange(100), torch.arange(7), val=x[:5] if self.val else None)


def datamodule(**options):
    defaults = {"spec": DataSpec((1, 2, 3), 256), "source": Images(), "batch_size": 8, "val_size": 0.2}
    return DataModule("images", **(defaults | options))


def numbers(x):
    return x[:, 0, 0, 0].tolist()


def config(name, *overrides):
    return compose([f"data={name}", "seed=3", *overrides])


@pytest.mark.parametrize("name", options("data"))
def test_yaml_is_the_constructors_signature(name):
    cfg = config(name)
    assert set(cfg.data) - {"_target_"} == set(inspect.signature(DataModule).parameters)
    assert cfg.data.name == name and cfg.data.seed == 3 and cfg.default_budget.max_batches > 0
    if name in ("image_folder", "npz"):
        cfg.data.source.path = "given"
    assert instantiate(cfg.data).spec.shape == tuple(cfg.data.spec.shape)


@pytest.mark.parametrize("name", [*DIGITS, *DRAWN])
def test_data_sets_without_files_load(name):
    small = [] if name in DIGITS else ["data.source.train_size=1000", "data.source.test_size=600"]
    data = instantiate(config(name, *small).data)
    for loader in (data.train_dataloader(), data.val_dataloader(), data.test_dataloader()):
        data.spec.check(next(iter(loader)))


def test_validation_is_carved_from_training_by_seed_and_test_stays_apart():
    data, again, other = datamodule(), datamodule(), datamodule(seed=1)
    train, val = (numbers(data.split(name)) for name in ("train", "val"))
    assert sorted(train + val) == list(range(100)) and len(val) == 20
    assert val == numbers(again.split("val")) != numbers(other.split("val"))
    assert numbers(data.split("test")) == list(range(7))
    assert data.labels("val").tolist() == val and data.labels("train").tolist() == train
    assert data.source.reads == 1


def test_official_validation_is_kept():
    data = datamodule(source=Images(val=True))
    assert numbers(data.split("val")) == list(range(5)) and len(data.split("train")) == 100
    assert data.labels("val") is None


def test_loaders_shuffle_and_flip_training_alone():
    data = datamodule(flip=True)
    train, val, test = data.train_dataloader(), data.val_dataloader(), data.test_dataloader()
    assert (train.shuffle, train.flip) == (True, True)
    assert (val.shuffle, val.flip, test.shuffle, test.flip) == (False,) * 4
    assert numbers(torch.cat(list(val))) == numbers(data.split("val"))
    assert [len(batch) for batch in train] == [8] * 10


def test_peek_is_a_fixed_sample_of_training():
    data = datamodule()
    first = data.first_train(30)
    next(iter(data.train_dataloader()))
    assert torch.equal(first, data.first_train(30)) and torch.equal(first, data.split("train")[:30])
    assert len(data.first_train(1000)) == 80


def test_whole_set_is_moved_to_the_device_once():
    data = datamodule(on_device=True)
    strategy = SimpleNamespace(root_device=torch.device("meta"))
    data.trainer = SimpleNamespace(strategy=strategy, global_rank=0, world_size=1, overfit_batches=0)
    train, val = data.train_dataloader(), data.val_dataloader()
    assert train.x is val.x and train.x.device.type == "meta"
    assert next(iter(train)).device.type == "meta"
    assert data.first_train(2).device.type == "cpu"


@pytest.mark.parametrize(
    ("options", "sentence"),
    [
        ({"batch_size": 0}, "batch_size must be an integer from 1"),
        ({"seed": None}, "seed must be an integer"),
        ({"val_size": 1_000_000}, "data.val_size=1000000 would hold out 1000000 of 100 examples: set .* from 1 to 99"),
        ({"flip": True, "spec": DataSpec((6,), 256)}, "mirrors images"),
        ({"spec": DataSpec((1, 3, 3), 256)}, "data.spec.shape is"),
        ({"spec": DataSpec((1, 2, 3), 17)}, "data.spec.levels is 17"),
        ({"spec": DataSpec((1, 2, 3))}, "data.spec.levels is None, which means floats"),
    ],
)
def test_bad_input_is_one_sentence(options, sentence):
    with pytest.raises((UserError, ValueError), match=sentence):
        datamodule(**options).setup()


def test_unknown_split_names_the_nearest():
    with pytest.raises(UserError, match="did you mean 'train'"):
        datamodule().split("trian")


def test_root_is_the_argument_then_the_environment(monkeypatch, tmp_path):
    monkeypatch.setenv("GENMODELS_DATA", str(tmp_path))
    assert data_root() == tmp_path and data_root("/elsewhere") == Path("/elsewhere")
    monkeypatch.delenv("GENMODELS_DATA")
    assert data_root().name == "genmodels"


def test_labels_reach_batches_of_every_split_if_asked_for():
    """The labels of these images are their numbers."""
    spec = DataSpec((1, 2, 3), 256, classes=100)
    data = datamodule(spec=spec, labels=True, classes=100)
    for loader in (data.train_dataloader(), data.val_dataloader(), data.test_dataloader()):
        for x, y in loader:
            assert numbers(x) == y.tolist() and y.dtype == torch.int64
    for split in ("train", "val", "test"):
        assert data.given_labels(split, 5).tolist() == numbers(data.split(split, 5))
    plain = datamodule(classes=100)
    assert isinstance(next(iter(plain.train_dataloader())), torch.Tensor) and plain.given_labels("test") is None


@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        (["data=moons", "data.labels=true"], "data.labels=true needs data with classes, and moons has none"),
        (["data=moons", "data.labels=true", "data.classes=3"], "the train examples of moons have no labels"),
        (["data=digits", "data.labels=true", "data.classes=9"], "digits has labels from 0 to 9"),
        (["data=digits", "data.spec.classes=10"], "data.labels=false does not fit spec.classes=10"),
    ],
)
def test_data_without_these_labels_are_refused_in_a_sentence(words, sentence):
    with pytest.raises(UserError, match=sentence):
        build(compose(words).data, "data", DataModule).setup()


def test_official_validation_examples_need_labels_too():
    data = datamodule(source=Images(val=True), spec=DataSpec((1, 2, 3), 256, classes=100), labels=True, classes=100)
    with pytest.raises(UserError, match="the val examples of images have no labels"):
        data.setup()
