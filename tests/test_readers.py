"""What genmodels writes is read alike by torch-fidelity, clean-fid, pytorch-fid and guided-diffusion's evaluator.

They need packages that genmodels does not, and are left out where these are missing; ``GENMODELS_READERS`` names the
Python of an environment that has them.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from readers import pixels

import genmodels
from genmodels.builder import build
from genmodels.composition import compose
from genmodels.core import DataSpec
from genmodels.data import DataModule
from genmodels.metrics.inception_file import FOLDER, NAME
from genmodels.metrics.sample_files import to_8bit, write_adm, write_folder

PROGRAMS = ("torch_fidelity", "cleanfid", "pytorch_fid", "guided_diffusion")
SPECS = {"color": DataSpec((3, 9, 12), 256), "gray": DataSpec((1, 9, 12), 256), "few levels": DataSpec((1, 8, 8), 17)}


def read(*words):
    """What the programs find."""
    command = [os.environ.get("GENMODELS_READERS", sys.executable), str(Path(__file__).with_name("readers.py"))]
    done = subprocess.run([*command, *map(str, words)], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr[-2000:]
    return json.loads(done.stdout.splitlines()[-1])


@pytest.fixture(scope="module")
def found(tmp_path_factory):
    """For each kind of images, the hash of what was written, and what the programs read."""
    results = {}
    for name, spec in SPECS.items():
        folder = tmp_path_factory.mktemp("readers")
        x = torch.randint(spec.levels, (5, *spec.shape), generator=torch.Generator().manual_seed(0)).to(torch.uint8)
        write_folder(x, spec, folder / "images")
        write_adm(x, spec, folder / "adm.npz")
        own = pixels(to_8bit(x, spec).repeat(3 // spec.shape[0], axis=-1))
        results[name] = own, read(folder / "images", folder / "adm.npz", folder / "images")
    return results


@pytest.mark.slow
@pytest.mark.parametrize("kind", SPECS)
@pytest.mark.parametrize("program", PROGRAMS)
def test_images_are_read_as_they_were_written(found, program, kind):
    own, others = found[kind]
    if "missing" in others[program]:
        pytest.skip(others[program]["missing"])
    assert others[program]["pixels"] == own


@pytest.mark.exhaustive
@pytest.mark.realdata
def test_torch_fidelity_finds_our_distances(real_data, tmp_path):
    """With one network: its reading, resizing, moments, square roots and kernels are its own."""
    if not (real_data / FOLDER / NAME).exists():
        pytest.skip("there is no Inception network")
    words = ["data=cifar10", f"data.root={real_data}", "data.limit=50"]
    data = build(compose([*words, "run_dir=x"]).data, "data", DataModule)
    data.setup()
    reference = data.train_and_val()
    n = len(reference)
    noisy = reference.float() + 40 * torch.randn(n, *data.spec.shape, generator=torch.Generator().manual_seed(0))
    write_folder(reference, data.spec, tmp_path / "reference")
    write_folder(noisy.round().clamp(0, 255).to(torch.uint8), data.spec, tmp_path / "images")
    write_adm(reference, data.spec, tmp_path / "adm.npz")
    small = [f"metrics.fid.n={n}", "metrics.fid.allow_small_n=true", f"metrics.kid.n={n}", "metrics=[fid,kid]"]
    run = genmodels.score(tmp_path / "images", "Noisy", *words, *small, f"run_dir={tmp_path / 'run'}")
    other = read(tmp_path / "images", tmp_path / "adm.npz", tmp_path / "reference", real_data / FOLDER / NAME)
    if "missing" in other["torch_fidelity"]:
        pytest.skip(other["torch_fidelity"]["missing"])
    scores = {name: run.scores[f"{name}_{n}"].value for name in ("fid", "kid")}
    assert {name: other["torch_fidelity"][name] for name in scores} == pytest.approx(scores, rel=1e-4)
