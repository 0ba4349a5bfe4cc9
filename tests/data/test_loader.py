from contextlib import suppress

import pytest
import torch
from lightning import LightningModule, Trainer
from lightning.pytorch.callbacks import Callback

from genmodels.core import DataSpec
from genmodels.data import BatchLoader, DataModule
from genmodels.data.sources import Arrays
from genmodels.errors import UserError


def seen(loader):
    return torch.cat(list(loader)).tolist()


def test_every_epoch_has_an_order_of_its_own_that_seed_and_epoch_decide():
    first, again, other = (BatchLoader(torch.arange(64), 8, shuffle=True, seed=seed) for seed in (3, 3, 4))
    epochs = [seen(first) for _ in range(3)]
    assert epochs == [seen(again) for _ in range(3)]
    assert len({tuple(order) for order in [*epochs, seen(other)]}) == 4
    assert all(sorted(order) == list(range(64)) for order in epochs)


def test_a_pass_broken_off_is_followed_by_the_next_epoch():
    loader, whole = (BatchLoader(torch.arange(64), 8, shuffle=True) for _ in range(2))
    next(iter(loader))
    seen(whole)
    assert seen(loader) == seen(whole)


def test_a_pass_begins_where_the_state_says():
    loader, other = (BatchLoader(torch.arange(64), 8, shuffle=True) for _ in range(2))
    drawn = iter(loader)
    next(drawn), next(drawn)
    other.load_state_dict(loader.state_dict())
    assert seen(other) == torch.cat(list(drawn)).tolist() and len(other) == 8


def test_batches_of_whole_data_in_order_are_views():
    x = torch.arange(10)
    batch = next(iter(BatchLoader(x, 4)))
    assert batch.untyped_storage().data_ptr() == x.untyped_storage().data_ptr()


def test_index_selects_rows():
    loader = BatchLoader(10 * torch.arange(10), 2, index=torch.tensor([7, 1, 4]), shuffle=True)
    assert sorted(seen(loader)) == [10, 40, 70]


@pytest.mark.parametrize("n", [4, 7, 9, 12, 13, 16, 17])
@pytest.mark.parametrize("world", [1, 2, 3, 4])
def test_evaluation_sees_each_example_once_in_equally_many_batches(n, world):
    shards = [list(BatchLoader(torch.arange(n), 4, rank=rank, world=world)) for rank in range(world)]
    sizes = [sum(len(batch) for batch in shard) for shard in shards]
    assert sorted(torch.cat([batch for shard in shards for batch in shard]).tolist()) == list(range(n))
    assert max(sizes) - min(sizes) <= 1
    assert len({len(shard) for shard in shards}) == 1
    assert all(0 < len(batch) <= 4 for shard in shards for batch in shard)


def test_training_batches_do_not_depend_on_how_many_processes_share_them():
    def global_batches(batch_size, world):
        shards = [
            BatchLoader(torch.arange(50), batch_size, shuffle=True, drop_last=True, rank=rank, world=world)
            for rank in range(world)
        ]
        return [torch.cat(batches).tolist() for batches in zip(*shards, strict=True)]

    assert global_batches(12, 1) == global_batches(4, 3) == global_batches(6, 2)
    assert [len(batch) for batch in global_batches(12, 1)] == [12] * 4


def test_a_set_smaller_than_a_batch_is_one_batch():
    assert [len(batch) for batch in BatchLoader(torch.arange(5), 8, drop_last=True)] == [5]


def test_more_processes_than_examples_is_an_error():
    with pytest.raises(UserError, match="fewer devices"):
        BatchLoader(torch.arange(2), 8, world=3)


def test_flips_are_of_single_images_and_repeat_with_the_seed():
    x = torch.arange(64 * 6).view(64, 1, 2, 3)

    def epoch(seed):
        return torch.cat(list(BatchLoader(x, 16, flip=True, seed=seed)))

    flipped = epoch(0)
    kept, turned = (flipped == x).all((1, 2, 3)), (flipped == x.flip(-1)).all((1, 2, 3))
    assert (kept ^ turned).all() and 16 < turned.sum() < 48
    assert torch.equal(flipped, epoch(0)) and not torch.equal(flipped, epoch(1))


class Counting:
    """Forty-eight training vectors, each holding its own number."""

    def load(self, root):
        x = torch.arange(60.0)[:, None].expand(60, 2)
        return Arrays(train=x, test=x[:10])


class Recorder(LightningModule):
    """Notes which examples it was trained on; ``breaks`` is the step that raises."""

    def __init__(self, breaks=-1):
        super().__init__()
        self.weight = torch.nn.Parameter(torch.zeros(1))
        self.seen, self.breaks = [], breaks

    def training_step(self, x, batch_idx):
        if len(self.seen) == self.breaks:
            raise ZeroDivisionError
        self.seen.append(x[:, 0].tolist())
        return (self.weight * x).mean()

    def validation_step(self, x, batch_idx):
        pass

    def configure_optimizers(self):
        return torch.optim.SGD(self.parameters(), 0.1)


class SaveAt(Callback):
    """Saves in hook ``hook`` after ``n`` steps."""

    def __init__(self, hook, n, path):
        def save(trainer, model, *_):
            if len(model.seen) == n and not path.exists():
                trainer.save_checkpoint(path)

        setattr(self, hook, save)


def fit(model, *callbacks, resume=None):
    data = DataModule("counting", DataSpec((2,)), Counting(), batch_size=8, val_size=12)
    off = dict.fromkeys(
        ("logger", "enable_progress_bar", "enable_model_summary", "enable_checkpointing", "num_sanity_val_steps"), False
    )
    trainer = Trainer(max_epochs=3, accelerator="cpu", callbacks=list(callbacks), val_check_interval=2, **off)
    trainer.fit(model, data, ckpt_path=resume, weights_only=True)
    return model.seen


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize(
    ("hook", "n"),
    [
        ("on_train_batch_end", 4),  # amid an epoch
        ("on_train_batch_end", 6),  # after its last batch
        ("on_validation_end", 8),
        ("on_train_epoch_end", 12),
        ("on_exception", 9),  # a batch was drawn, and not trained on
    ],
)
def test_resumed_training_sees_what_uninterrupted_training_sees(hook, n, tmp_path):
    whole = fit(Recorder())
    with suppress(ZeroDivisionError):
        fit(Recorder(breaks=n if hook == "on_exception" else -1), SaveAt(hook, n, tmp_path / "c.ckpt"))
    assert len(whole) == 18
    assert fit(Recorder(), resume=tmp_path / "c.ckpt") == whole[n:]


def test_labels_follow_their_examples():
    x, y = torch.arange(20), 10 * torch.arange(20)
    for options in ({}, {"shuffle": True}, {"index": torch.tensor([3, 9, 4]), "shuffle": True}, {"drop_last": True}):
        plain, loader = BatchLoader(x, 3, **options), BatchLoader(x, 3, labels=y, **options)
        batches = list(loader)
        assert all(torch.equal(labels, 10 * examples) for examples, labels in batches)
        assert torch.cat([examples for examples, _ in batches]).tolist() == seen(plain)
    images = torch.arange(8.0).view(8, 1, 1, 1) + torch.tensor([0.0, 0.5])
    for examples, labels in BatchLoader(images, 4, labels=torch.arange(8), shuffle=True, flip=True):
        assert torch.equal(examples.floor().long()[:, 0, 0, 0], labels)
