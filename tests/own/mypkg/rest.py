"""A data source, a metric, a callback and a logger."""

from pathlib import Path

import torch
from lightning import Callback, LightningModule, Trainer
from lightning.pytorch.loggers.logger import DummyLogger

from genmodels.core import Score
from genmodels.data.sources.base import Arrays
from genmodels.metrics.base import Evaluation, Subject, mean_and_error


class Ring:
    """Points on a circle.

    Args:
        radius: of the circle.
    """

    def __init__(self, radius: float) -> None:
        self.radius = radius

    def load(self, root: Path) -> Arrays:
        """Points ``[N, 2]``."""
        angle = torch.linspace(0, 6, 400)
        x = self.radius * torch.stack([angle.cos(), angle.sin()], dim=1)
        return Arrays(x[::2].contiguous(), x[1::2].contiguous())


class Distance(Evaluation):
    """Mean distance of samples to the origin.

    Args:
        n: number of samples.
    """

    def __init__(self, n: int = 100) -> None:
        self.n = n

    def measure(self, subject: Subject) -> list[Score]:
        """One score."""
        value, se = mean_and_error(subject.samples.get(self.n).norm(dim=1))
        protocol = subject.samples.protocol(self.n)
        return [Score(f"distance_{self.n}", value, "", self.n, se, protocol=protocol, quantity="distance")]


class Diary(Callback):
    """Writes a line at the end of training.

    Args:
        file: where.
    """

    def __init__(self, file: str) -> None:
        self.file = Path(file)

    def on_train_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Write it."""
        self.file.write_text("done\n")


class Names(DummyLogger):
    """Writes the names of what is logged.

    Args:
        file: where.
    """

    def __init__(self, file: str) -> None:
        super().__init__()
        self.file = Path(file)

    def log_metrics(self, metrics: dict[str, float], step: int | None = None) -> None:
        """Append them."""
        with self.file.open("a") as file:
            file.writelines(f"{name}\n" for name in metrics)
