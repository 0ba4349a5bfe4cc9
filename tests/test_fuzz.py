"""The files of a run folder, damaged or forged in 2000 ways: every command ends with a result or with one sentence.

Each test makes one mutation, which its kind and its number determine, of a copy of one small trained run, and then
calls a few commands on it. Whatever the files hold, a command

- ends with status 0 or 1, within seconds; with 1 it prints one sentence, without the name of a Python exception;
- gives the numbers of the untouched run under their names, or refuses, or names what is different;
- leaves a run.json that can be read, unless the mutation made it unreadable.

The first mutations of each kind are tried by default, all of them with ``-m exhaustive``.
"""

from __future__ import annotations

import contextlib
import csv
import io
import json
import math
import os
import random
import re
import shutil
import signal
import time
import zipfile
from types import SimpleNamespace

import numpy as np
import pytest
import torch
import yaml
from conformance.test_laboratory import settings

from genmodels import load
from genmodels.cli import main
from genmodels.compare import compared, find_runs
from genmodels.errors import UserError
from genmodels.experiment import run
from genmodels.runs import RunFolder

PATIENCE = 10  # seconds
KINDS = {"record": 700, "config": 600, "checkpoint": 250, "samples": 250, "curves": 80, "file": 120}
BY_DEFAULT = 9  # one in so many mutations of each kind
CASES = [
    pytest.param(
        kind, number, marks=pytest.mark.exhaustive if number >= count // BY_DEFAULT else (), id=f"{kind}-{number}"
    )
    for kind, count in KINDS.items()
    for number in range(count)
]
MEMORIZATION = "metrics.memorization.n=6"


@pytest.fixture(scope="module")
def original(tmp_path_factory):
    """A small trained run: its folder, record, weights, samples of it, and the paths of its entries."""
    place = tmp_path_factory.mktemp("fuzz")
    words = ["budget.max_batches=4", "validations=2", "metrics=[likelihood,memorization]", MEMORIZATION]
    run(settings("vae", "gray images", place, *words))
    folder, samples = place / "run", place / "samples.npz"
    expected = {"metric": "bits_per_dim", "value": 9.0, "tolerance": 0.5, "source": "a paper"}
    RunFolder(folder).update(expected=expected)
    call("sample", f"run={folder}", "n=6", f"out={samples}")
    record = json.loads((folder / "run.json").read_text())
    config = yaml.safe_load((folder / "config.yaml").read_text())
    parts = {"record": record, "config": config, "weights": load(folder).state_dict()}
    return SimpleNamespace(folder=folder, samples=samples, **parts)


# Commands


class Hang(BaseException):
    """A command that takes too long."""


def stop(number, frame):
    raise Hang


def call(*words):
    """Status, standard output and standard error of a command."""
    out, err = io.StringIO(), io.StringIO()
    before = signal.signal(signal.SIGALRM, stop)
    signal.setitimer(signal.ITIMER_REAL, PATIENCE)
    try:
        with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
            main(list(map(str, words)))
        status = 0
    except SystemExit as end:
        status = end.code
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)
    return status, out.getvalue(), err.getvalue()


EXCEPTION = re.compile(r"\b\w*(Error|Exception)\b")


def tried(*words):
    """Status and output of a command that ended as every command should."""
    began = time.monotonic()
    status, out, err = call(*words)
    assert time.monotonic() - began < PATIENCE
    assert status in (0, 1), f"status {status}"
    assert "Traceback" not in out + err, err[-3000:]
    assert err.count("error: ") == status, err
    assert not EXCEPTION.search(err), err
    (out + err).encode()  # as a terminal does
    return status, out


# Mutations


def places(node, path=()):
    """The path of every entry of nested containers."""
    items = node.items() if isinstance(node, dict) else enumerate(node) if isinstance(node, list) else ()
    for key, child in items:
        yield (*path, key)
        yield from places(child, (*path, key))


def nest(depth):
    found = 1
    for _ in range(depth):
        found = [found]
    return found


def parent_of(node, path):
    for key in path[:-1]:
        node = node[key]
    return node


DELETED = object()
DEEP = nest(900)
VALUES = [
    DELETED, None, [], {}, "", "x", -1, 0, 1, 3.5, math.inf, -math.inf, math.nan, 10**400, True, nest(100), DEEP,
    [None], {"a": {"b": 1}}, "\x1b[31mred", "\ud800", "=1+1", "../../x", "${oc.env:HOME}", "???", "a" * 10_000,
    ["x"], {"": ""},
]  # fmt: skip


def changed(node, path, value):
    """Replace, delete or double the entry at a path, in place."""
    parent = parent_of(node, path)
    if value is DELETED:
        del parent[path[-1]]
    else:
        parent[path[-1]] = value


def bytes_changed(content, chance):
    """Content with a few bytes flipped, cut off, repeated or in another encoding."""
    position = chance.randrange(len(content))
    ways = [
        lambda: content[:position],
        lambda: content[:position] + content[position + chance.randrange(1, 40) :],
        lambda: content[:position] + bytes([content[position] ^ 1 << chance.randrange(8)]) + content[position + 1 :],
        lambda: content[:position] + chance.randbytes(3) + content[position:],
        lambda: content[:position] + content[max(0, position - 60) :],
        lambda: b"\xef\xbb\xbf" + content,
        lambda: content.decode("latin-1").encode("utf-16"),
        lambda: content[:position] + "é".encode("latin-1") + content[position:],
        lambda: b"",
        lambda: content * 2,
        lambda: b"[" * 100_000,
        lambda: b"\x00" * 100,
    ]
    return chance.choice(ways)()


def mutate_record(copy, original, number, chance):
    """Change an entry, or bytes, of run.json."""
    file = copy / "run.json"
    if number % 5 == 0:
        file.write_bytes(bytes_changed(file.read_bytes(), chance))
    elif number % 35 == 1:
        text = file.read_text()
        key = chance.choice(["metrics", "status", "seed", "checkpoints"])
        file.write_text(text.replace("{", f'{{"{key}": {chance.choice(["{}", "1", "null"])},', 1))
    else:
        every = list(places(original.record))
        random.Random(0).shuffle(every)
        record = json.loads(file.read_text())
        path = every[number % len(every)]
        value = chance.choice([*VALUES, [parent_of(record, path)[path[-1]]]])
        changed(record, path, value)
        text = json.dumps(record)
        file.write_text(text.replace("Infinity", "1e400") if number % 2 else text)


YAML = [
    "&a [1, 2]\nb: *a", "*nowhere", "!!python/object/apply:os.system ['true']", "!!timestamp 2020-01-01",
    "!!binary aGVsbG8=", "!!set {a, b}", "!!omap [a: 1]", "${oc.env:HOME}", "${seed}", "${nowhere}", "???", "${",
    "1e400", ".nan", "{1: 2}", "{null: 2}", "{true: 1}", "{[1]: 2}", "0x" + "f" * 400, "9" * 5000, f"'{'x' * 100_000}'",
    "[" * 100 + "]" * 100, "[" * 5000 + "]" * 5000, '"\\e[31m"', '"\\ud800"', "|\n text", "2020-01-01", "{<<: {a: 1}}",
    "{a: 1, a: 2}", "!!float x", "!!int x", "~", "{_target_: os.system}", "{_target_: genmodels.core.DataSpec}", "1:30",
]  # fmt: skip


def mutate_config(copy, original, number, chance):
    """Change an entry, or bytes, of config.yaml; in every other copy run.json does not know its hash."""
    file = copy / "config.yaml"
    if number % 2:
        forget(copy)
    every = list(places(original.config))
    random.Random(0).shuffle(every)
    path = every[number // 2 % len(every)]
    config = yaml.safe_load(file.read_text())
    if number % 6 == 0:
        file.write_bytes(bytes_changed(file.read_bytes(), chance))
    elif number % 6 == 1:
        changed(config, path, "PLACE")
        file.write_text(yaml.safe_dump(config).replace("PLACE", chance.choice(YAML), 1))
    elif number % 6 == 2:
        parent = parent_of(config, path)
        if isinstance(parent, dict):
            parent[chance.choice([1, None, True, 2.5, "x", "", "a.b", "_partial_", "_target_", "hydra"])] = 1
        file.write_text(yaml.safe_dump(config))
    elif number % 60 == 3:
        file.write_text(chance.choice(["x: [" + "[]," * 300_000 + "]", "- " * 20_000, "a: " * 5000, bomb()]))
    else:
        changed(config, path, chance.choice([value for value in VALUES if value is not DEEP]))
        file.write_text(yaml.safe_dump(config))


def bomb():
    """A small text that stands for a huge config."""
    levels = [f"a{i}: &a{i} [{', '.join([f'*a{i - 1}'] * 9)}]" for i in range(1, 9)]
    return "\n".join(["a0: &a0 [x, x, x]", *levels])


def forget(copy):
    """Make the run one of a stranger, whose run.json has no hashes."""
    record = json.loads((copy / "run.json").read_text())
    for name in ("checkpoints", "config_sha256"):
        record.pop(name, None)
    (copy / "run.json").write_text(json.dumps(record))


def mutate_checkpoint(copy, original, number, chance):
    """Change bytes or the content of the checkpoints; in every other copy run.json does not know their hashes."""
    if number % 2:
        forget(copy)
    for name in ("best.ckpt", "last.ckpt"):
        file = copy / "checkpoints" / name
        if number % 5 == 0:
            file.write_bytes(bytes_changed(file.read_bytes(), chance))
            continue
        state = torch.load(file, weights_only=True)
        every = [path for path in places(state) if len(path) < 4]
        random.Random(0).shuffle(every)
        path = every[number % len(every)]
        old = parent_of(state, path)[path[-1]]
        values = [
            *(value for value in VALUES if value is not DEEP),
            torch.zeros(2, 3),
            torch.tensor(math.nan),
            [old],
            {"x": old},
        ]
        if isinstance(old, torch.Tensor):
            values += [old * math.nan, old.int(), old[None], old.bool()] * 5
        changed(state, path, chance.choice(values))
        torch.save(chance.choice([state] * 12 + [[state], None, 3, "x", {}, state["state_dict"]]), file)


def arrays(chance):
    """Content of an archive that is no archive of samples."""
    right = np.zeros((8, 1, 8, 8), np.uint8)
    protocol = {"observation": "draw", "sampling": {"observation": "draw"}, "passes_per_sample": 1,
                "sampling_seconds": 0.1, "samples_per_second": 10.0, "speed_batch": 8, "speed_draws": 5}  # fmt: skip
    changed(protocol, (chance.choice(list(protocol)),), chance.choice(VALUES))
    texts = [json.dumps(protocol), json.dumps(chance.choice(VALUES[1:])), "{", "[" * 100_000, '{"a": 1, "a": 2}']
    wrong = (
        float,
        complex,
        str,
        object,
        bool,
        "M8[s]",
        ">i4",
        "V4",
        np.float16,
        np.float64,
        np.int64,
        np.uint16,
        [("a", int)],
    )
    xs = [
        *(right.astype(kind) for kind in wrong), right.astype(int) - 5, right.astype(int) + 300, right + np.uint16(17),
        right.astype(np.uint64) + 2**63, right * np.nan, right + np.inf, right[:0], right[:1], right[:, 0],
        right[0, 0, 0, 0], right[:, :, :7], np.asfortranarray(right), right[::-1], right.view(np.ma.MaskedArray),
    ]  # fmt: skip
    found = {"x": chance.choice([right] * 10 + xs), "protocol": np.array(chance.choice([texts[0]] * 3 + texts))}
    odd = [np.array(3), np.array([1, 2]), np.array(b"{}"), np.array({}, dtype=object), np.array([texts[0]] * 2)]
    if chance.random() < 0.2:
        found["protocol"] = chance.choice(odd)
    if chance.random() < 0.1:
        found["x" if chance.random() < 0.5 else "protocol"] = found.pop("x")
    return found


def header(shape, dtype="|u1"):
    """The first bytes of a .npy file, which claim any shape."""
    text = f"{{'descr': '{dtype}', 'fortran_order': False, 'shape': {shape}, }}".encode()
    return b"\x93NUMPY\x01\x00" + len(text).to_bytes(2, "little") + text


def mutate_samples(copy, original, number, chance):
    """Write an archive of samples that is damaged or forged, as samples.npz beside the run's files."""
    file = copy / "samples.npz"
    if number % 3 == 0:
        file.write_bytes(bytes_changed(original.samples.read_bytes(), chance))
    elif number % 15 == 1:
        part = chance.choice([
            header((10**12, 1, 8, 8)), header((8, 1, 8, 8)), header((-1, 1, 8, 8)), header("8"), header("__import__"),
            header((8, 1, 8, 8), "|O"), b"", b"\x93NUMPY", header((2**31, 1, 8, 8)) + b"\0" * 100,
        ])  # fmt: skip
        with zipfile.ZipFile(file, "w", zipfile.ZIP_DEFLATED) as archive:
            archive.writestr("x.npy", part)
    elif number % 45 == 7:
        with zipfile.ZipFile(file, "w", zipfile.ZIP_DEFLATED) as archive, archive.open("x.npy", "w") as part:
            part.write(header((2**28, 1, 8, 8)))
            for _ in range(64):
                part.write(bytes(2**20))
    elif number % 15 == 2:
        special(file, chance, np.zeros((8, 1, 8, 8), np.uint8))
    else:
        np.savez(file, **arrays(chance))


def special(file, chance, array=None):
    """Put something that is no regular file, or of another kind, at a path."""
    if file.is_dir():
        shutil.rmtree(file)
    file.unlink(missing_ok=True)
    file.parent.mkdir(exist_ok=True)
    way = chance.randrange(7)
    if way < 3:
        os.mkfifo(file)
    elif way == 3:
        file.mkdir()
    elif way == 4:
        file.symlink_to(file)
    elif way == 5:
        file.symlink_to("/dev/zero")
    elif array is not None:
        np.save(file.with_suffix(""), array)
        file.with_suffix(".npy").rename(file)


def mutate_curves(copy, original, number, chance):
    """Change metrics.csv or another file that only the report and a continued training read."""
    file = copy / "metrics.csv"
    if number % 2 == 0:
        file.write_bytes(bytes_changed(file.read_bytes(), chance))
        return
    rows = [line.split(",") for line in file.read_text().splitlines()]
    row = chance.choice(rows)
    cells = ["x", "", "nan", "1e999", "-1", "9" * 5000, "\0", "=1+1", '"', "1" + "0" * 400, "step", "1.5", "²"]
    row[chance.choice([0, 0, chance.randrange(len(row))])] = chance.choice(cells)
    row += chance.choice([[], ["1"], ["1", "2", "3"]])
    file.write_text("\n".join(map(",".join, rows)))


FILES = ("run.json", "config.yaml", "checkpoints/best.ckpt", "checkpoints/last.ckpt", "metrics.csv", ".lock", "samples",
         "samples/drawn.npz", "samples/final.png", "evaluation", "evaluation/timesteps.csv", "checkpoints")  # fmt: skip


def mutate_file(copy, original, number, chance):
    """Replace a file or a folder by a pipe, a folder, a loop of links, an endless device or nothing."""
    special(copy / FILES[number % len(FILES)], chance)


MUTATE = {
    "record": mutate_record, "config": mutate_config, "checkpoint": mutate_checkpoint, "samples": mutate_samples,
    "curves": mutate_curves, "file": mutate_file,
}  # fmt: skip


# What must hold


def is_readable(folder):
    """Whether the folder's run.json can be read."""
    return not compared(find_runs(folder)).unreadable if (folder / "run.json").exists() else False


def without_speed(protocol):
    return {key: value for key, value in protocol.items() if "seconds" not in key and "per_second" not in key}


def check_scores(folder, original):
    """No score has the name and the protocol of one of the original run, but another value."""
    for name, entry in json.loads((folder / "run.json").read_text())["metrics"].items():
        own = original.record["metrics"].get(name)
        if own and without_speed(own["protocol"]) == without_speed(entry["protocol"]):
            numbers = ("value", "se", "n", "kind", "unit", "better")
            assert [own[key] for key in numbers] == [entry[key] for key in numbers], name


def try_to_load(folder):
    """Status of ``genmodels.load``, as of a command."""
    try:
        load(folder)
        return 0
    except UserError:
        return 1


def check_command(name, folder, original, *words):
    """A command ends as it should, and if it measures anything, it finds the numbers of the original run."""
    if name == "load":
        return try_to_load(folder)
    status, _ = tried(name, f"run={folder}", *words)
    if status == 0 and name in ("evaluate", "resume"):
        check_scores(folder, original)
    return status


def check_compare(folder, chance):
    """Every format names the run, whatever it holds, and the status tells whether it could be read."""
    form = chance.choice([*["md", "csv", "latex", "json", "terminal"] * 2, "html"])
    page = folder.parent / "report.html"
    words = {"html": [f"html={page}"], "terminal": []}.get(form, [f"format={form}"])
    status, out = tried("compare", folder, *words)
    runs = find_runs(folder)
    results = compared(runs)
    assert status == (not runs or bool(results.unreadable))
    assert not runs or [run.path for run in runs] == [folder]
    text = page.read_text() if form == "html" and runs else out
    assert all(each.name in text for each in results.unfinished)
    if form == "json" and runs:
        entries = json.loads(out)
        assert entries["groups"] or entries["unfinished"]
    if form == "csv" and runs:
        labels = [row["label"].removeprefix("'") for row in csv.DictReader(io.StringIO(out))]
        assert {group.label for group in results.groups} <= {*labels} and labels


@pytest.mark.slow
@pytest.mark.parametrize(("kind", "number"), CASES)
def test_a_mutation(kind, number, original, tmp_path):
    chance = random.Random(f"{kind} {number}")
    folder = tmp_path / "run"
    shutil.copytree(original.folder, folder)
    MUTATE[kind](folder, original, number, chance)
    readable = is_readable(folder)
    check_compare(folder, chance)
    check_command("check", folder, original)
    name = "evaluate" if kind == "samples" else chance.choice(["evaluate", "sample", "resume", "load"])
    if kind == "checkpoint" and number % 2 and name == "resume":  # with a checkpoint that it cannot know to be forged
        name = "load"
    if kind == "file" and FILES[number % len(FILES)] == "samples/final.png":  # which evaluations draw in place
        name = "sample"
    words = {
        "evaluate": [f"samples={folder / 'samples.npz'}"] if kind == "samples" else [],
        "sample": ["n=6", f"out={tmp_path / 'drawn.npz'}"],
        "resume": ["budget.max_batches=4"],
    }
    status = check_command(name, folder, original, *words.get(name, []))
    if kind in ("config", "checkpoint") and number % 2 == 0:
        assert status == 1, "run.json has its hash"
    assert is_readable(folder) or not readable
