"""Networks that know labels: which code reaches which row, and what is left as it was."""

import copy
from functools import partial

import pytest
import torch

from genmodels.networks.labelled import CodeBesideInput, Labels
from genmodels.networks.mlp import mlp
from genmodels.networks.readout import readout
from genmodels.networks.time_conditioned import time_conditioned


def test_networks_of_data_without_labels_stay_as_they_are():
    labels = Labels(None)
    assert labels.beside_input(mlp) is mlp and labels.beside_time(time_conditioned) is time_conditioned
    with labels.given(None), labels.left_out(), labels.in_a_row(3), labels.dropped(0.5):
        assert labels.codes is None


def test_the_code_follows_the_input_as_entries_or_planes():
    labels = Labels(3)
    for shape in ((2,), (2, 4, 5)):
        network = labels.beside_input(lambda in_shape, out_shape: torch.nn.Identity())(shape, shape)
        x = torch.randn(4, *shape)
        with labels.given(torch.tensor([2, 0])):
            out = network(x)
        assert torch.equal(out[:, :2], x)
        code = torch.tensor([[0.0, 0, 1], [1, 0, 0], [0, 0, 1], [1, 0, 0]]).view(4, 3, *[1] * (len(shape) - 1))
        assert torch.equal(out[:, 2:], code.expand(4, 3, *shape[1:]))


def test_options_reach_the_factory():
    network = Labels(2).beside_input(mlp)((3,), (1,), width=7)
    assert isinstance(network, CodeBesideInput) and network.network[1].weight.shape == (7, 5)


@pytest.mark.parametrize("options", [{}, {"patch": 2}, {"levels": 17}], ids=str)
def test_the_embedding_begins_at_zero_and_then_tells_labels_apart(options):
    shape = (1, 8, 8)
    torch.manual_seed(0)
    plain, labels = time_conditioned(shape, shape, width=8, **options), Labels(3)
    network = labels.beside_time(partial(time_conditioned, **options))(shape, shape, width=8)
    (embedding,) = (p for name, p in network.named_parameters() if name.endswith("label.weight"))
    others = [p for p in network.parameters() if p is not embedding]
    for theirs, own in zip(plain.parameters(), others, strict=True):  # no block is zero as it is at the beginning
        own.data = torch.nn.init.normal_(theirs, std=0.1).data
    x, t = torch.randn(1, *shape).expand(3, *shape), torch.ones(3)
    with labels.given(torch.arange(3)):
        torch.testing.assert_close(network(x, t), plain(x, t))
        torch.nn.init.normal_(embedding)
        told = network(x, t)
        with labels.left_out():
            torch.testing.assert_close(network(x, t), plain(x, t))
    assert min((told[i] - told[j]).abs().max() for i, j in ((0, 1), (0, 2), (1, 2))) > 1e-4


def test_a_network_without_an_embedding_of_time_is_refused():
    with pytest.raises(ValueError, match="no embedding of time"):
        Labels(3).beside_time(partial(readout, width=4, depth=1, steps=5))((1, 4, 4), (1, 4, 4))


def test_contexts_end_with_what_was_given_before():
    labels = Labels(2)
    with labels.given(torch.tensor([1, 0])):
        before = labels.codes
        with pytest.raises(KeyError), labels.in_a_row(2), labels.left_out():
            assert labels.codes.tolist() == [[0, 0]] * 4
            raise KeyError
        assert labels.codes is before
    assert labels.codes is None


def test_labels_are_dropped_as_often_as_asked():
    labels = Labels(2)
    torch.manual_seed(0)
    with labels.given(torch.ones(10_000, dtype=torch.int64)):
        with labels.dropped(0.1):
            assert labels.codes.sum(1).mean().item() == pytest.approx(0.9, abs=0.01)
        state = torch.get_rng_state()
        with labels.dropped(0.0):
            assert labels.codes.sum() == 10_000 and torch.equal(torch.get_rng_state(), state)


def test_a_copy_of_a_network_has_labels_of_its_own():
    labels = Labels(2)
    network = torch.nn.Sequential(labels.beside_input(mlp)((1,), (1,)), labels.beside_input(mlp)((1,), (1,)))
    other = copy.deepcopy(network)
    with labels.given(torch.tensor([0])), pytest.raises(ValueError, match="name the labels"):
        other(torch.zeros(1, 1))
    assert other[0].labels is other[1].labels
    with other[0].labels.given(torch.tensor([0])):
        other(torch.zeros(1, 1))


def test_a_compiled_network_reads_the_labels_of_each_call():
    labels = Labels(2)
    network = labels.beside_input(mlp)((1,), (1,), width=4)
    compiled = torch.compile(network, backend="eager", fullgraph=True)
    x = torch.randn(3, 1)
    for y in ([0, 1, 1], [1, 0, 0], [1]):
        with labels.given(torch.tensor(y)):
            torch.testing.assert_close(compiled(x), network(x))
