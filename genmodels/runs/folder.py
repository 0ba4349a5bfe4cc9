"""Run folders: config.yaml, run.json, metrics.csv, checkpoints/ and samples/, which suffice for everything later."""

from __future__ import annotations

import hashlib
import json
import os
import time
from collections.abc import Iterable, Mapping
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any

from omegaconf import DictConfig, OmegaConf

from genmodels.core.score import Score
from genmodels.errors import UserError, require
from genmodels.files import sha256, write_whole
from genmodels.runs.identity import beside, config_hash, labeled, moved
from genmodels.runs.lock import claimed
from genmodels.runs.record import read_record, scores_by_name
from genmodels.untrusted import literal, read_config, read_text


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
        self.weights = self.path / "model.safetensors"
        self.drawn = self.path / "samples" / "drawn.npz"
        self.begun = False  # whether this object has written the record of a run that begins

    @classmethod
    def open(cls, path: str | Path) -> RunFolder:
        """An existing run folder.

        Raises:
            UserError: if ``path`` holds no run, or its config.yaml or run.json cannot be read.
        """
        run = cls(path)
        missing = [f.name for f in (run.record_file, run.config_file) if not f.exists()]
        require(not missing, f"{path} is not a run folder: it has no {' and no '.join(missing)}.")
        external = run.read().get("external")
        require(not external, f"{path} has scores of samples that were made elsewhere, and no model: genmodels score")
        _ = run.config
        return run

    def claimed(self) -> AbstractContextManager[None]:
        """Context in which no other process changes the folder, see :func:`genmodels.runs.lock.claimed`."""
        return claimed(self.path)

    def refuse_if_taken(self) -> None:
        """Check that the folder holds no run, which is never overwritten.

        Raises:
            UserError: if it does.
        """
        require(
            not self.holds_run(),
            f"{self.path} already holds a run; choose another folder, or continue it: genmodels resume run={self.path}",
        )

    def note_failure(self, overrides: Iterable[str], reason: str) -> None:
        """Note why a job cannot begin or go on, so that whoever looks at the folder knows.

        A folder without a run gets a record whose status is ``refused``; the next try replaces it. A run that has
        failed keeps its own reason.
        """
        if not self.holds_run():
            self.path.mkdir(parents=True, exist_ok=True)
            self.write({"status": "refused", "error": reason, "overrides": list(overrides), "metrics": {}})
        elif self.read()["status"] in ("running", "interrupted"):
            self.update(error=reason)

    def holds_run(self) -> bool:
        """Whether the folder holds a run that has begun."""
        return self.record_file.exists() and self.read().get("status") != "refused"

    def status_of(self, config: DictConfig) -> str | None:
        """The recorded status of the experiment ``config`` in this folder; ``None`` if it holds no run.

        Raises:
            UserError: if it holds another experiment, which is never overwritten.
        """
        if not self.holds_run():
            return None
        record = self.read()
        here = (record.get("config_hash"), record.get("seed"), OmegaConf.select(self.config, "data.seed"))
        require(
            here == (config_hash(config), config.seed, OmegaConf.select(config, "data.seed")),
            f"{self.path} already holds another run; choose another folder, or continue that one: "
            f"genmodels resume run={self.path}",
        )
        return str(record.get("status"))

    def create(self, config: DictConfig, details: Mapping[str, Any]) -> None:
        """Write the resolved config, and a record whose status is ``running``.

        Raises:
            UserError: if the folder already holds a run, or cannot be written.
        """
        self.refuse_if_taken()
        try:
            self.path.mkdir(parents=True, exist_ok=True)
            text = OmegaConf.to_yaml(config, resolve=True)
            write_whole(self.config_file, text)
        except OSError as error:
            raise UserError(f"{self.config_file} cannot be written: {error.strerror}.") from error
        self.begun = True
        known = {"config_sha256": [text_sha256(text)]}
        self.write({"status": "running", **details, **known, "started": now(), "metrics": {}, "refusals": {}})

    def proceed(self, config: DictConfig, overrides: Iterable[str], details: Mapping[str, Any], batches: int) -> None:
        """Write the config and new ``details`` of a run that is continued, and set its status to ``running``.

        If its config changes after ``batches`` of training, the record keeps which one these had, as ``continued``.
        """
        text, before = OmegaConf.to_yaml(config, resolve=True), read_text(self.config_file)
        self.begun = True
        self.update(config_sha256=[text_sha256(text), text_sha256(before)])  # the process may end before the next line
        write_whole(self.config_file, text)
        record = self.read()
        every = [*record.get("overrides", []), *overrides]
        former, latter = record.get("config_hash"), config_hash(config)
        if batches and former != latter:
            record["continued"] = [*record.get("continued", []), f"{former} until batch {batches}"]
        record |= {"status": "running", "error": None, "overrides": every, "config_hash": latter}
        self.write({**record, **details})

    def read(self) -> dict[str, Any]:
        """The record, run.json.

        Raises:
            UserError: if it cannot be read, or an entry is missing or of the wrong type.
        """
        return read_record(self.record_file)

    def write(self, record: Mapping[str, Any]) -> None:
        """Replace run.json as a whole."""
        write_whole(self.record_file, json.dumps(record, indent=2) + "\n")

    def update(self, **entries: Any) -> None:
        """Set top-level entries of run.json and leave the others."""
        self.write(self.read() | entries)

    def add_scores(self, scores: Iterable[Score], refusals: Mapping[str, str], own: bool) -> list[Score]:
        """Add scores and refusals to run.json.

        Args:
            scores: the scores; only those that are measured with the run's own settings may replace others.
            refusals: reasons why metrics do not apply, by their names in the config.
            own: whether the scores belong to the run itself, at the end of its training.

        Returns:
            The scores under the names by which they are recorded.

        Raises:
            UserError: for anything that is not a :class:`Score`.
        """
        record = self.read()
        others = scores_by_name(record)
        kept = []
        for score in scores:
            require(isinstance(score, Score), f"only a Score, with kind, n and protocol, is recorded, got {score!r}.")
            kept.append(score if own else beside(score, others))
            record["metrics"][kept[-1].name] = kept[-1].to_dict()
        record["refusals"] = record.get("refusals", {}) | refusals
        self.write(record)
        return kept

    def set_stale_scores_apart(self, checkpoint_sha256: str) -> None:
        """Rename the scores of an earlier checkpoint, which a continued training has replaced.

        Their names get the number of batches that the run had been trained for.

        Args:
            checkpoint_sha256: first digits of the hash of the checkpoint that is now the run's own.
        """
        record = self.read()
        batches = record.get("cost", {}).get("batches", "fewer")
        found = {}
        for name, entry in record["metrics"].items():
            of = entry["protocol"].get("checkpoint_sha256")
            stale = of is not None and of != checkpoint_sha256 and "[batches=" not in name
            found[labeled(name, {"batches": str(batches)}) if stale else name] = entry
        self.write(record | {"metrics": found})

    def note_trials(self, of: int) -> None:
        """Note in the protocol of each score of a search's best run how many trials it is the best of by now."""
        record = self.read()
        for entry in record["metrics"].values():
            entry["protocol"] |= {"trials": of} if "trials" in entry["protocol"] else {}
        self.write(record)

    def note_samples(self) -> None:
        """Note in run.json the hash of the samples that were drawn and scored, if there are any."""
        if self.drawn.is_file():
            self.update(samples_sha256=sha256(self.drawn))

    @property
    def config(self) -> DictConfig:
        """The resolved config, with ``run_dir`` and the paths below it as the folder lies now.

        It may be a stranger's: every ``${`` in it is text, and nothing is resolved.

        Raises:
            UserError: if it cannot be read, is not the config of a run, or not the one that run.json has the hash of.
        """
        known = self.read().get("config_sha256") if self.record_file.exists() else None
        require(
            known is None or text_sha256(read_text(self.config_file)) in known,
            f"{self.config_file} has changed since it was written, and the run's scores are not of what it describes "
            f"now; copy the run folder again, and give other settings on the command line, as in key=value.",
        )
        written = read_config(self.config_file)
        run_dir = written.get("run_dir")
        require(isinstance(run_dir, str), f"{self.config_file} is not the config of a run: it has no run_dir.")
        return OmegaConf.create(literal(moved(renewed(written), str(run_dir), os.path.abspath(self.path))))

    def checkpoint(self, name: str | None = None) -> Path:
        """Path of the checkpoint ``name``; by default ``best.ckpt`` if the run has one, else ``last.ckpt``.

        A ``best.ckpt`` that run.json has the hash of is the run's own even if it is lost; see :meth:`verified`. An
        export has its weights alone.

        Raises:
            UserError: if there is no such file.
        """
        if name is None and self.record_file.exists() and "best.ckpt" in self.read().get("checkpoints", {}):
            return self.checkpoints / "best.ckpt"
        if name is None and self.weights.is_file():
            return self.weights
        names = [name] if name else ["best.ckpt", "last.ckpt"]
        for candidate in names:
            if Path(candidate).name == candidate and (self.checkpoints / candidate).is_file():
                return self.checkpoints / candidate
        held = ", ".join(sorted(path.name for path in self.checkpoints.glob("*.ckpt")))
        advice = f"it holds {held}." if held else f"train it first: genmodels resume run={self.path}"
        raise UserError(f"{self.checkpoints} holds no {' or '.join(names)}; {advice}")

    def announce(self, name: str, found: str) -> None:
        """Note in run.json the hash of a checkpoint that is about to replace the file ``name``.

        The hash of the file before it is kept too, since the process may end between this and the replacement.
        """
        if not self.record_file.exists():
            require(
                not self.begun, f"{self.record_file} is gone: the run folder was removed or renamed, and training ends."
            )
            return  # trained without a record
        record = self.read()
        hashes = record.get("checkpoints", {})
        self.write(record | {"checkpoints": {**hashes, name: [found, *hashes.get(name, [])[:1]]}})

    def verified(self, checkpoint: Path) -> str:
        """SHA-256 of a checkpoint file.

        Raises:
            UserError: if run.json has other hashes of it, so that it is damaged or of another run, or if it is lost.
        """
        require(checkpoint.is_file(), f"there is no file {checkpoint}; copy the run folder again, or use another one.")
        record = self.read() if self.record_file.exists() else {}
        known, found = record.get("checkpoints", {}).get(checkpoint.name), sha256(checkpoint)
        require(
            known is None or found in known,
            f"{checkpoint} has changed since it was saved: its SHA-256 is {found[:12]}..., that in run.json "
            f"{str((known or [''])[0])[:12]}...; copy the run folder again, or use another checkpoint.",
        )
        return found


def renewed(node: Any) -> Any:
    """A plain config without the switches ``bf16`` of samplers and metrics, which now follow ``trainer.precision``.

    >>> renewed({"fd": {"_target_": "genmodels.metrics.FrechetEvaluation", "bf16": False}, "n": [1]})
    {'fd': {'_target_': 'genmodels.metrics.FrechetEvaluation'}, 'n': [1]}
    """
    if isinstance(node, list):
        return [renewed(child) for child in node]
    if not isinstance(node, dict):
        return node
    switched = str(node.get("_target_")).startswith(("genmodels.diffusion.", "genmodels.metrics."))
    return {key: renewed(child) for key, child in node.items() if not (switched and key == "bf16")}


def text_sha256(text: str) -> str:
    """SHA-256 of a text, which is the same with the line ends of any system."""
    return hashlib.sha256(text.encode()).hexdigest()


def now() -> str:
    """Local time to the second, with its offset from UTC."""
    return time.strftime("%Y-%m-%dT%H:%M:%S%z")
