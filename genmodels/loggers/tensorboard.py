"""Runs on TensorBoard."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from PIL import Image

from genmodels.errors import UserError
from genmodels.loggers.mirror import Copied, Mirror

if TYPE_CHECKING:
    from torch.utils.tensorboard import SummaryWriter


class TensorBoard(Mirror):
    """One event file per run in ``tensorboard/``; one more for each continuation or evaluation.

    A continuation replaces what was logged after its checkpoint. The HPARAMS tab has the config beside all scores.

    Args:
        folder: run folder.
    """

    title = "TensorBoard"

    def __init__(self, folder: str | Path) -> None:
        super().__init__()
        self.folder = Path(folder) / "tensorboard"
        self.writer: SummaryWriter | None = None

    def start(self, copied: Copied) -> dict[str, Any]:
        """Open a file, whose first entry is the config.

        Raises:
            UserError: if the package is not installed.
        """
        try:
            from torch.utils.tensorboard import SummaryWriter
        except ImportError as error:
            raise UserError("tensorboard is not installed; for the next time: pip install tensorboard") from error
        continued = bool(copied.curves) and copied.record.get("status") == "running"
        purge = int(copied.spent().get("batches", 0)) + 1 if continued else None
        self.writer = SummaryWriter(str(self.folder), purge_step=purge)
        self._summarize(copied, end=False)
        return {}

    def has(self, record: Mapping[str, Any]) -> bool:
        """Whether the folder holds files of the run."""
        return self.folder.is_dir()

    def write(self, values: Mapping[str, float], step: int) -> None:
        """Write scalars."""
        assert self.writer is not None
        for name, value in values.items():
            self.writer.add_scalar(name, value, step)

    def write_image(self, name: str, image: Image.Image, step: int) -> None:
        """Write an image."""
        assert self.writer is not None
        self.writer.add_image(name, np.asarray(image.convert("RGB")), step, dataformats="HWC")

    def finish(self, copied: Copied) -> None:
        """Write cost and scores, which the HPARAMS tab shows beside the config, and close the file."""
        assert self.writer is not None
        numbers = {key: value for key, value in copied.outcome.items() if isinstance(value, (int, float))}
        self.write(numbers, copied.trained)
        if copied.record.get("status") == "finished":
            self._summarize(copied, end=True)
        self.writer.close()
        self.writer = None

    def save(self) -> None:
        """Write what is still held in memory."""
        if self.writer is not None:
            self.writer.flush()

    def _summarize(self, copied: Copied, end: bool) -> None:
        """Mark the beginning of the run for the HPARAMS tab, with the config, or its ``end``.

        Which values the tab shows is not announced: it then shows all values of all runs, whichever a run has.
        """
        from torch.utils.tensorboard.summary import hparams

        assert self.writer is not None and self.writer.file_writer is not None
        plain = {key: str(value) if isinstance(value, list) else value for key, value in copied.parameters.items()}
        _, beginning, ending = hparams(plain, {})
        self.writer.file_writer.add_summary(ending if end else beginning)
