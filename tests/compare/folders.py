"""Run folders made of records alone, and what is printed of them."""

from __future__ import annotations

import io
import json

from rich.console import Console

from genmodels.compare import markdown, print_tables
from genmodels.core import Kind, Score
from genmodels.metrics import SampleSets


def write_run(folder, model, *scores, data="digits", seed=0, **record):
    """Write the folder of a finished run; runs of one model share their config."""
    folder.mkdir(parents=True)
    cost = {"parameters": 1000, "examples": 5120, "train_seconds": 12.3, "peak_memory_bytes": 2**28, "device": "cpu"}
    record = {"status": "finished", "model": model, "data": data, "seed": seed, "config_hash": model, **record}
    record = {"cost": cost, "refusals": {}, "overrides": [], **record}
    record["metrics"] = {score.name: score.to_dict() for score in scores}
    (folder / "run.json").write_text(json.dumps(record))


def bits(value, se=0.01, n=360, kind=Kind.LOWER_BOUND, name="bits_per_dim", **protocol):
    return Score(name, value, "bits/dim", n, se, kind, "lower", {"split": "test", "weights": "ema", **protocol})


def fd(value, se=0.1, n=360, better="lower", **protocol):
    declared = {"quantity": "fd_digits", "baselines": {"floor": "floor"}, "incidental": SampleSets.incidental}
    numbers = (f"fd_digits_{n}", value, "", n, se, None, better, {"floor": 0.75, **protocol})
    return Score(*numbers, **declared, distance=True)


def printed(results, width=100):
    file = io.StringIO()
    print_tables(results, Console(file=file, width=width))
    return file.getvalue()


def sentences(results):
    """The printed text as one line."""
    return " ".join(printed(results).split())


def table(runs):
    """The rows of the first Markdown table, by model."""
    heading, _, *rows = markdown(runs).split("\n\n")[1].splitlines()
    cells = [[cell.strip() for cell in row.strip("|").split(" | ")] for row in (heading, *rows)]
    return {row[0]: dict(zip(cells[0], row, strict=True)) for row in cells[1:]}


def table_of_costs(results):
    lines = markdown(results).split("\n\n")[3].splitlines()[2:]
    return {cells[0].strip(): [cell.strip() for cell in cells[1:]] for cells in (line[2:].split("|") for line in lines)}


def write_several(tmp_path):
    """Two finished runs of several scores, and a failed one."""
    sampled = {"passes_per_sample": 1, "samples_per_second": 50.0, "sampling": {}}
    expected = {"metric": "bits_per_dim", "value": 1.06, "tolerance": 0.02, "source": "Somebody & Co. 2019"}
    others = [fd(float(i), n=n, **sampled) for i, n in enumerate((360, 1000, 2000, 5000, 10_000))]
    write_run(tmp_path / "0_a", "A_1", bits(1.2), *others, expected=expected)
    write_run(tmp_path / "1_b", "B", bits(1.3), *others, refusals={"ode": "it is no diffusion model."})
    write_run(tmp_path / "2_c", "C", status="failed", error="the loss is not finite.")
    return tmp_path
