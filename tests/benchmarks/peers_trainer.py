"""A whole VAE trainer against pythae's, ``python -m tests.benchmarks.peers_trainer``, in an environment of its own:

    pip install --no-deps pythae imageio dill cloudpickle pydantic pydantic_core annotated_types typing_inspection

Both train the same network for the same number of batches of data of MNIST's size, with Adam and the same loss (binary
cross-entropy plus the KL divergence), as their users do: ours by Lightning with all callbacks of a run, pythae's by its
``BaseTrainer`` with its own data set and loader. They run in turn; what is printed is the time from batch to batch.
"""

from __future__ import annotations

import contextlib
import io
import logging
import statistics
import tempfile
import time
from pathlib import Path

import numpy as np
import torch
from rich.table import Table
from torch import nn

from genmodels.launch import compose
from tests.benchmarks.__main__ import Clock, print_table

ROUNDS, BATCHES, BATCH, LATENT, HIDDEN, PIXELS = 3, 120, 128, 16, 512, 784


def ours(array: Path) -> tuple[float, int]:
    """Seconds per batch, and the number of parameters, of ``python train.py model=vae``."""
    from genmodels.experiment import Experiment

    with tempfile.TemporaryDirectory() as folder, contextlib.redirect_stdout(io.StringIO()):
        words = [
            "model=vae", "data=npz", f"data.source.path={array}", f"data.spec.shape=[{PIXELS}]", "data.spec.levels=2",
            f"data.batch_size={BATCH}", f"budget.max_batches={BATCHES}", "validations=1", "metrics=[]",
            "callbacks.samples=null", f"model.latent_dim={LATENT}", "model.encoder.width=64", "model.encoder.depth=1",
            "model.decoder.width=64", "model.decoder.depth=1", f"run_dir={folder}/run",
        ]  # fmt: skip
        experiment, clock = Experiment.assemble(compose(words)), Clock()
        experiment.trainer.callbacks.append(clock)
        experiment.fit()
    return statistics.median(np.diff(clock.times)[10:]), sum(p.numel() for p in experiment.model.parameters())


def pythae(x: torch.Tensor, folder: str) -> tuple[float, int]:
    """Seconds per batch, and the number of parameters, of pythae's VAE and trainer."""
    from pythae.data.datasets import BaseDataset
    from pythae.models import VAE, VAEConfig
    from pythae.models.base.base_utils import ModelOutput
    from pythae.models.nn import BaseDecoder, BaseEncoder
    from pythae.trainers import BaseTrainer, BaseTrainerConfig
    from pythae.trainers.training_callbacks import TrainingCallback

    class Encoder(BaseEncoder):
        def __init__(self) -> None:
            super().__init__()
            self.hidden = nn.Sequential(nn.Linear(PIXELS, HIDDEN), nn.SiLU())
            self.mean, self.log_var = nn.Linear(HIDDEN, LATENT), nn.Linear(HIDDEN, LATENT)

        def forward(self, x: torch.Tensor) -> ModelOutput:
            h = self.hidden(x.flatten(1))
            return ModelOutput(embedding=self.mean(h), log_covariance=self.log_var(h))

    class Decoder(BaseDecoder):
        def __init__(self) -> None:
            super().__init__()
            layers = (nn.Linear(LATENT, HIDDEN), nn.SiLU(), nn.Linear(HIDDEN, PIXELS), nn.Sigmoid())
            self.layers = nn.Sequential(*layers)

        def forward(self, z: torch.Tensor) -> ModelOutput:
            return ModelOutput(reconstruction=self.layers(z))

    class PeersClock(TrainingCallback):
        def __init__(self) -> None:
            self.times: list[float] = []

        def on_train_step_end(self, *_: object, **__: object) -> None:
            self.times.append(time.perf_counter())

    logging.disable(logging.INFO)
    config = VAEConfig(input_dim=(PIXELS,), latent_dim=LATENT, reconstruction_loss="bce")
    model = VAE(config, encoder=Encoder(), decoder=Decoder())
    settings = BaseTrainerConfig(
        output_dir=folder, num_epochs=1, per_device_train_batch_size=BATCH, learning_rate=1e-3, no_cuda=True
    )
    data, clock = BaseDataset(x, torch.zeros(len(x))), PeersClock()
    with contextlib.redirect_stdout(io.StringIO()), contextlib.redirect_stderr(io.StringIO()):
        BaseTrainer(model, data, training_config=settings, callbacks=[clock]).train()
    return statistics.median(np.diff(clock.times)[10:]), sum(p.numel() for p in model.parameters())


def floor() -> float:
    """Seconds per batch that no trainer can do without: the layers, forward and backward, and a fused Adam."""
    layers = [nn.Linear(PIXELS, HIDDEN), nn.SiLU(), nn.Linear(HIDDEN, LATENT), nn.Linear(LATENT, HIDDEN), nn.SiLU()]
    network = nn.Sequential(*layers, nn.Linear(HIDDEN, PIXELS))
    optimizer, x, times = torch.optim.Adam(network.parameters(), fused=True), torch.rand(BATCH, PIXELS), []
    for _ in range(BATCHES):
        times.append(time.perf_counter())
        optimizer.zero_grad()
        network(x).sum().backward()
        optimizer.step()
    return statistics.median(np.diff(times)[10:])


def vae_trainer(table: Table) -> None:
    """The trainers in turn, and the floor, on the same binary images."""
    x = np.random.default_rng(0).integers(0, 2, (BATCHES * BATCH, PIXELS), dtype=np.uint8)
    with tempfile.TemporaryDirectory() as folder:
        array = Path(folder) / "data.npz"
        np.savez(array, train=x, test=x[:500])
        rounds = [(ours(array), pythae(torch.from_numpy(x).float(), folder), floor()) for _ in range(ROUNDS)]
    a, b = (statistics.median(each[side][0] for each in rounds) for side in (0, 1))
    least = statistics.median(each[2] for each in rounds)
    sizes = " and ".join(f"{side[1]:,}" for side in rounds[0][:2])
    title = f"batch of a VAE's trainer, MLP 784-512-16, pythae ({sizes} parameters)"
    table.add_row(title, f"{1e3 * a:.2f} ms", f"{1e3 * b:.2f} ms", f"{b / a:.2f}x faster")
    table.add_row("its layers and Adam alone", f"{1e3 * least:.2f} ms", f"{1e3 * b:.2f} ms", f"{b / least:.2f}x faster")


def main() -> None:
    """Print the ratio."""
    print_table(("what", "ours", "against", "ratio"), (vae_trainer,))


if __name__ == "__main__":
    main()
