"""What all copies of a run have in common that lie on a dashboard, outside of its folder."""

from __future__ import annotations

from abc import abstractmethod
from argparse import Namespace
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from lightning.pytorch.loggers import Logger
from PIL import Image

from genmodels.console import tell
from genmodels.core.processes import is_rank_zero
from genmodels.errors import UserError
from genmodels.nested import leaves

VALIDATION, BEST = "val/", "best/"  # beginnings of the names of values


@dataclass(frozen=True)
class Copied:
    """The run that a mirror copies.

    Attributes:
        folder: run folder.
        config: the resolved config.
        record: content of run.json.
        spent: what has been spent on training so far: ``batches``, ``examples`` and ``time`` in seconds.
        curves: values logged before, in a run that is continued: one mapping per row of metrics.csv.
    """

    folder: Path
    config: Mapping[str, Any]
    record: Mapping[str, Any]
    spent: Callable[[], Mapping[str, float]] = dict
    curves: Sequence[Mapping[str, str]] = field(default_factory=list)

    @property
    def parameters(self) -> dict[str, Any]:
        """The config with dotted keys, as on the command line; ``model`` and ``data`` are names."""
        found = {key: value for key, value in leaves(self.config) if not key.startswith("logger.")}
        return {**found, **self.facts}

    @property
    def facts(self) -> dict[str, Any]:
        """Names of model and data."""
        return {key: self.record[key] for key in ("model", "data") if key in self.record}

    @property
    def outcome(self) -> dict[str, Any]:
        """Plain values that sum the run up: names, status, cost, and every score as ``test/<name>``."""
        cost = {key: value for key, value in self.record.get("cost", {}).items() if not isinstance(value, dict)}
        state = {key: self.record[key] for key in ("status", "error") if self.record.get(key)}
        scores = {f"test/{name}": entry["value"] for name, entry in self.record.get("metrics", {}).items()}
        return {**self.facts, **state, **{f"cost/{key}": value for key, value in cost.items()}, **scores}

    @property
    def trained(self) -> int:
        """Number of batches that the recorded training took."""
        return int(self.record.get("cost", {}).get("batches", 0))


class Mirror(Logger):
    """A copy of what a run logs, on a dashboard; the run folder stays the only place that commands read.

    A mirror is open between :meth:`begin` and :meth:`end`, in the first process, and takes nothing otherwise. It never
    ends a run: an error closes it, and is told in one sentence.

    Attributes:
        is_open: whether the mirror takes values.
        best: the best of each validation value so far, by its name without ``val/``.
    """

    name = version = ""
    experiment = None  # Lightning asks for it before the run has begun
    title = "the mirror"

    def __init__(self) -> None:
        super().__init__()
        self.is_open = False
        self.best: dict[str, float] = {}
        self._copied: Copied | None = None

    # What a dashboard does ----------------------------------------------------------------------------------------

    @abstractmethod
    def start(self, copied: Copied) -> dict[str, Any]:
        """Open the copy of a run, or go on with it; returns the entries of run.json by which it is found again."""

    def has(self, record: Mapping[str, Any]) -> bool:
        """Whether a copy of the run with this record, in this folder, has been begun before."""
        return False

    @abstractmethod
    def write(self, values: Mapping[str, float], step: int) -> None:
        """Write values at a number of batches."""

    @abstractmethod
    def write_image(self, name: str, image: Image.Image, step: int) -> None:
        """Write an image at a number of batches."""

    def write_animation(self, name: str, file: Path, step: int) -> None:
        """Write an animated GIF at a number of batches, if the dashboard can show one."""

    @abstractmethod
    def finish(self, copied: Copied) -> None:
        """Write how the run ended, and close the copy."""

    # What callers use ---------------------------------------------------------------------------------------------

    def begin(self, copied: Copied) -> dict[str, Any]:
        """Open the mirror; returns entries for run.json, none if it could not be opened."""
        if not is_rank_zero():
            return {}
        self._copied, entries = copied, {}
        with self.harmless():
            entries = self.start(copied)
            self.is_open = True
        return entries

    def end(self, copied: Copied) -> None:
        """Close the mirror."""
        if self.is_open:
            with self.harmless():
                self.finish(copied)
        self.is_open = False

    def add(self, values: Mapping[str, float], step: int, better: str = "lower") -> None:
        """Write values, and for each ``val/<name>`` the best so far as ``best/<name>``."""
        if self.is_open:
            best = {f"{BEST}{name}": value for name, value in self._best_with(values, better).items()}
            with self.harmless():
                self.write({**values, **best}, self.at(step))

    def add_image(self, name: str, image: Image.Image, step: int) -> None:
        """Write an image."""
        if self.is_open:
            with self.harmless():
                self.write_image(name, image, self.at(step))

    def add_animation(self, name: str, file: Path, step: int) -> None:
        """Write an animated GIF."""
        if self.is_open:
            with self.harmless():
                self.write_animation(name, file, self.at(step))

    def at(self, step: int) -> int:
        """The step of what is logged at ``step``, which is 0 in an evaluation after training."""
        assert self._copied is not None
        return step or self._copied.trained

    @contextmanager
    def harmless(self) -> Iterator[None]:
        """Context whose errors close the mirror and are told, while everything else goes on."""
        try:
            yield
        except Exception as error:
            self.is_open = False
            said = str(error) if isinstance(error, UserError) else f"{type(error).__name__}: {str(error)[:200]}"
            tell(f"{self.title}: {said.rstrip('.')}; continuing without it.")

    def _best_with(self, values: Mapping[str, float], better: str) -> dict[str, float]:
        assert self._copied is not None
        choose, found = max if better == "higher" else min, {}
        for key in (key for key in values if key.startswith(VALIDATION)):
            name = key.removeprefix(VALIDATION)
            former = (float(row[key]) for row in self._copied.curves if row.get(key))  # before this was continued
            before = [self.best[name]] if name in self.best else list(former)
            found[name] = choose([values[key], *before])
        self.best |= found
        return found

    # Lightning's interface ------------------------------------------------------------------------------------------

    def log_metrics(self, metrics: Mapping[str, float], step: int | None = None) -> None:
        """Write values."""
        self.add(metrics, step or 0)

    def log_hyperparams(self, params: dict[str, Any] | Namespace, *args: Any, **kwargs: Any) -> None:
        """Do nothing: :meth:`begin` sends the config."""
