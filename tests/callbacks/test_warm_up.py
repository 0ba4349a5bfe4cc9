"""The weight of a VAE's KL divergence rises at the beginning of training."""

from __future__ import annotations

import pytest
from conformance.test_laboratory import settings
from lightning import Callback

from genmodels.errors import UserError
from genmodels.experiment import Experiment

WORDS = ("callbacks=[kl_warm_up]", "budget.max_batches=10", "validations=1", "callbacks.average.decay=0.5")


class Weights(Callback):
    """Records the weight of the KL divergence in every batch."""

    def __init__(self) -> None:
        self.found: list[float] = []

    def on_train_batch_end(self, trainer, pl_module, *_) -> None:
        self.found.append(pl_module.beta)


def test_it_reaches_the_configured_value_and_leaves_it(tmp_path):
    config = settings("vae", "points", tmp_path, *WORDS, "model.beta=2", "callbacks.kl.share=0.4")
    experiment, weights = Experiment.assemble(config), Weights()
    experiment.trainer.callbacks.append(weights)
    experiment.fit()
    assert weights.found == pytest.approx([0.0, 0.5, 1.0, 1.5] + [2.0] * 6)
    assert experiment.model.beta == 2.0


def test_a_model_without_that_number_is_refused(tmp_path):
    experiment = Experiment.assemble(settings("vae", "points", tmp_path, *WORDS, "callbacks.kl.attribute=gamma"))
    with pytest.raises(UserError, match=r"^VAE has no number gamma"):
        experiment.fit()
