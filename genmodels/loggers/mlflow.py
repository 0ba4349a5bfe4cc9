"""Runs on MLflow."""

from __future__ import annotations

import math
import os
import time
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from PIL import Image

from genmodels.errors import UserError, require
from genmodels.loggers.connection import answers
from genmodels.loggers.mirror import Copied, Mirror
from genmodels.loggers.place import is_same, place

if TYPE_CHECKING:
    from mlflow.tracking import MlflowClient

OUTCOMES = {"finished": "FINISHED", "interrupted": "KILLED", "pruned": "KILLED"}
LONGEST = 500  # characters of a parameter
AT_ONCE = 100  # parameters in one request


class MLflow(Mirror):
    """A copy of the run on MLflow, with pictures; the run's number is entered in run.json, as on Weights & Biases.

    Args:
        folder: run folder.
        tracking_uri: server or data base, else ``MLFLOW_TRACKING_URI``, else MLflow's own default, ``mlflow.db`` here.
        experiment: name of the experiment that runs are collected in.
        run_name: else the name of the folder.
        tags: of the run.
    """

    title = "MLflow"

    def __init__(
        self,
        folder: str | Path,
        tracking_uri: str | None = None,
        experiment_name: str = "genmodels",
        run_name: str | None = None,
        tags: dict[str, str] | None = None,
    ) -> None:
        super().__init__()
        self.folder = Path(folder)
        self.uri, self.experiment_name = tracking_uri, experiment_name
        self.run_name, self.tags = run_name or self.folder.name, tags or {}
        self.client: MlflowClient | None = None
        self.id = ""

    def start(self, copied: Copied) -> dict[str, Any]:
        """Open the run; the entry is its number, with the place of the folder.

        Raises:
            UserError: if the package is not installed, or the server does not answer.
        """
        try:
            from mlflow.tracking import MlflowClient
        except ImportError as error:
            raise UserError("mlflow is not installed; for the next time: pip install mlflow") from error
        server = self.uri or os.environ.get("MLFLOW_TRACKING_URI", "")
        reached = not server.startswith("http") or answers(server)  # MLflow itself would wait for minutes
        require(reached, f"{server} does not answer")
        self.client = MlflowClient(self.uri)
        self.id = copied.record["mlflow"]["id"] if self.has(copied.record) else self._created()
        self.client.update_run(self.id, status="RUNNING")
        self._set(copied)
        return {"mlflow": {"id": self.id, "place": place(self.folder)}}

    def has(self, record: Mapping[str, Any]) -> bool:
        """Whether run.json names a run on MLflow, and the folder is no copy."""
        return is_same((record.get("mlflow") or {}).get("place"), self.folder)

    def write(self, values: Mapping[str, float], step: int) -> None:
        """Write values with the examples and seconds so far."""
        from mlflow.entities import Metric

        assert self.client is not None and self._copied is not None
        spent = {"examples": "examples", "time": "seconds"}
        axes = {name: self._copied.spent().get(key) for key, name in spent.items()}
        found = {**{name: value for name, value in axes.items() if value is not None}, **values}
        now = int(time.time() * 1000)
        numbers = {name: float(value) for name, value in found.items() if math.isfinite(value)}
        self.client.log_batch(self.id, metrics=[Metric(allowed(k), v, now, step) for k, v in numbers.items()])

    def write_image(self, name: str, image: Image.Image, step: int) -> None:
        """Write an image, which MLflow shows by its step."""
        assert self.client is not None
        self.client.log_image(self.id, image, key=name.replace("/", "_"), step=step)

    def write_animation(self, name: str, file: Path, step: int) -> None:
        """Write an animated GIF as an artifact."""
        assert self.client is not None
        self.client.log_artifact(self.id, str(file), "animations")

    def finish(self, copied: Copied) -> None:
        """Write cost, scores and status, and close the run."""
        assert self.client is not None
        outcome = copied.outcome
        self.write({k: v for k, v in outcome.items() if isinstance(v, (int, float))}, copied.trained)
        for name, value in outcome.items():
            if isinstance(value, str):
                self.client.set_tag(self.id, allowed(name), value)
        for name in ("run.json", "config.yaml"):
            self.client.log_artifact(self.id, str(self.folder / name))
        self.client.set_terminated(self.id, OUTCOMES.get(str(copied.record.get("status")), "FAILED"))
        self.client = None

    def _created(self) -> str:
        """Number of a new run."""
        assert self.client is not None
        found = self.client.get_experiment_by_name(self.experiment_name)
        experiment = found.experiment_id if found else self.client.create_experiment(self.experiment_name)
        return str(self.client.create_run(experiment, tags=self.tags, run_name=self.run_name).info.run_id)

    def _set(self, copied: Copied) -> None:
        """Send the config; MLflow keeps the first value of a parameter, so that what changed since becomes a tag."""
        from mlflow.entities import Param

        assert self.client is not None
        wanted = {allowed(key): str(value)[:LONGEST] for key, value in copied.parameters.items()}
        known = self.client.get_run(self.id).data.params
        new = [Param(key, value) for key, value in wanted.items() if key not in known]
        for first in range(0, len(new), AT_ONCE):
            self.client.log_batch(self.id, params=new[first : first + AT_ONCE])
        for key, value in wanted.items():
            if known.get(key, value) != value:
                self.client.set_tag(self.id, key, value)


def allowed(name: str) -> str:
    """A name with the characters that MLflow has.

    >>> allowed("test/bits_per_dim[weights=raw]")
    'test/bits_per_dim weights-raw'
    """
    kept = "".join(c if c.isalnum() or c in "_-./ " else {"[": " ", "]": "", "=": "-"}.get(c, "_") for c in name)
    return kept.strip()
