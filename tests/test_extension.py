"""A user's own package: what makes genmodels build its classes, and that nothing in a run folder does."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys

import pytest
import torchmetrics
from conformance.kinds import ROOT
from omegaconf import OmegaConf

import genmodels
from genmodels import trust
from genmodels.builder import build, check, resolve
from genmodels.cli import main
from genmodels.data import DataModule
from genmodels.data.sources.base import Source
from genmodels.errors import UserError
from genmodels.launch import compose
from genmodels.models.base import BaseModel
from genmodels.runs.packages import version_of
from genmodels.runs.provenance import provenance
from genmodels.tree import groups, options

OWN = ROOT / "tests" / "own"
WORDS = ["model=mine", "data=ring", "metrics=[distance]", "callbacks=[default,diary]", "logger=[csv,names]"]
MINE = "mypkg.models.mine.Mine"


@pytest.fixture(autouse=True)
def nobody_is_trusted(monkeypatch):
    """Leave environment and modules as they were."""
    monkeypatch.setattr(sys, "meta_path", list(sys.meta_path))
    monkeypatch.setattr(trust, "registered", tuple)
    for name in (trust.TRUST, trust.CONFIG):
        monkeypatch.setenv(name, "")
        monkeypatch.delenv(name)
    yield
    for name in [name for name in sys.modules if name.partition(".")[0] == "mypkg"]:
        del sys.modules[name]


@pytest.fixture
def own(monkeypatch):
    monkeypatch.setenv(trust.CONFIG, str(OWN / "conf"))


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    """A run of a model of the user's, on data of the user's."""
    folder = tmp_path_factory.mktemp("own") / "run"
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv(trust.CONFIG, str(OWN / "conf"))
        genmodels.train(*WORDS, f"run_dir={folder}", "trainer.accelerator=cpu")
    return folder


def test_a_folder_of_options_of_ones_own_trains_and_all_that_follows(trained, own, capsys):
    assert (trained / "diary.txt").read_text() == "done\n"
    assert "val/nats" in (trained / "names.txt").read_text().split()
    assert set(genmodels.evaluate(trained, "metrics.distance.n=50").scores) == {"distance_100", "distance_50"}
    assert genmodels.resume(trained, "budget.max_batches=25").cost["batches"] == 25
    assert genmodels.sample(trained, 3).x.shape == genmodels.load(trained).sample(3).shape == (3, 2)
    assert genmodels.compare(trained).groups[0].model == "Mine"


@pytest.mark.parametrize("flag", ["--config-dir", "--config-dir=", "-cd"])
def test_the_command_line_names_a_folder(trained, tmp_path, flag):
    folder = str(OWN / "conf")
    main(
        [
            "sample",
            f"run={trained}",
            "n=3",
            f"out={tmp_path / 'a.npz'}",
            *([flag + folder] if "=" in flag else [flag, folder]),
        ]
    )
    assert (tmp_path / "a.npz").exists()


def test_options_of_ones_own_are_listed_and_hinted_at(own):
    assert "mine" in options("model") and "ring" in options("data") and "model/sampler" in groups()
    with pytest.raises(UserError, match="unknown model 'mien'; did you mean 'mine'"):
        genmodels.train("model=mien")
    with pytest.raises(UserError, match=r"unknown key 'model\.network\.bia'; did you mean 'model\.network\.bias'"):
        genmodels.train(*WORDS, "model.network.bia=1")


def test_an_option_of_a_name_that_is_taken_is_refused(tmp_path, monkeypatch):
    shutil.copytree(OWN / "conf", tmp_path / "conf")
    (tmp_path / "conf" / "model" / "mine.yaml").rename(tmp_path / "conf" / "model" / "vae.yaml")
    monkeypatch.setenv(trust.CONFIG, str(tmp_path / "conf"))
    with pytest.raises(UserError, match=r"model/vae\.yaml has the name of an option of genmodels; rename it"):
        compose([])


def test_the_folder_of_the_house_is_nobodys_own(monkeypatch):
    monkeypatch.setenv(trust.CONFIG, str(ROOT / "conf"))
    assert trust.folders() == [] and compose([]).seed == 0


@pytest.fixture
def repository(tmp_path, monkeypatch):
    """The user's package in a repository of its own, with a version."""
    shutil.copytree(OWN, tmp_path / "own")
    (tmp_path / "own" / "mypkg" / "__init__.py").write_text('__version__ = "1.2"\n')
    for words in (["init", "-q"], ["add", "."], ["-c", "user.name=a", "-c", "user.email=a@b", "commit", "-qm", "a"]):
        subprocess.run(["git", *words], cwd=tmp_path / "own", check=True)
    monkeypatch.setenv(trust.CONFIG, str(tmp_path / "own" / "conf"))
    return tmp_path / "own"


def test_the_version_of_the_users_package_is_recorded(repository):
    config = compose(["run_dir=x", *WORDS])
    resolve(MINE, "model")
    found = provenance(config)
    commit = subprocess.run(["git", "rev-parse", "HEAD"], cwd=repository, capture_output=True, text=True).stdout.strip()
    assert found["versions"]["mypkg"] == "1.2" and found["sources"] == {"mypkg": {"commit": commit, "modified": False}}
    (repository / "mypkg" / "rest.py").write_text("")
    assert provenance(config)["sources"]["mypkg"]["modified"]
    shutil.rmtree(repository / ".git")
    assert "sources" not in provenance(config) and "sources" not in provenance(compose(["run_dir=x"]))


def test_the_version_of_an_installed_package_is_that_of_its_installation():
    assert version_of("torchmetrics") == torchmetrics.__version__ and version_of("nothing") == "unknown"


def test_the_card_of_an_export_names_the_users_package(trained, own, tmp_path):
    record = json.loads((trained / "run.json").read_text())
    assert record["versions"]["mypkg"] == "unknown"  # it has none
    folder = shutil.copytree(trained, tmp_path / "run")
    record["versions"]["mypkg"], record["sources"] = "1.2", {"mypkg": {"commit": "abc", "modified": True}}
    (folder / "run.json").write_text(json.dumps(record))
    card = (genmodels.export(folder, tmp_path / "model") / "README.md").read_text()
    assert "mypkg 1.2 (commit abc with changes)" in card and "GENMODELS_TRUST=mypkg" in card


COMMANDS = {
    "evaluate": [],
    "resume": ["budget.max_batches=50"],
    "sample": ["out=x.npz"],
}


@pytest.mark.parametrize("command", COMMANDS)
def test_without_the_users_word_nothing_of_a_package_is_imported(trained, command, capsys, monkeypatch, tmp_path):
    monkeypatch.syspath_prepend(OWN)  # it could be imported
    monkeypatch.chdir(tmp_path)
    before = (trained / "run.json").read_bytes()
    with pytest.raises(SystemExit):
        main([command, f"run={trained}", *COMMANDS[command]])
    (error,) = capsys.readouterr().err.splitlines()
    assert "_target_=mypkg." in error and error.endswith(
        "if you trust mypkg, set GENMODELS_TRUST=mypkg in the environment"
    )
    assert "mypkg" not in sys.modules and (trained / "run.json").read_bytes() == before


def test_a_run_folder_cannot_make_itself_trusted(trained, tmp_path, monkeypatch, capsys):
    """Not by options within it, an entry in its config, nor by lying where the user works."""
    folder = shutil.copytree(trained, tmp_path / "run")
    shutil.copytree(OWN / "conf", folder / "conf")
    shutil.copytree(OWN / "conf", folder, dirs_exist_ok=True)
    shutil.copytree(OWN / "mypkg", folder / "mypkg")
    shutil.copytree(OWN / "mypkg", tmp_path / "mypkg")
    record = json.loads((folder / "run.json").read_text())
    (folder / "run.json").write_text(
        json.dumps({k: v for k, v in record.items() if k not in ("config_sha256", "checkpoints")})
    )
    config = OmegaConf.load(folder / "config.yaml")
    config.hydra = {"searchpath": [f"file://{folder}/conf"], "job": {"env_set": {"GENMODELS_TRUST": "mypkg"}}}
    config.defaults = [{"model": "mine"}]
    OmegaConf.save(config, folder / "config.yaml")
    for place in (tmp_path, folder):
        monkeypatch.chdir(place)
        with pytest.raises(UserError, match="is refused"):
            genmodels.load(folder)
        with pytest.raises(UserError, match="is refused"):
            genmodels.evaluate(folder)
    monkeypatch.setenv(trust.CONFIG, str(tmp_path))  # the user's project, in which the run folder lies
    with pytest.raises(UserError, match="is refused"):
        genmodels.load(folder)
    assert "mypkg" not in sys.modules


def test_a_package_that_is_trusted_but_lies_in_the_current_folder_only_is_not_imported(tmp_path, monkeypatch):
    shutil.copytree(OWN / "mypkg", tmp_path / "mypkg")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv(trust.TRUST, "mypkg")
    monkeypatch.setattr(sys, "path", [place for place in sys.path if place not in ("", os.getcwd())])
    with pytest.raises(UserError, match=r"there is no module mypkg\.models\.mine"):
        resolve(MINE, "model")


def test_what_the_users_options_do_not_name_is_not_built(own):
    assert resolve(MINE, "model").__name__ == "Mine"
    for target in ("mypkg.models.mine.Evil", "mypkg.rest.DummyLogger", "mypkg.models.mine", "torch.nn.Linear"):
        with pytest.raises(UserError, match="is refused"):
            resolve(target, "model")


def test_a_trusted_package_gives_what_it_defines_and_not_what_it_imports(monkeypatch):
    monkeypatch.syspath_prepend(OWN)
    monkeypatch.setenv(trust.TRUST, "other, mypkg")
    assert resolve("mypkg.rest.Ring", "x").__name__ == "Ring"
    for target in ("mypkg.rest.DummyLogger", "mypkg.rest.Path", "mypkg.rest.torch.load", "mypkg.rest.mean_and_error"):
        with pytest.raises(UserError, match=r"refused|no module"):
            resolve(target, "x")


def test_what_is_trusted_is_still_of_the_kind_that_its_place_asks_for(own):
    config = compose(WORDS)
    assert type(build(config.data, "data", DataModule).source).__name__ == "Ring"
    with pytest.raises(
        UserError, match=r"x\._target_=mypkg\.rest\.Ring is refused: x must be an object of class BaseModel"
    ):
        check({"_target_": "mypkg.rest.Ring", "radius": 1.0}, "x", BaseModel)
    with pytest.raises(UserError, match=r"data\.source\.radius must be a number, got 'big'"):
        check({"_target_": "mypkg.rest.Ring", "radius": "big"}, "data.source", Source)


def test_an_error_in_the_users_module_is_told(tmp_path, monkeypatch):
    (tmp_path / "mypkg").mkdir()
    (tmp_path / "mypkg" / "__init__.py").write_text("import nothing_of_the_kind")
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.setenv(trust.TRUST, "mypkg")
    with pytest.raises(
        UserError, match="cannot be imported: ModuleNotFoundError: No module named 'nothing_of_the_kind'"
    ):
        resolve("mypkg.Mine", "model")
