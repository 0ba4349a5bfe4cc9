"""Runs on Weights & Biases."""

from __future__ import annotations

import json
import os
import secrets
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from hydra.core.hydra_config import HydraConfig
from hydra.types import RunMode
from PIL import Image

from genmodels.console import tell
from genmodels.core import Score
from genmodels.loggers.connection import MODE, PATIENCE, Mode, go_offline, mode_for
from genmodels.loggers.mirror import Copied, Mirror
from genmodels.loggers.place import is_same, place

if TYPE_CHECKING:
    import wandb

AXES = {"examples": "examples", "time": "seconds"}  # of curves, besides batches
WELL = ("finished", "pruned")  # statuses that are no failure
ENVIRONMENT = {
    "id": "WANDB_RUN_ID", "project": "WANDB_PROJECT", "name": "WANDB_NAME", "dir": "WANDB_DIR",
    "group": "WANDB_RUN_GROUP",
}  # fmt: skip
COLUMNS = ("score", "value", "kind", "error", "n", "unit", "better", "text", "protocol")
PATH = ("entity", "project", "id")  # of a run on the server
LIMITS = {"init_timeout": 4 * PATIENCE, "finish_timeout": 300.0}  # seconds; by default the latter has no limit


class Wandb(Mirror):
    """A copy of the run on Weights & Biases.

    The run's id, project, entity and sweep are entered in run.json, by which a run that is resumed or evaluated, here
    or where its folder was moved, goes on in the same run; a copied folder begins a new one. What is ``None`` is
    decided by wandb's environment variables, and then by a default. Without an account or a connection the run is kept
    in the folder; training never waits.

    Args:
        folder: run folder.
        offline: keep the run in the folder, for ``wandb sync`` later; short for ``mode=offline``.
        artifacts: checkpoint to upload at the end, with config.yaml, run.json and the samples drawn: ``best``, ``last``
            or ``none``.
        project: else ``WANDB_PROJECT``, else genmodels.
        entity: user or team, else ``WANDB_ENTITY``.
        name: else ``WANDB_NAME``, else the name of the folder.
        group: else ``WANDB_RUN_GROUP``, else the config's hash, which runs share that differ only in their seed.
        dir: folder of wandb's files, else ``WANDB_DIR``, else the run folder.
        id: of the run, else ``WANDB_RUN_ID``, except that jobs of one sweep get one each.
        mode: ``online``, ``offline``, ``disabled`` or ``shared``, else ``WANDB_MODE``.
        tags, notes, job_type, config_exclude_keys, config_include_keys, resume, resume_from, fork_from, reinit, force,
            save_code, sync_tensorboard, monitor_gym, settings: as in ``wandb.init``.
    """

    title = "Weights & Biases"

    def __init__(
        self,
        folder: str | Path,
        offline: bool = False,
        artifacts: Literal["best", "last", "none"] = "none",
        project: str | None = None,
        entity: str | None = None,
        name: str | None = None,
        group: str | None = None,
        dir: str | None = None,
        id: str | None = None,
        mode: Mode | None = None,
        tags: list[str] | None = None,
        notes: str | None = None,
        job_type: str | None = None,
        config_exclude_keys: list[str] | None = None,
        config_include_keys: list[str] | None = None,
        resume: str | bool | None = None,
        resume_from: str | None = None,
        fork_from: str | None = None,
        reinit: str | bool | None = None,
        force: bool | None = None,
        save_code: bool | None = None,
        sync_tensorboard: bool | None = None,
        monitor_gym: bool | None = None,
        settings: dict[str, Any] | None = None,
    ) -> None:
        given = {key: value for key, value in locals().items() if value not in (None, [], {})}
        super().__init__()
        self.folder = Path(folder)
        self.artifacts = artifacts
        self.wanted: Mode | None = "offline" if offline else mode
        own = ("self", "folder", "offline", "artifacts", "mode", "settings", "__class__")
        self.arguments = {key: value for key, value in given.items() if key not in own}
        self.settings = settings or {}
        self.run: wandb.Run | None = None

    def start(self, copied: Copied) -> dict[str, Any]:
        """Open the run, and send the config."""
        run, entries = self.opened(copied.record)
        for axis in ("batches", *AXES.values()):
            run.define_metric(axis)
        run.define_metric("*", step_metric="batches", step_sync=True)
        self.configure(copied)
        return entries

    def opened(self, record: Mapping[str, Any]) -> tuple[wandb.Run, dict[str, Any]]:
        """A new run, or the one that the record names.

        Returns:
            The run, and the entry for the record: its id, project, entity, sweep and group, and the place of the
            folder.
        """
        self.run = run = self.initialized(mode_for(self.wanted, str(self.folder)), self.identity(record))
        if not run.offline and run.url:
            tell(run.url)
        found = {name: getattr(run, name) or None for name in (*PATH, "group")}
        return run, {"wandb": {**found, "sweep": run.sweep_id, "place": place(self.folder)}}

    def close(self, exit_code: int = 0) -> None:
        """Close the run."""
        if self.run is not None:
            self.run.finish(exit_code=exit_code)
        self.run = None

    def has(self, record: Mapping[str, Any]) -> bool:
        """Whether run.json names a run on Weights & Biases, and the folder is no copy."""
        return is_same((record.get("wandb") or {}).get("place"), self.folder)

    def identity(self, record: Mapping[str, Any]) -> dict[str, Any]:
        """Arguments of ``wandb.init`` that say which run it is: by config, else by record, else by environment."""
        known = record.get("wandb") or {}
        elsewhere = any(self.arguments.get(key, known.get(key)) != known.get(key) for key in PATH)
        known = known if self.has(record) and not elsewhere else {}
        named = {key: known[key] for key in (*PATH, "group") if known.get(key)}
        return {**self.defaults(record), **named, **self.arguments}

    def defaults(self, record: Mapping[str, Any]) -> dict[str, Any]:
        """What holds where neither the config nor the record of the run say otherwise."""
        in_sweep = HydraConfig.initialized() and HydraConfig.get().mode == RunMode.MULTIRUN
        variables = ENVIRONMENT if not in_sweep else {key: ENVIRONMENT[key] for key in ENVIRONMENT if key != "id"}
        usual: dict[str, Any] = {"id": secrets.token_hex(4), "project": "genmodels", "name": self.folder.name}
        usual |= {"dir": str(self.folder), "group": record.get("config_hash")}
        forked = {"fork_from", "resume_from"} & self.arguments.keys()  # which excludes resume
        usual |= {"reinit": "create_new"} | ({} if forked else {"resume": "allow"})
        return usual | {key: os.environ[name] for key, name in variables.items() if os.environ.get(name)}

    def initialized(self, mode: Mode, arguments: dict[str, Any]) -> wandb.Run:
        """The run, offline if the server refuses it."""
        import wandb

        settings = {"quiet": True, **LIMITS, **self.settings}
        try:
            return wandb.init(**arguments, mode=mode, settings=wandb.Settings(**settings))
        except wandb.Error as error:
            if mode != "online":
                raise
            go_offline(f"the server refuses the run ({str(error)[:200]})", str(self.folder))
            os.environ[MODE] = "offline"
            return wandb.init(**arguments, mode="offline", settings=wandb.Settings(**settings))

    def configure(self, copied: Copied) -> None:
        """Send the config with dotted keys, without those that a sweep has set and locked."""
        assert self.run is not None
        state = {key: value for key, value in copied.outcome.items() if not key.startswith("test/")}
        locked = set(self.run.config.keys()) if self.run.sweep_id else set()
        found = {key: value for key, value in {**copied.parameters, **state}.items() if key not in locked}
        self.run.config.update(found, allow_val_change=True)

    def write(self, values: Mapping[str, Any], step: int) -> None:
        """Log values with the batches, examples and seconds so far, each of which can be the axis of a chart."""
        assert self.run is not None and self._copied is not None
        spent = self._copied.spent()
        axes = {name: spent[key] for key, name in AXES.items() if key in spent}
        self.run.log({"batches": step, **axes, **values}, step=step)

    def write_image(self, name: str, image: Image.Image, step: int) -> None:
        """Log an image."""
        import wandb

        self.write({name: wandb.Image(image)}, step)

    def write_animation(self, name: str, file: Path, step: int) -> None:
        """Log an animated GIF."""
        import wandb

        self.write({f"{name}_animation": wandb.Video(str(file), format="gif")}, step)

    def finish(self, copied: Copied) -> None:
        """Write names, status, cost and scores, upload the artifacts, and close the run."""
        import wandb

        assert self.run is not None
        self.configure(copied)
        self.run.summary.update(copied.outcome)
        rows = [row(Score.from_dict(name, entry)) for name, entry in copied.record.get("metrics", {}).items()]
        if rows:
            self.run.log({"scores": wandb.Table(list(COLUMNS), rows)})
        if self.artifacts != "none":
            self.upload(copied)
        self.close(exit_code=int(copied.record.get("status") not in WELL))

    def upload(self, copied: Copied) -> None:
        """Log the checkpoint with what restores it, and the samples that were drawn, as artifacts."""
        import wandb

        assert self.run is not None
        found = [self.folder / "checkpoints" / f"{name}.ckpt" for name in (self.artifacts, "last")]
        checkpoint = next((path for path in found if path.is_file()), None)
        named = f"{copied.record.get('model')}_{copied.record.get('data')}-{self.run.id}"
        restoring = [path for path in (checkpoint, self.folder / "config.yaml", self.folder / "run.json") if path]
        pictures = [self.folder / "samples" / name for name in ("drawn.npz", "final.png", "plane.png")]
        samples = [path for path in pictures if path.is_file()]
        for kind, files in (("model", restoring if checkpoint else []), ("samples", samples)):
            artifact = wandb.Artifact(f"{kind}-{named}", kind, metadata=copied.outcome)
            for path in files:
                artifact.add_file(str(path), name=path.relative_to(self.folder).as_posix())
            if files:
                self.run.log_artifact(artifact, aliases=["latest", *([checkpoint.stem] if checkpoint else [])])


def row(score: Score) -> list[Any]:
    """A score as a row with :data:`COLUMNS`."""
    found = score.to_dict()
    facts = [found["value"], found["kind"], found["se"], found["n"], found["unit"], found["better"]]
    return [score.name, *facts, score.text, json.dumps(found["protocol"], default=str)]
