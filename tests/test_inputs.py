"""What cannot be: every wrong input is refused in one sentence that names its key, and nothing is written."""

from __future__ import annotations

import errno
import inspect
import itertools
import json
import os
import shlex
import shutil
import subprocess
import sys

import pytest
import torch
from conformance.kinds import ROOT as REPOSITORY
from conformance.test_laboratory import settings
from lightning import Trainer

from genmodels.cli import COMMANDS, main
from genmodels.errors import UserError, nearest
from genmodels.experiment import run
from genmodels.hints import REMEDIES, is_bad_input, sentence
from genmodels.overrides import check_override, fault, parse
from genmodels.runs import EXPECTED
from genmodels.settings import EXPECTED as ENTRY
from genmodels.settings import ROOT, TRAINER, check_value
from genmodels.tree import groups, owners, takes_none, takes_several

SHORT = ("debug=fast", "data=gaussian", "metrics=[likelihood]", "dry_run=true")  # for inputs that are accepted


@pytest.fixture
def train(tmp_path, monkeypatch, train_py):
    """A function that runs train.py in this process, in an empty folder: status, standard output and error."""

    def call(*words):
        monkeypatch.chdir(tmp_path)
        return train_py(*words)

    return call


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    """The folder of a small trained run, which no test of this file changes."""
    folder = tmp_path_factory.mktemp("inputs")
    run(settings("vae", "gray images", folder, "budget.max_batches=2"))
    return folder / "run"


def key_of(line: str) -> str:
    """The key of a line's last override, as a sentence should name it."""
    words = [word for word in shlex.split(line) if not word.startswith("-")]
    return words[-1].lstrip("+~").partition("=")[0]


def is_one_sentence(err: str, named: str) -> bool:
    return err.startswith("error: ") and len(err.splitlines()) == 1 and "Traceback" not in err and named in err


def choices(group: str) -> list[str]:
    """Choices of a group that cannot be."""
    several = [f"{group}={group}", f"{group}={group},"] if takes_several(group) else [f"{group}=[a,b]", f"{group}=[a]"]
    nothing = [] if takes_none(group) else [f"{group}=[]", f"~{group}"]
    wrong = [f"{group}={value}" for value in ("null", "", "3", "true", "nope", "_base", "../data/digits", "[null]")]
    return [*wrong, f"++{group}=x", *several, *nothing]


OWNERS = {group: " ".join(owners(group)[:1]) for group in groups()}  # a model that has the group, if not all do
GROUPS = [
    f"{owner} {word}".lstrip() for group, owner in OWNERS.items() for word in choices(group) if not word.endswith(",")
]
REMOVED = [f"~{key}" for key in sorted({*ROOT} - {"scheduler"})]
ADDED = [f"+{key}={{}}" if key == "checkpoint" else f"+{key}=1" for key in ("seed", "weights", "budget", "validations")]
ADDED += ["+foo=1", "++foo=1", "+foo.bar=1", "foo=1", "+sed=1", "+modle=vae", "foo/bar=1", "+trainer.foo=1"]

COUNTS = ("null", "0", "-3", "1.5", "inf", "nan", "abc", "true", "[1]", "'{a: 1}'", "''")
VALUES = {
    "seed": ("null", "-1", "4294967296", "1.5", "inf", "nan", "abc", "true", "[1]", "'${nope}'"),
    "run_dir": ("null", "''", "3", "true", "[a]", "'${nope}'"),
    "budget": ("null", "10", "true", "[1]", "foo", "''", "batches:", "batches:0", "inf"),
    "budget.max_batches": ("0", "-3", "inf", "nan", "abc", "true", "[1]", "''"),
    "budget.max_time": ("0", "-3", "inf", "nan", "abc", "true", "[1]"),
    "budget.max_foo": ("3",),
    "default_budget": ("null", "3", "abc"),
    "default_budget.max_batches": ("-1", "nan", "[1]"),
    "validations": COUNTS,
    "checkpoint": ("null", "3", "[1]", "abc"),
    "checkpoint.mode": ("null", "3", "upwards"),
    "checkpoint.minutes": ("null", "0", "-1", "nan", "abc"),
    "weights": ("null", "3", "averaged", "[ema]", "true"),
    "channels_last": ("null", "1", "abc"),
    "compile": ("null", "0", "abc"),
    "dry_run": ("null", "1", "abc"),
    "objective": ("3", "[a,a]", "[]", "''", "true"),
    "expected": ("3", "abc", "[null]", "[3]", "'{metric: a}'"),
    "failure_value": ("null", "nan", "inf", "-inf", "abc", "true", "[1]"),
    "logger.csv": ("null", "3", "[1]"),
    "callbacks.samples": ("3", "abc", "[1]"),
    "metrics.likelihood": ("3", "abc", "[1]"),
    "trainer.accelerator": ("null", "3", "''", "abc"),
    "trainer.devices": ("null", "0", "-2", "5000", "10000000000000", "1.5", "abc", "true", "[]", "[-1]", "[a]", "''"),
    "trainer.num_nodes": COUNTS,
    "trainer.strategy": ("null", "3", "''"),
    "trainer.precision": ("null", "8", "abc", "[32]"),
    "trainer.accumulate_grad_batches": COUNTS,
    "trainer.log_every_n_steps": COUNTS,
    "trainer.limit_val_batches": ("null", "0", "-3", "1.5", "inf", "nan", "abc", "true", "[1]"),
    "trainer.deterministic": ("3", "abc"),
    "trainer.max_epochs": ("null", "0", "5"),
    "trainer.num_sanity_val_steps": ("null", "2", "-1"),
    "trainer.inference_mode": ("null", "true"),
    "trainer.use_distributed_sampler": ("null", "true"),
    "trainer.enable_checkpointing": ("true",),
    "trainer.enable_progress_bar": ("true",),
    "trainer.default_root_dir": ("3", "''"),
    "hydra.run.dir": ("null", "''", "true", "[a]"),
    "hydra.verbose": ("3", "null"),
    "hydra.job.env_copy": ("[NOT_SET_ANYWHERE]",),
    "hydra.callbacks.compare_sweep": ("null", "3"),
    "hydra.mode": ("foo",),
    "hydra/launcher": ("null", "nope", "3"),
    "hydra/sweeper": ("null", "nope"),
    "hydra": ("3", "null"),
}
SPECIFIC = [f"{key}={value}" for key, values in VALUES.items() for value in values if value != "''" or "." not in key]
SPECIFIC += [f"{key}=''" for key, values in VALUES.items() if "''" in values and "." in key]

REFUSED_OF_TRAINER = {
    "+trainer.max_steps=5": "budget.max_batches",
    "+trainer.max_time=10m": "budget.max_time",
    "+trainer.min_epochs=1": "budget.max_epochs",
    "+trainer.min_steps=1": "budget.max_batches",
    "+trainer.fast_dev_run=true": "debug=fast",
    "+trainer.barebones=true": "debug=fast",
    "+trainer.limit_train_batches=3": "data.limit",
    "+trainer.limit_test_batches=0": "data.limit",
    "trainer.limit_test_batches=0": "data.limit",
    "+trainer.limit_predict_batches=1": "data.limit",
    "+trainer.val_check_interval=1": "validations",
    "+trainer.check_val_every_n_epoch=1": "validations",
    "+trainer.gradient_clip_val=1.0": "model.clip_norm",
    "+trainer.gradient_clip_algorithm=norm": "model.clip_norm",
    "+trainer.reload_dataloaders_every_n_epochs=1": "shuffles by itself",
    "+trainer.logger=true": "logger=...",
    "+trainer.callbacks=[]": "callbacks=...",
    "+trainer.overfit_batches=-1": "trainer.overfit_batches",
    "+trainer.grad_clip=1": "unknown key 'trainer.grad_clip'",
    "+trainer.benchmrk=true": "did you mean 'benchmark'",
    "trainer.max_epochs=5": "budget.max_epochs",
    "~trainer.inference_mode": "trainer.inference_mode is missing",
    "~trainer.accelerator": "trainer.accelerator is missing",
    "~trainer._target_": "trainer must be a node",
    "trainer='{max_epochs: 3}'": "budget.max_epochs",
}

SENTENCES = {
    "model": "'model' is not of the form key=value",
    "model==vae": "not of the form key=value",
    "help": "not of the form key=value",
    "=": "not of the form key=value",
    "=3": "not of the form key=value",
    "'~'": "not of the form key=value",
    "'seed=${'": "not of the form key=value",
    "'a b=3'": "not of the form key=value",
    "metrics.fd.n=[": "not of the form key=value",
    "seed=0,1": "add -m to sweep over them",
    "model=vae,gan": "add -m to sweep over them",
    "--model=vae": "overrides are written without dashes",
    "-x": "overrides are written without dashes",
    "--latent-dim 3": "overrides are written without dashes",
    "seed=1 -m seed=2,3": "write options such as -m before or after all overrides",
    "--cfg nope": "--help",
    "--info nope": "--help",
    "--cfg job --info all": "--cfg and --info exclude each other",
    "--resolve": "--resolve needs --cfg job or --help",
    "--config-name": "expected one argument",
    "--config-name nope": "unknown config 'nope'",
    "--config-dir /nowhere": "/nowhere",
    "--experimental-rerun nope": "there is no such file",
    "~model.foo": "the config has no model.foo; did you mean",
    "~model.clip_norm=3": "model.clip_norm has another value",
    "+model.beta=3": "write model.beta=3",
    "model.latent_dim@x=3": "there is no group model.latent_dim",
    "model/sampler=ddim": "it belongs to model=",
    "model/sampler=ddim model/schedule=cosine": "no chosen option has the group model/sampler",
    "+model=gan": "model takes one option; write model=gan",
    "+experiment=gan_digits": "write experiment=gan_digits",
    "metrics=[likelihood,likelihood]": "names likelihood more than once",
    "data=[digits,gaussian]": "data takes one option",
    "experiment=[gan_digits,vae_digits]": "experiment takes one option",
    "callbacks=[]": "callbacks.samples must be a node",  # debug=fast sets a key of it
    "data=npz": "data.source.path must be given on the command line",
    "data=image_folder": "data.source.path must be given on the command line",
    "model._target_=genmodels.models.vae.VEA": "genmodels.models.vae.VEA does not exist; did you mean 'VAE'?",
    "model.foo=3": "unknown key 'model.foo'",
    "model='{foo: 3}'": "unknown key 'model.foo'; did you mean 'model.prior'?",
    "optimizer.lr=3": "did you mean 'model.optimizer'?",
    "model.encoder.width=10000000000": "model.encoder.width must be an integer from 1 to 16384",
    f"hydra.run.dir={'a' * 300}": "File name too long; choose a shorter name",
    "hydra.run.dir=/proc/x": "/proc/x cannot be read or written: No such file or directory; check its name",
    "hydra.run.dir=/dev/null/x": "/dev/null/x cannot be read or written: Not a directory; choose another folder",
    f"run_dir={'a' * 300} dry_run=false": "File name too long; choose a shorter name",
    "scheduler=none scheduler.warmup=0.5": "unknown key 'scheduler.warmup'",
    "run_dir=/proc/x dry_run=false": "/proc/x cannot be read or written: No such file or directory",
    "seed=0,abc -m": "seed must be an integer",
    "seed=0,1 failure_value=abc -m": "failure_value must be a finite number",
    "model=vae,null -m": "model needs an option",
    "model=vae,3 -m": "unknown model '3'",
    "hydra.run.dir=a,b -m": "one sweep has one value",
    "hydra.sweep.dir=/proc/x seed=0,1 -m": "/proc/x cannot be read or written",
    "hydra.sweep.subdir=null seed=0,1 -m": "hydra.sweep.subdir must be",
    "seed=range(0,3,0) -m": "must not be zero",
    "model=vae,realnvp model/sampler=ddim -m": "it belongs to model=",
}  # fmt: skip


def refuse(train, tmp_path, line: str, named: str) -> None:
    status, out, err = train(*SHORT, *shlex.split(line))
    assert (status, out) == (1, "") and is_one_sentence(err, named), (status, out, err)
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("line", [*GROUPS, *REMOVED, *ADDED, *SPECIFIC])
def test_a_wrong_value_is_refused_with_its_key(line, train, tmp_path):
    key = key_of(line)
    refuse(train, tmp_path, line, "foo" if "foo" in key else key)


@pytest.mark.parametrize("line", REFUSED_OF_TRAINER)
def test_what_the_trainer_must_not_do_names_the_key_to_use_instead(line, train, tmp_path):
    refuse(train, tmp_path, line, REFUSED_OF_TRAINER[line])


@pytest.mark.parametrize("line", SENTENCES)
def test_wrong_words_say_what_to_write(line, train, tmp_path):
    refuse(train, tmp_path, line, SENTENCES[line])


ACCEPTED = [
    "hydra.run.dir=3",
    "experiment=[]",
    "~experiment",
    "scheduler=none",
    "experiment=ddpm_digits scheduler=none data=gaussian",
    "logger=[]",
    "callbacks=[] ~callbacks.samples",
    "callbacks.samples=null",
    "metrics=fd",
    "+metrics=fd",
    "trainer.devices=auto",
    "+trainer.benchmark=true",
    "trainer.limit_val_batches=2",
    "model=gan model/optimizer@model.discriminator_optimizer=sgd",
    "'expected={metric: a, value: 1, tolerance: 0.5, source: b}'",
]


@pytest.mark.parametrize("line", ACCEPTED)
def test_what_makes_sense_is_accepted(line, train, tmp_path):
    status, out, err = train(*SHORT, *shlex.split(line))
    assert status == 0 and "parameters" in out, err
    assert not list(tmp_path.iterdir())


def test_the_trainers_keys_are_lightnings():
    assert {*inspect.signature(Trainer).parameters} == {*TRAINER} - {"_target_"}
    assert ENTRY == EXPECTED


@pytest.mark.parametrize("value", ["0", "1"])
def test_hydras_own_switch_for_tracebacks_changes_nothing(value, tmp_path):
    command = [sys.executable, str(REPOSITORY / "train.py"), "model=vea"]
    environment = {**os.environ, "HYDRA_FULL_ERROR": value}
    done = subprocess.run(command, cwd=tmp_path, env=environment, capture_output=True, text=True)
    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr == "error: unknown model 'vea'; did you mean 'vae'?\n"
    assert not list(tmp_path.iterdir())


def test_a_composed_config_is_checked_before_torch_is_imported(tmp_path):
    code = (
        "import sys, runpy; sys.argv = ['train.py', *sys.argv[1:]]\n"
        "try: runpy.run_path('train.py', run_name='__main__')\n"
        "finally: assert 'torch' not in sys.modules"
    )
    command = [sys.executable, "-c", code, "trainer={max_epochs: 3}", f"hydra.run.dir={tmp_path / 'a/b/c'}"]
    done = subprocess.run(command, cwd=REPOSITORY, capture_output=True, text=True)
    assert done.stderr == "error: trainer.max_epochs must be -1, got 3; set budget.max_epochs instead.\n"
    assert not list(tmp_path.iterdir())


OF_FILES = {
    "foo: 1": "unknown key 'foo'; choose one of",
    "budjet: {max_batches: 3}": "unknown key 'budjet'; did you mean 'budget'?",
    "seed: abc": "seed must be an integer from 0",
    "model: null": "model must be a node with a _target_, got null",
    "trainer: {max_steps: 3}": "set budget.max_batches instead",
    "failure_value: abc": "failure_value must be a finite number",
    "budget: {max_batch: 3}": "did you mean 'max_batches'?",
}


@pytest.mark.parametrize("text", OF_FILES)
def test_a_recipe_is_checked_as_the_command_line_is(text, train, tmp_path, tmp_path_factory):
    folder = tmp_path_factory.mktemp("conf") / "experiment"
    folder.mkdir()
    (folder / "mine.yaml").write_text(f"# @package _global_\n{text}\n")
    refuse(train, tmp_path, f"experiment=mine --config-dir {folder.parent}", OF_FILES[text])


# The commands on run folders


@pytest.fixture
def fails(capfd, tmp_path, monkeypatch):
    def call(*words):
        monkeypatch.chdir(tmp_path)
        with pytest.raises(SystemExit) as stop:
            main(list(words))
        out, err = capfd.readouterr()
        assert (stop.value.code, out) == (1, ""), out
        return err

    return call


@pytest.mark.parametrize("command", COMMANDS)
@pytest.mark.parametrize("word", ["--help", "-h", "help"])
def test_every_command_has_help(command, word, capsys):
    with pytest.raises(SystemExit) as stop:
        main([command, word])
    out, err = capsys.readouterr()
    assert (stop.value.code, err) == (0, "")
    assert out.startswith(f"usage: genmodels {command} ") and all(
        f"--{name}" in out for name in COMMANDS[command].options
    )


@pytest.mark.parametrize("words", [[], ["--help"], ["-h"], ["help"]], ids=str)
def test_the_help_lists_every_command(words, capsys):
    with pytest.raises(SystemExit) as stop:
        main(words)
    out, err = capsys.readouterr()
    assert (stop.value.code, err) == (0, "") and all(f"\n    {command}" in out for command in COMMANDS)


WORDS_OF_COMMANDS = {
    "evalute": "did you mean 'evaluate'?",
    "--foo": "--help",
    "evaluate": "name a run folder: run=FOLDER",
    "evaluate run=": "expected a value",
    "evaluate --run": "expected one argument",
    "evaluate --rn=x": "unknown option '--rn=x'; did you mean 'run'?",
    "evaluate -x": "unknown option '-x'",
    "evaluate run=/nowhere": "/nowhere",
    "resume run=/nowhere": "/nowhere",
    "sample run=/nowhere": "/nowhere",
    "check run=/nowhere": "/nowhere",
    "compare": "name one or more folders",
    "compare /nowhere format=pdf": "format=pdf",
}


@pytest.mark.parametrize("line", WORDS_OF_COMMANDS)
def test_wrong_words_of_a_command_say_what_to_write(line, fails):
    assert is_one_sentence(fails(*line.split()), WORDS_OF_COMMANDS[line])


OF_RUNS = [
    *(f"{key}={value}" for key in ("seed", "weights", "validations") for value in ("null", "abc", "[1]")),
    *("~seed", "~weights", "~trainer.accelerator", "~model", "~callbacks", "+foo=1", "+seed=1", "foo=1"),
    *("metrics=null", "metrics=3", "metrics=", "metrics=[3]", "metrics=[nope]", "metrics=[fd,fd]", "logger.csv=null"),
    *("budget=10", "budget=null", "+budget.foo=3", "trainer.max_epochs=3", "+trainer.max_steps=3", "trainer.devices=0"),
    *("model.latnt_dim=3", "~model.latnt_dim", "model", "seed=0,1", "hydra.run.dir=x", "data=digits"),
    *("model/sampler=ddim", "failure_value=abc", "debug=fast", "experiment=vae_digits"),
    *("trainer=null", "trainer.precision=abc", "model._target_=genmodels.models.vae.VEA"),
]  # fmt: skip


COMMANDS_OF_RUNS = ("evaluate", "resume", "sample")  # in turn, since all three compose the run's config by one function


@pytest.mark.parametrize(("command", "line"), [*zip(itertools.cycle(COMMANDS_OF_RUNS), OF_RUNS, strict=False)])
def test_a_wrong_word_for_a_run_is_refused_with_its_key(command, line, trained, fails):
    before = {path: path.read_bytes() for path in trained.rglob("*") if path.is_file()}
    assert is_one_sentence(fails(command, f"run={trained}", line), "foo" if "foo" in line else key_of(line))
    assert before == {path: path.read_bytes() for path in trained.rglob("*") if path.is_file()}


def test_a_run_whose_config_lacks_a_key_names_it(trained, fails, tmp_path):
    copy = shutil.copytree(trained, tmp_path / "copy")
    text = (copy / "config.yaml").read_text()
    (copy / "config.yaml").write_text(text.replace("weights: ema\n", ""))
    record = json.loads((copy / "run.json").read_text())
    (copy / "run.json").write_text(json.dumps({k: v for k, v in record.items() if k != "config_sha256"}))
    assert is_one_sentence(fails("evaluate", f"run={copy}"), "weights is missing in the config")


def test_a_typo_does_not_print_every_key():
    assert nearest("zzz", map(str, range(100))).count(",") == 20


# Errors of the machine


@pytest.mark.parametrize("number", REMEDIES, ids=errno.errorcode.get)
def test_what_the_operating_system_refuses_is_one_sentence(number):
    error = OSError(number, os.strerror(number), "/a/run.json")
    said = sentence(error)
    assert is_bad_input(error) and said.startswith("/a/run.json cannot be read or written: ")
    assert os.strerror(number) in said and REMEDIES[number] in said and "\n" not in said
    assert sentence(OSError(number, os.strerror(number))).startswith("reading or writing failed: ")


def test_an_error_that_only_looks_like_one_of_the_system_keeps_its_traceback():
    assert not is_bad_input(OSError("a library's own")) and not is_bad_input(RuntimeError("a defect"))


def test_memory_that_cannot_be_had_is_one_sentence(train, tmp_path):
    refuse(train, tmp_path, "data=digits model.encoder.width=16384", "the network needs")


def test_memory_is_recognized_by_type():
    assert is_bad_input(MemoryError()) and is_bad_input(torch.OutOfMemoryError("CUDA out of memory"))
    with pytest.raises(RuntimeError) as caught:
        torch.empty(10**14)
    assert sentence(caught.value) == sentence(MemoryError())


# The functions that find them


def test_a_word_is_examined_whatever_the_others_are():
    for word in (
        "seed=3",
        "model=vae",
        "metrics=[fd,likelihood]",
        "+model.x=3",
        "~callbacks.samples",
        "data={limit: 3}",
    ):
        check_override(parse([word])[0])
    check_override(parse(["seed=0,1"])[0], sweep=True)
    check_override(parse(["model=glob(*)"])[0], sweep=True)
    with pytest.raises(UserError, match="several values"):
        check_override(parse(["seed=0,1"])[0])


def test_interpolations_are_left_to_the_composed_config():
    check_override(parse(["seed='${data.limit}'"])[0])
    check_value("model.anything", object())


def test_a_config_that_can_be_composed_has_no_fault():
    from genmodels.composition import compose_train

    assert fault(["model=gan", "model/optimizer=sgd", "+model.x=3"], compose_train) is None
    assert "model/sampler" in str(fault(["model/sampler=ddim", "model=gan"], compose_train))
    assert fault(["model/sampler=ddim", "model=ddpm"], compose_train) is None
