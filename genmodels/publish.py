"""A trained model as a folder to publish: weights as safetensors, config, record with scores, and a model card."""

from __future__ import annotations

import json
import shutil
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from omegaconf import OmegaConf
from safetensors.torch import save

from genmodels.compare import Run, compared, markdown
from genmodels.errors import require
from genmodels.files import PART, sha256, write_whole
from genmodels.programs import SUFFIX, Written, check_exports, write_programs
from genmodels.runs import RunFolder, restore
from genmodels.runs.folder import text_sha256
from genmodels.runs.identity import moved
from genmodels.runs.packages import packages_of
from genmodels.settings import plain

LEFT_OUT = ("checkpoints", "config_sha256", "samples_sha256", "wandb", "mlflow")  # entries of the record, of files left
FORMATS = (None, "torch.export")
PICTURES = ("samples/final.png",)
PRIVATE = ("data.root=", "run_dir=", "hydra.", "logger")  # overrides that say where somebody keeps his files
DRAW = "x = model.sample(16)"
OF_LABEL = "import torch\n\nwith model.given(torch.tensor([0])):  # of label 0\n    x = model.sample(16)"
CARD = """---
library_name: genmodels
tags: [generative-model, {data}]
---

# {model} on {data}

{parameters:,} parameters, {weights} weights, trained by {made_by}.{needs}

```python
import genmodels

model = genmodels.load("FOLDER")  # this folder
{draw}  # data space, [16, {shape}]
```

`genmodels sample run=FOLDER`, `genmodels evaluate run=FOLDER metrics=[...]` and `genmodels compare` take it as well.
{programs}
## Scores

{tables}

## Protocol

{protocol}

## Training

`{words}`

{cost}
"""
PROGRAMS = """
## Without genmodels

Programs of `torch.export`, which need torch {torch} or later, and nothing else:

```python
import torch

{name} = torch.export.load("FOLDER/{file}").module()
{call}
```

{files}
"""


def write(source: Path, out: Path, weights: str | None = None, form: str | None = None) -> Path:
    """Export the run in the folder ``source`` to the folder ``out``, as a whole or not at all; returns ``out``.

    Args:
        source: a run folder.
        out: a folder that does not exist or is empty.
        weights: ``ema`` or ``raw``; ``None`` for those that the run is evaluated with.
        form: ``torch.export`` to write the model's parts as programs besides.

    Raises:
        UserError: if ``source`` is no run, ``out`` holds files already, or the model has no such parts.
    """
    require(form in FORMATS, f"format must be torch.export, got {form}.")
    run = RunFolder.open(source)
    out = out.expanduser().absolute()
    require(not out.exists() or (out.is_dir() and not any(out.iterdir())), f"out={out} exists already; name another.")
    require(out.parent.is_dir(), f"out={out} lies in a folder that does not exist; make {out.parent} first.")
    config = run.config
    chosen = weights or str(config.weights)
    model = restore(run, config, chosen)
    if form:
        check_exports(model)
    part = RunFolder(out.with_name(f"{PART}{out.name}"))
    shutil.rmtree(part.path, ignore_errors=True)
    try:
        part.path.mkdir()
        tensors = {name: value.contiguous().clone() for name, value in model.state_dict().items()}  # share no memory
        about = {"format": "pt", "weights": chosen, "genmodels": json.dumps(model.identity)}
        part.weights.write_bytes(save(tensors, about))
        content = published(plain(config), chosen)
        write_whole(part.config_file, OmegaConf.to_yaml(OmegaConf.create(content)))
        record = recorded(run.read(), part, chosen)
        if chosen != config.weights:
            record["metrics"] = {}  # which are those of the other weights
        part.write(record)
        for name in PICTURES:
            if (run.path / name).is_file():
                (part.path / name).parent.mkdir(exist_ok=True)
                shutil.copyfile(run.path / name, part.path / name)
        programs = write_programs(model, part.path) if form else []
        write_whole(part.path / "README.md", card(part.path, content, record, programs))
        if out.exists():
            out.rmdir()
        part.path.rename(out)
    finally:
        shutil.rmtree(part.path, ignore_errors=True)
    return out


def recorded(record: Mapping[str, Any], part: RunFolder, weights: str) -> dict[str, Any]:
    """The record of an export, with the hashes of the files in the folder ``part``."""
    kept = {key: value for key, value in record.items() if key not in LEFT_OUT}
    return {
        **kept,
        "overrides": [word for word in record.get("overrides", []) if not word.lstrip("+").startswith(PRIVATE)],
        "config_sha256": [text_sha256(part.config_file.read_text(encoding="utf-8"))],
        "checkpoints": {part.weights.name: [sha256(part.weights)]},
        "exported": {"weights": weights},
    }


def published(config: dict[str, Any], weights: str) -> dict[str, Any]:
    """The config without what is of one machine: the run's folder, the folder of data, and dashboards."""
    content: dict[str, Any] = moved(config, str(config["run_dir"]), "/run")
    content["data"]["root"] = None
    return {**content, "run_dir": "/run", "logger": {}, "weights": weights}


def card(folder: Path, config: Mapping[str, Any], record: Mapping[str, Any], programs: Sequence[Written] = ()) -> str:
    """The model card: how to load the model, scores with kinds and errors, protocols, and cost."""
    run = Run.read(folder / "run.json")
    lines = [f"- {score.line}: {json.dumps(dict(score.protocol), sort_keys=True)}" for score in run.scores.values()]
    cost = [f"- {name}: {value}" for name, value in record.get("cost", {}).items()]
    return CARD.format(
        model=run.model,
        data=record.get("data", "unknown data"),
        parameters=int(run.cost.get("parameters", 0)),
        weights={"ema": "averaged", "raw": "raw"}[config["weights"]],
        made_by=", ".join(made_by(record, package) for package in ("genmodels", *packages_of(config))),
        needs=needs(list(packages_of(config["model"]))),
        draw=OF_LABEL if run.given else DRAW,
        shape=", ".join(map(str, config["data"]["spec"]["shape"])),
        programs=usage(programs),
        tables=markdown(compared([run])),
        protocol="\n".join(lines) or "No metric applied.",
        words=" ".join(["genmodels train", *run.overrides]),
        cost="\n".join(cost),
    )


def usage(programs: Sequence[Written]) -> str:
    """How to load programs with torch alone, and what each of them computes; empty without any."""
    if not programs:
        return ""
    lines = []
    for each in programs:
        rows = "any number of rows" if each.batch is None else f"{each.batch} rows at a time"
        lines.append(f"- `{each.file}`: {each.program.about}; {rows}.")
    first = programs[0]
    shapes = [[16 if first.batch is None else first.batch, *each.shape[1:]] for each in first.program.inputs]
    arguments = [
        f"torch.randn({', '.join(map(str, shape))})" if each.is_floating_point() else f"torch.ones({shape[0]}).long()"
        for each, shape in zip(first.program.inputs, shapes, strict=True)
    ]
    name = first.file.removesuffix(SUFFIX)
    return PROGRAMS.format(
        torch=".".join(torch.__version__.split(".")[:2]),
        name=name,
        file=first.file,
        call=f"y = {name}({', '.join(arguments)})",
        files="\n".join(lines),
    )


def made_by(record: Mapping[str, Any], package: str) -> str:
    """A package with its version and commit, as far as the record has them."""
    versions, git = record.get("versions"), record.get("git")
    sources = {"genmodels": git, **mapping(record.get("sources"))}
    source = mapping(sources.get(package))
    version = str(mapping(versions).get(package, "of unknown version"))
    changed = " with changes" if source.get("modified") else ""
    return f"{package} {version}" + (f" (commit {source['commit']}{changed})" if source.get("commit") else "")


def mapping(entry: Any) -> Mapping[str, Any]:
    """An entry of a record that is a mapping, else an empty one."""
    return entry if isinstance(entry, Mapping) else {}


def needs(packages: list[str]) -> str:
    """What a reader must trust to load a model that is not of genmodels alone."""
    if not packages:
        return ""
    names = " and ".join(f"`{package}`" for package in packages)
    return f" It is built by {names}, which is to be trusted for this: `GENMODELS_TRUST={','.join(packages)}`."
