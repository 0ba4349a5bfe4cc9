"""The test doubles: models without samples, without a likelihood, without an objective, or with chains."""

from __future__ import annotations

import json

import pytest
import torch
from conformance.kinds import KINDS, examples, model_on
from conformance.test_conformance import train
from conformance.test_laboratory import settings

from genmodels.compare import compared, find_runs, markdown
from genmodels.experiment import run


@pytest.fixture(scope="module")
def autoencoder(tmp_path_factory):
    """The run folder of an autoencoder whose config has metrics that do not apply to it."""
    folder = tmp_path_factory.mktemp("autoencoder")
    words = ("metrics=[likelihood,fd,ais,memorization]", "budget.max_batches=8", "validations=4")
    run(settings("autoencoder", "gray images", folder, *words))
    return folder / "run"


def test_an_autoencoder_trains_validates_and_keeps_its_best(autoencoder):
    record = json.loads((autoencoder / "run.json").read_text())
    assert record["status"] == "finished" and record["best"]["monitor"] == "val/loss"
    assert (autoencoder / "checkpoints" / "best.ckpt").exists()
    header, *rows = (autoencoder / "metrics.csv").read_text().splitlines()
    assert "val/loss" in header and [row.split(",")[0] for row in rows] == ["2", "4", "6", "8"]


def test_an_autoencoder_shows_reconstructions(autoencoder):
    pictures = {path.name for path in (autoencoder / "samples").iterdir()}
    assert pictures == {*(f"{batch:07d}.png" for batch in (2, 4, 6, 8)), "reconstructions.png"}


def test_an_autoencoder_is_refused_metrics_with_true_reasons(autoencoder):
    refusals = json.loads((autoencoder / "run.json").read_text())["refusals"]
    assert refusals["likelihood"] == "Autoencoder has no likelihood: it defines no distribution of data."
    for metric in ("fd", "memorization"):
        assert "Autoencoder cannot be sampled from" in refusals[metric]
    assert "Autoencoder has no decoder p(x given z) with a latent z" in refusals["ais"]


def test_an_autoencoder_appears_in_the_comparison_with_its_cost(autoencoder):
    results = compared(find_runs(autoencoder))
    text = markdown(results)
    (row,) = [line for line in text.splitlines() if line.startswith("| Autoencoder")]
    assert "64" in row  # examples seen: eight batches of eight
    assert "Autoencoder on npz: no likelihood" in text


def test_a_contrastive_loss_moves_its_chains_and_raises_the_likelihood():
    """The loss fluctuates around zero while the likelihood rises to that of the data's mean."""
    model, x = model_on("persistentchains", KINDS["points"]), examples(KINDS["points"], 64)
    before, start = model.log_likelihood(x).nats.mean(), model.chains["x"].clone()
    torch.manual_seed(0)
    train(model, x, steps=400, lr=2e-2)
    assert not torch.equal(model.chains["x"], start)
    assert model.log_likelihood(x).nats.mean() > before + 0.5
    torch.testing.assert_close(model.mean.detach(), x.mean(0), atol=0.35, rtol=0)


def test_every_process_gets_its_own_chains_back(monkeypatch):
    model = model_on("persistentchains", KINDS["points"])
    ranks = [{"x": torch.full((64, 2), float(rank))} for rank in range(2)]
    monkeypatch.setattr("genmodels.models.base.model.gather", lambda chains: ranks)
    checkpoint = {}
    model.on_save_checkpoint(checkpoint)
    for rank in range(2):
        monkeypatch.setattr("genmodels.models.base.model.rank_and_world", lambda rank=rank: (rank, 2))
        model.on_load_checkpoint(checkpoint)
        assert torch.equal(model.chains["x"], ranks[rank]["x"])
