"""The wheel, installed apart from the checkout and used in an empty folder."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import zipfile

import pytest
from conformance.kinds import ROOT

OWN = ROOT / "tests" / "own"
PROJECT = """
[build-system]
requires = ["hatchling"]
build-backend = "hatchling.build"
[project]
name = "mypkg"
version = "1.0"
entry-points.genmodels.mypkg = "mypkg"
[tool.hatch.build.targets.wheel]
packages = ["mypkg"]
force-include.conf = "mypkg/conf"
"""
FAST = ["debug=fast", "data=gaussian", "metrics=[likelihood]"]


@pytest.fixture(scope="module")
def wheel(tmp_path_factory):
    folder = tmp_path_factory.mktemp("wheel")
    build = [sys.executable, "-m", "pip", "wheel", str(ROOT), "--no-deps", "--no-build-isolation", "-q"]
    subprocess.run([*build, "--wheel-dir", str(folder)], check=True)
    (file,) = folder.glob("genmodels-*.whl")
    return file


@pytest.fixture(scope="module")
def installed(wheel, tmp_path_factory):
    """The folder that the wheel is installed in, beside the packages of this environment."""
    folder = tmp_path_factory.mktemp("site")
    install = [sys.executable, "-m", "pip", "install", "--no-deps", "--no-index", "-q", "--target", str(folder)]
    subprocess.run([*install, str(wheel)], check=True)
    return folder


@pytest.fixture
def call(installed, tmp_path):
    """A function that runs a command in an empty folder, with the installed package; returns the finished process."""

    def command(*words, status=0, **environment):
        own = {**os.environ, "PYTHONPATH": str(installed), **environment}
        done = subprocess.run(words, cwd=tmp_path, env=own, capture_output=True, text=True)
        assert done.returncode == status, done.stdout + done.stderr
        return done

    return command


@pytest.fixture
def genmodels(call, installed):
    """A function that runs the console script."""
    return lambda *words, **options: call(str(installed / "bin" / "genmodels"), *words, **options)


def python(call, code, **options):
    return call(sys.executable, "-c", code, **options)


def test_the_wheel_holds_the_configuration_as_it_is_in_the_checkout(wheel):
    with zipfile.ZipFile(wheel) as archive:
        held = {name.removeprefix("genmodels/conf/"): archive.read(name) for name in archive.namelist()}
    own = {file.relative_to(ROOT / "conf").as_posix(): file.read_bytes() for file in (ROOT / "conf").rglob("*.yaml")}
    assert own and own.items() <= held.items()


@pytest.mark.slow
def test_sweeps_evaluates_samples_and_trains_in_an_empty_folder(call, genmodels, installed, tmp_path):
    done = genmodels("train", "-m", "model=gan,vae", *FAST)
    assert "Comparison of 2 runs" in done.stdout
    (report,) = tmp_path.glob("runs/sweeps/*/report.html")
    assert len([*report.parent.glob("*/run.json")]) == 2
    (config,) = report.parent.glob("vae_gaussian_*/config.yaml")
    assert '"git": null' in (config.parent / "run.json").read_text()
    code = f"""
import genmodels
assert genmodels.__file__.startswith({str(installed)!r})
run = genmodels.evaluate({str(config.parent)!r}, "weights=raw")
assert "nats[weights=raw]" in run.scores and genmodels.sample(run, 4).x.shape == (4, 2)
run = genmodels.train("model=vae", *{FAST})
assert run.path.parts[-3] == "runs" and run.path.name.endswith("_vae_gaussian")
"""
    python(call, code)


def test_bad_input_is_one_sentence_that_names_the_command(genmodels, tmp_path):
    assert genmodels("train", "model=vea", status=1).stderr == "error: unknown model 'vea'; did you mean 'vae'?\n"
    assert "see genmodels train --help" in genmodels("train", "--cfg", status=1).stderr
    assert "did you mean 'train'" in genmodels("trian", status=1).stderr
    assert not [*tmp_path.iterdir()]


@pytest.mark.parametrize("words", [["--help"], ["--cfg", "job"], ["--help", "model=ddpm"]], ids=" ".join)
def test_what_only_shows_the_config_imports_no_torch(call, words):
    code = f"""
import sys
from genmodels.cli import main
try: main(["train", *{words}])
finally: assert "torch" not in sys.modules
"""
    out = python(call, code).stdout
    assert "seed: 0" in out and ("genmodels train -m model=" in out) == ("--help" in words)


COMPLETIONS = {
    "genmodels tr": ["train"],
    "genmodels evaluate ru": ["run="],
    "genmodels train model=v": ["model=vae"],
    "genmodels train model=ddpm model/samp": ["model/sampler="],
    "genmodels train model.latent": ["model.latent_dim="],
}


@pytest.mark.parametrize("line", COMPLETIONS)
def test_a_shell_completes(genmodels, line):
    assert genmodels("-sc", "query=bash", COMP_LINE=line).stdout.split() == COMPLETIONS[line]


def test_a_shell_installs_the_completion_of_both_scripts(genmodels):
    assert "-F hydra_bash_completion genmodels" in genmodels("-sc", "install=bash").stdout
    words = [sys.executable, "train.py", "-sc", "query=bash"]
    environment = {**os.environ, "COMP_LINE": "python train.py model=v"}
    assert subprocess.run(words, cwd=ROOT, env=environment, capture_output=True).stdout.split() == [b"model=vae"]


@pytest.mark.slow
def test_a_package_with_an_entry_point_brings_options_of_every_group(call, genmodels, installed, tmp_path):
    project, site = shutil.copytree(OWN, tmp_path / "project"), tmp_path / "site"
    (project / "pyproject.toml").write_text(PROJECT)
    install = [sys.executable, "-m", "pip", "install", "--no-deps", "--no-build-isolation", "-q", "--target"]
    subprocess.run([*install, str(site), str(project)], check=True)
    shutil.rmtree(project)
    both = {"PYTHONPATH": os.pathsep.join([str(installed), str(site)])}
    assert " mine," in genmodels("train", "--help", **both).stdout
    code = """
import genmodels
chosen = ["data=ring", "metrics=[distance]", "callbacks=[default,diary]", "logger=[csv,names]"]
run = genmodels.train("model=mine", *chosen, "run_dir=runs/a")
run = genmodels.evaluate(run, "metrics.distance.n=50")
assert {"distance_100", "distance_50"} == set(run.scores)
assert genmodels.resume(run, "budget.max_batches=25").cost["batches"] == 25
assert genmodels.sample(run, 3).x.shape == genmodels.load(run).sample(3).shape == (3, 2)
assert genmodels.compare("runs").groups[0].model == "Mine"
"""
    python(call, code, **both)
    assert {"diary.txt", "names.txt"} <= {path.name for path in (tmp_path / "runs" / "a").iterdir()}
    assert "if you trust mypkg, set GENMODELS_TRUST=mypkg" in genmodels("sample", "run=runs/a", status=1).stderr


def suite(call, folder, *words, **options):
    """Run the suite on the option ``mine`` of a folder."""
    named = ["--pyargs", "genmodels.conformance", "--model", "mine", "--config-dir", str(folder / "conf")]
    return call(sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", *named, *words, **options).stdout


@pytest.mark.slow
def test_the_suite_holds_a_model_of_another_package_to_the_requirements(call, tmp_path):
    own = shutil.copytree(OWN, tmp_path / "own")
    out = suite(call, own, "--own", str(own / "mine_in_the_suite.py"))
    assert " passed" in out and "failed" not in out and "mine-gray-images" not in out


@pytest.mark.slow
def test_the_suite_notices_a_wrong_likelihood(call, tmp_path):
    own = shutil.copytree(OWN, tmp_path / "own")
    file = own / "mypkg" / "models" / "mine.py"
    file.write_text(file.read_text().replace("self.params(len(x)))", "self.params(len(x))) + 0.1"))
    assert "masses sum to" in suite(call, own, "-k", "sums_to_one", status=1)


def test_the_suite_knows_the_users_options(call, tmp_path):
    done = call(sys.executable, "-m", "pytest", "--pyargs", "genmodels.conformance", "--model", "mien", status=4)
    assert "unknown model 'mien'" in done.stderr
