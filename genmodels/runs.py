"""A run is a folder: config.yaml, run.json, metrics.csv, checkpoints/, samples/. Everything later needs it alone."""

from __future__ import annotations

import hashlib
import importlib.metadata
import json
import os
import platform
import subprocess
import time
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from omegaconf import DictConfig, OmegaConf

import genmodels
from genmodels.errors import UserError, require

if TYPE_CHECKING:
    from genmodels.core.score import Score
    from genmodels.models.base import BaseModel

PACKAGES = ("torch", "lightning", "torchmetrics", "hydra-core", "numpy")
NOT_IN_HASH = ("seed", "run_dir", "logger", "dry_run", "expected", "hydra")  # what does not define the experiment
EXPECTED = ("metric", "value", "tolerance", "source")  # what a recipe says of a score that its runs should reach


class RunFolder:
    """Reads and writes one run folder.

    Args:
        path: the folder.
    """

    def __init__(self, path: str | Path) -> None:
        self.path = Path(path)
        self.record_file = self.path / "run.json"
        self.config_file = self.path / "config.yaml"
        self.checkpoints = self.path / "checkpoints"

    @classmethod
    def open(cls, path: str | Path) -> RunFolder:
        """An existing run folder.

        Raises:
            UserError: if ``path`` holds no run.
        """
        run = cls(path)
        missing = [f.name for f in (run.record_file, run.config_file) if not f.is_file()]
        require(not missing, f"{path} is no run folder: it has no {' and no '.join(missing)}.")
        return run

    def create(self, config: DictConfig, details: Mapping[str, Any]) -> None:
        """Lay the folder down with its resolved config and a record that says ``running``.

        Raises:
            UserError: if the folder already holds a run, which is never overwritten, or cannot be written.
        """
        require(
            not self.record_file.exists(),
            f"{self.path} already holds a run; choose another folder, or continue it: genmodels resume run={self.path}",
        )
        try:
            self.path.mkdir(parents=True, exist_ok=True)
            write_whole(self.config_file, OmegaConf.to_yaml(config, resolve=True))
        except OSError as error:
            raise UserError(f"the run folder {self.path} cannot be written ({error}).") from error
        self.write({"status": "running", **details, "started": now(), "metrics": {}, "refusals": {}})

    def read(self) -> dict[str, Any]:
        """The record, run.json."""
        return dict(json.loads(self.record_file.read_text()))

    def write(self, record: Mapping[str, Any]) -> None:
        """Replace run.json as a whole."""
        write_whole(self.record_file, json.dumps(record, indent=2) + "\n")

    def update(self, **entries: Any) -> None:
        """Set top-level entries of run.json, leaving the rest."""
        self.write(self.read() | entries)

    def add_scores(self, scores: Iterable[Score], refusals: Mapping[str, str]) -> None:
        """Record scores, each under its name; a bare number is refused.

        Raises:
            UserError: for anything that is not a :class:`Score`.
        """
        from genmodels.core.score import Score

        record = self.read()
        for score in scores:
            require(isinstance(score, Score), f"only a Score is recorded, not {score!r}: say kind, n and protocol.")
            record["metrics"][score.name] = score.to_dict()
        record["refusals"] |= refusals
        self.write(record)

    @property
    def config(self) -> DictConfig:
        """The resolved config, with ``run_dir`` and all paths in it where the folder is now."""
        written = OmegaConf.to_container(OmegaConf.load(self.config_file))
        assert isinstance(written, dict)
        return OmegaConf.create(moved(written, str(written["run_dir"]), os.path.abspath(self.path)))

    def checkpoint(self, name: str | None = None) -> Path:
        """``best.ckpt`` where there is one, else ``last.ckpt``; or the one named.

        Raises:
            UserError: if it is not there.
        """
        names = [name] if name else ["best.ckpt", "last.ckpt"]
        for candidate in names:
            if (self.checkpoints / candidate).is_file():
                return self.checkpoints / candidate
        raise UserError(f"{self.checkpoints} holds no {' or '.join(names)}; the run was stopped before its first save.")


def write_whole(path: Path, text: str) -> None:
    """Write beside, then rename over: a reader sees the old file or the new one."""
    part = path.with_name(path.name + ".part")
    try:
        part.write_text(text)
        os.replace(part, path)
    except OSError:
        part.unlink(missing_ok=True)
        raise


def expectations(expected: Any) -> list[Any]:
    """What a recipe's ``expected`` says, which is nothing, one entry or a list of them, as a list."""
    if expected is None:
        return []
    return expected if isinstance(expected, list) else [expected]


def now() -> str:
    """Local time to the second, with its offset."""
    return time.strftime("%Y-%m-%dT%H:%M:%S%z")


def moved(node: Any, old: str, new: str) -> Any:
    """A plain config whose paths at or below the folder ``old`` are below ``new``.

    >>> moved({"run_dir": "a/b", "samples": ["a/b/samples", "a/bc"]}, "a/b", "/c")
    {'run_dir': '/c', 'samples': ['/c/samples', 'a/bc']}
    """
    if isinstance(node, dict):
        return {key: moved(child, old, new) for key, child in node.items()}
    if isinstance(node, list):
        return [moved(child, old, new) for child in node]
    within = isinstance(node, str) and (node == old or node.startswith(f"{old}/"))
    return new + node[len(old) :] if within else node


def config_hash(config: DictConfig) -> str:
    """Hash of what defines the experiment: runs that differ only in their seed share it."""
    plain = OmegaConf.to_container(config, resolve=True)
    assert isinstance(plain, dict)
    kept = {key: value for key, value in plain.items() if key not in NOT_IN_HASH}
    kept["data"] = {**kept["data"], "seed": None}
    text = json.dumps(moved(kept, str(plain["run_dir"]), ""), sort_keys=True)
    return hashlib.sha256(text.encode()).hexdigest()[:12]


def provenance() -> dict[str, Any]:
    """Versions, hardware and the state of the source tree."""
    import torch

    versions = {"python": platform.python_version(), "genmodels": genmodels.__version__}
    for package in PACKAGES:
        versions[package] = importlib.metadata.version(package)
    gpus = [torch.cuda.get_device_name(i) for i in range(torch.cuda.device_count())]
    hardware = {"cpu": cpu_name(), "cores": os.cpu_count(), "threads": torch.get_num_threads(), "gpus": gpus}
    return {"versions": versions, "hardware": hardware, "git": git_state()}


def cpu_name() -> str:
    """Model of the processor."""
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
        return next(line.split(":", 1)[1].strip() for line in lines if line.startswith("model name"))
    except (OSError, StopIteration):
        return platform.processor() or platform.machine()


def git_state() -> dict[str, Any] | None:
    """Commit of the source tree and whether files differ from it; ``None`` outside a checkout."""
    folder = Path(__file__).parent

    def git(*words: str) -> str:
        done = subprocess.run(["git", *words], cwd=folder, capture_output=True, text=True, check=True)
        return done.stdout.strip()

    try:
        return {"commit": git("rev-parse", "HEAD"), "modified": bool(git("status", "--porcelain", "-uno"))}
    except (OSError, subprocess.CalledProcessError):
        return None


def load_weights(model: BaseModel, checkpoint: str | Path, weights: str = "ema") -> None:
    """Put a checkpoint's weights into ``model``: the averaged ones where ``weights`` is ``ema`` and there are any.

    Raises:
        UserError: if the file is damaged, or of another model or data.
    """
    import torch

    from genmodels.callbacks.average import copy_into

    require(weights in ("ema", "raw"), f"weights must be ema or raw, got {weights}.")
    state = read_checkpoint(checkpoint)
    model.check_identity(state)
    try:
        model.load_state_dict(state["state_dict"])
    except RuntimeError as error:
        sizes = " ".join(str(error).split())[:200]
        raise UserError(f"{checkpoint} holds weights of other sizes than the config's model ({sizes}).") from error
    average = state["callbacks"].get("WeightAverage", {}).get("average")
    if weights == "ema" and average:
        with torch.no_grad():
            copy_into(model, average)


def read_checkpoint(checkpoint: str | Path) -> dict[str, Any]:
    """A checkpoint's content, with no code run in reading it.

    Raises:
        UserError: if it is missing, damaged, or holds more than tensors and plain types.
    """
    import torch

    try:
        return dict(torch.load(checkpoint, map_location="cpu", weights_only=True))
    except Exception as error:
        reason = " ".join(str(error).split())[:160]
        raise UserError(f"{checkpoint} is not a checkpoint that can be read ({reason}).") from error


def load(run: str | Path, weights: str = "ema", checkpoint: str | None = None) -> BaseModel:
    """The trained model of a run folder, in eval mode on the CPU.

    Args:
        run: run folder.
        weights: ``ema`` or ``raw``.
        checkpoint: ``best.ckpt`` or ``last.ckpt``; by default the best where there is one.

    Raises:
        UserError: if the folder or its checkpoint is not there or damaged.
    """
    folder = RunFolder.open(run)
    return restore(folder, folder.config, weights, checkpoint)


def restore(run: RunFolder, config: DictConfig, weights: str, checkpoint: str | None = None) -> BaseModel:
    """As :func:`load`, with the run's config changed to ``config``."""
    from genmodels.builder import build

    model: BaseModel = build(config.model, "model")
    load_weights(model, run.checkpoint(checkpoint), weights)
    return model.eval()
