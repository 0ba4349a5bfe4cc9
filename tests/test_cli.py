"""The console script, on run folders."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
import time

import numpy as np
import pytest
import torch
from conformance.kinds import ROOT
from conformance.test_laboratory import settings
from omegaconf import OmegaConf
from processes import CONTEXT

from genmodels.cli import main
from genmodels.compare import compared, find_runs
from genmodels.compare.results import sentences
from genmodels.experiment import run
from genmodels.runs import read_checkpoint


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    """The folder of a small trained run, which tests copy before they change it."""
    folder = tmp_path_factory.mktemp("cli")
    run(settings("vae", "gray images", folder, "budget.max_batches=4", "validations=2"))
    return folder / "run"


@pytest.fixture
def copy(trained, tmp_path):
    return shutil.copytree(trained, tmp_path / "copy")


@pytest.fixture
def fails(capsys):
    def call(*words):
        with pytest.raises(SystemExit) as stop:
            main(list(words))
        assert stop.value.code == 1
        return capsys.readouterr().err

    return call


RAW = "bits_per_dim[weights=raw]"


def record(folder):
    return json.loads((folder / "run.json").read_text())


def test_evaluate_again_gives_the_same_number(copy):
    before = record(copy)
    main(["evaluate", f"run={copy}"])
    assert record(copy)["metrics"] == before["metrics"]
    assert record(copy)["started"] == before["started"]


def test_the_order_of_words_does_not_matter(copy):
    main(["evaluate", f"run={copy}", "metrics.likelihood.samples=5", "metrics=[likelihood]"])
    assert record(copy)["metrics"]["bits_per_dim_k5"]["protocol"]["importance_samples"] == 5


def test_evaluate_with_importance_samples_tightens_the_bound(copy):
    before = record(copy)["metrics"]["bits_per_dim"]["value"]
    main(["evaluate", f"run={copy}", "metrics.likelihood.samples=50"])
    after = record(copy)["metrics"]["bits_per_dim_k50"]
    assert after["value"] < before == record(copy)["metrics"]["bits_per_dim"]["value"]
    assert after["protocol"]["importance_samples"] == 50


def test_scores_of_raw_weights_and_of_another_checkpoint_do_not_replace_the_runs_own(copy):
    own = record(copy)["metrics"]
    main(["evaluate", f"run={copy}", "weights=raw"])
    main(["evaluate", f"run={copy}", "checkpoint=last.ckpt"])
    scores = record(copy)["metrics"]
    assert set(scores) == {"bits_per_dim", RAW, "bits_per_dim[checkpoint=last.ckpt]"} and own.items() <= scores.items()
    assert scores[RAW]["value"] != own["bits_per_dim"]["value"]
    protocol = {name: scores[RAW]["protocol"][name] for name in ("checkpoint", "weights", "seed")}
    assert protocol == {"checkpoint": "best.ckpt", "weights": "raw", "seed": 0}


@pytest.mark.parametrize("word", ["data.limit=4", "seed=5", "model.sample_mean=true", "trainer.precision=bf16-mixed"])
def test_scores_of_other_settings_stand_beside_the_runs_own(copy, word):
    own = record(copy)["metrics"]
    pictures = {path: path.read_bytes() for path in (copy / "samples").iterdir()}
    main(["evaluate", f"run={copy}", word])
    scores = record(copy)["metrics"]
    key, _, value = word.partition("=")
    name = f"bits_per_dim[{key}={'True' if value == 'true' else value}]"
    assert set(scores) == {"bits_per_dim", name} and own.items() <= scores.items()
    assert {path: path.read_bytes() for path in (copy / "samples").iterdir()} == pictures
    results = compared(find_runs(copy))
    (data,) = results.data
    assert {column.name for column in results.columns} == {"bits_per_dim", name}
    assert f"{name} of VAE" in " ".join(sentences(results, data))


def test_other_data_are_named_in_the_score_and_changed_data_are_noticed(copy, tmp_path, fails):
    own, config = record(copy)["metrics"], OmegaConf.load(copy / "config.yaml")
    arrays = dict(np.load(config.data.source.path))
    other = tmp_path / "other.npz"
    np.savez(other, **{name: 16 - x for name, x in arrays.items()})
    main(["evaluate", f"run={copy}", f"data.source.path={other}"])
    (name,) = set(record(copy)["metrics"]) - set(own)
    assert name.startswith(f"bits_per_dim[data.source.path={other}, data=")
    config.data.source.path = str(tmp_path / "changed.npz")
    OmegaConf.save(config, copy / "config.yaml")
    assert "config.yaml has changed since it was written" in fails("evaluate", f"run={copy}")
    forget(copy, "config_sha256")
    shutil.copy(other, tmp_path / "changed.npz")
    main(["evaluate", f"run={copy}"])
    (name,) = (n for n in record(copy)["metrics"] if n not in own and "path" not in n)
    assert name.startswith("bits_per_dim[data=")
    assert "have changed since it was trained" in fails("resume", f"run={copy}", "budget.max_batches=9")
    assert own.items() <= record(copy)["metrics"].items()


def test_scores_of_an_earlier_checkpoint_are_set_apart_when_training_goes_on(copy):
    main(["evaluate", f"run={copy}", "metrics.likelihood.samples=5"])
    main(["evaluate", f"run={copy}", "weights=raw"])
    before = record(copy)["metrics"]
    main(["resume", f"run={copy}", "budget.max_batches=8"])
    after = record(copy)["metrics"]
    assert after[f"{RAW}[batches=4]"] == before[RAW] and RAW not in after
    assert after["bits_per_dim_k5[batches=4]"] == before["bits_per_dim_k5"] and "bits_per_dim_k5" not in after
    own, earlier = (scores["bits_per_dim"]["protocol"]["checkpoint_sha256"] for scores in (after, before))
    assert own != earlier


def test_a_run_without_a_checkpoint_starts_again_by_the_advice_that_is_given(copy, fails, capsys):
    shutil.rmtree(copy / "checkpoints")
    assert "best.ckpt; copy the run folder again" in fails("evaluate", f"run={copy}")
    forget(copy, "checkpoints")
    assert f"train it first: genmodels resume run={copy}" in fails("evaluate", f"run={copy}")
    assert f"train it first: genmodels resume run={copy}" in fails("sample", f"run={copy}")
    main(["resume", f"run={copy}"])
    assert "training starts from the beginning" in capsys.readouterr().out
    cost = record(copy)["cost"]
    assert record(copy)["status"] == "finished" and cost["batches"] == 4
    assert cost["fit_seconds"] > cost["train_seconds"] > 0 < cost["evaluation_seconds"]
    assert "holds best.ckpt, last.ckpt" in fails("evaluate", f"run={copy}", "checkpoint=foo.ckpt")


def test_a_new_learning_rate_takes_effect_when_training_goes_on(copy):
    main(["resume", f"run={copy}", "budget.max_batches=6", "model.optimizer.lr=0.25", "scheduler=constant"])
    (saved,) = read_checkpoint(copy / "checkpoints" / "last.ckpt")["optimizer_states"]
    assert saved["param_groups"][0]["lr"] == 0.25


def test_saved_samples_are_scored_without_sampling_again(copy, tmp_path, fails):
    main(["sample", f"run={copy}", "n=6", f"out={tmp_path / 'a.npz'}"])
    memorization = ["metrics=[memorization]", "metrics.memorization.n=6"]
    main(["evaluate", f"run={copy}", f"samples={tmp_path / 'a.npz'}", *memorization])
    (name,) = (name for name in record(copy)["metrics"] if name.startswith("nearest_ratio_6[samples=a.npz@"))
    given = record(copy)["metrics"][name]
    assert given["protocol"]["samples_file"] == "a.npz" and given["protocol"]["sampling"] == {"observation": "draw"}
    assert (copy / "evaluation" / "neighbors.png").exists() and not (copy / "samples" / "drawn.npz").exists()
    main(["evaluate", f"run={copy}", *memorization])
    drawn = record(copy)["metrics"]["nearest_ratio_6"]
    assert drawn["value"] == pytest.approx(given["value"], rel=1e-6)  # the same seed draws the same samples
    main(["evaluate", f"run={copy}", f"samples={copy / 'samples' / 'drawn.npz'}", *memorization])
    again = record(copy)["metrics"]["nearest_ratio_6"]  # of the run's own samples
    assert again["value"] == drawn["value"] and again["protocol"]["samples_file"] == "drawn.npz"
    memorization[1] = "metrics.memorization.n=7"
    assert "holds 6 samples" in fails("evaluate", f"run={copy}", f"samples={tmp_path / 'a.npz'}", *memorization)
    (tmp_path / "b.npz").write_bytes(b"no array")
    assert "cannot be read" in fails("evaluate", f"run={copy}", f"samples={tmp_path / 'b.npz'}", *memorization)
    np.savez(tmp_path / "c.npz", x=np.zeros((20, 3), np.float32))
    assert "not of the run's data" in fails("evaluate", f"run={copy}", f"samples={tmp_path / 'c.npz'}", *memorization)


def test_sample_as_picture_and_as_array(copy, tmp_path):
    main(["sample", f"run={copy}", "n=5", f"out={tmp_path / 'a.png'}"])
    main(["sample", f"run={copy}", "n=5", f"out={tmp_path / 'a.npz'}"])
    assert (tmp_path / "a.png").exists()
    assert (tmp_path / "a_interpolation.gif").exists() and not (tmp_path / "a_denoising.gif").exists()
    assert np.load(tmp_path / "a.npz")["x"].shape == (5, 1, 8, 8)


def test_resume_continues_to_the_new_budget(copy):
    before = record(copy)
    main(["resume", f"run={copy}"])
    assert record(copy)["config_hash"] == before["config_hash"] and record(copy)["overrides"] == before["overrides"]
    main(["resume", f"run={copy}", "budget.max_batches=7"])
    assert record(copy)["cost"]["batches"] == 7
    assert record(copy)["status"] == "finished"
    assert record(copy)["overrides"] == [*before["overrides"], "budget.max_batches=7"]
    assert record(copy)["config_hash"] != before["config_hash"]
    assert "continued" not in before and record(copy)["continued"] == [f"{before['config_hash']} until batch 4"]


REFUSED = ["model.latent_dim=5", "data.limit=0", "model.optimizer.lr=-1", "model/optimizer=sgd", "data.source.path=x"]


@pytest.mark.parametrize("word", REFUSED)
def test_a_refused_resume_leaves_the_folder_as_it_was(copy, fails, word):
    before = {path: path.read_bytes() for path in copy.rglob("*") if path.is_file()}
    assert len(fails("resume", f"run={copy}", "budget.max_batches=9", word).splitlines()) == 1
    assert before == {path: path.read_bytes() for path in copy.rglob("*") if path.is_file()}


@pytest.mark.parametrize("word", ["budget.max_batches=2", "budget.max_examples=8", "model.beta=3"])
def test_a_spent_budget_is_no_training_under_other_settings(copy, fails, word):
    """The scores of the weights that are there would else be those of a config that never trained them."""
    before = {path: path.read_bytes() for path in copy.rglob("*") if path.is_file()}
    assert "nothing would be trained under the new settings" in fails("resume", f"run={copy}", word)
    assert before == {path: path.read_bytes() for path in copy.rglob("*") if path.is_file()}


def test_a_folder_that_was_moved_is_resumed_where_it_is(copy, trained):
    pictures = sorted((trained / "samples").iterdir())
    main(["resume", f"run={copy}", "budget.max_batches=8", "callbacks.samples.n=4"])
    assert (copy / "samples" / "0000008.png").exists()
    assert sorted((trained / "samples").iterdir()) == pictures


def test_the_run_is_named_in_two_spellings_and_under_the_home_folder(copy, tmp_path, monkeypatch):
    monkeypatch.setenv("HOME", str(copy.parent))
    main(["sample", "--run", f"~/{copy.name}", "--n=5", "out=~/a.npz", "model.sample_mean=true"])
    assert np.load(copy.parent / "a.npz")["x"].shape == (5, 1, 8, 8)


@pytest.mark.parametrize("words", [["--help"], ["sample", "--help"], ["compare", "-h"], []], ids=" ".join)
def test_help_needs_no_torch(words):
    code = (
        "import sys; from genmodels.cli import main\n"
        "try: main(sys.argv[1:])\n"
        "finally: assert 'torch' not in sys.modules"
    )
    done = subprocess.run([sys.executable, "-c", code, *words], cwd=ROOT, capture_output=True, text=True, check=True)
    assert done.stdout.startswith(f"usage: genmodels{' ' + words[0] if len(words) > 1 else ''}")


def test_compare_prints_each_run(trained, capsys):
    main(["compare", str(trained.parent)])
    out = capsys.readouterr().out
    assert "VAE" in out
    assert "<=" in out


def test_not_a_run_folder(fails, tmp_path):
    assert "is not a run folder" in fails("evaluate", f"run={tmp_path}")


@pytest.mark.parametrize("words", [["model=vae"], ["-m", "model=vae,gan"], ["--cfg", "job"]], ids=" ".join)
def test_words_of_training_without_the_command(fails, words):
    assert f"a command comes first, as in: genmodels train {' '.join(words)}" in fails(*words)


def test_unknown_command_and_key(fails, copy):
    assert "did you mean 'evaluate'" in fails("evalute", f"run={copy}")
    assert "unknown metrics 'kdd'; did you mean 'kd'" in fails("evaluate", f"run={copy}", "metrics=[kdd]")
    assert "did you mean 'model.latent_dim'" in fails("sample", f"run={copy}", "model.latnt_dim=2")
    assert "name a run folder: run=FOLDER" in fails("sample")
    assert "unknown option '--rum=x'; did you mean 'run'" in fails("resume", "--rum=x")
    assert "data is chosen before training" in fails("evaluate", f"run={copy}", "data=mnist")
    assert "this run has no model.sampler" in fails("sample", f"run={copy}", "model/sampler=ddim")


def test_a_checkpoint_of_another_model(fails, copy, tmp_path):
    other = tmp_path / "other"
    other.mkdir()
    run(settings("realnvp", "gray images", other))
    shutil.copy(other / "run" / "checkpoints" / "best.ckpt", copy / "checkpoints" / "best.ckpt")
    assert "best.ckpt has changed since it was saved" in fails("evaluate", f"run={copy}")
    forget(copy, "checkpoints")
    assert "is of RealNVP on data [1, 8, 8], not of VAE" in fails("evaluate", f"run={copy}")


def forget(folder, entry):
    """Make the run one of before its record had hashes."""
    (folder / "run.json").write_text(json.dumps({k: v for k, v in record(folder).items() if k != entry}))


@pytest.mark.parametrize("known", [True, False])
def test_a_flipped_bit_in_a_checkpoint_is_noticed(fails, copy, known):
    path = copy / "checkpoints" / "best.ckpt"
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.write_bytes(content)
    if not known:
        forget(copy, "checkpoints")
    words = {True: "has changed since it was saved", False: "check sum"}[known]
    assert words in fails("evaluate", f"run={copy}") and words in fails("sample", f"run={copy}")


class Malicious:
    def __reduce__(self):
        return (print, ("code ran",))


@pytest.mark.parametrize("content", ["truncated", "code"])
def test_a_checkpoint_that_is_none(fails, copy, content, capsys):
    path = copy / "checkpoints" / "best.ckpt"
    if content == "truncated":
        path.write_bytes(path.read_bytes()[:1000])
    else:
        torch.save(Malicious(), path)
    forget(copy, "checkpoints")
    err = fails("evaluate", f"run={copy}")
    assert "is not a checkpoint that can be read" in err
    assert "code ran" not in capsys.readouterr().out + err


@pytest.mark.slow
def test_annealing_that_is_killed_continues_where_it_was(copy, capsys):
    annealing = ["metrics=[ais]", "metrics.ais.images=4", "metrics.ais.batch_size=1", "metrics.ais.simulated=1",
                 "metrics.ais.temperatures=40"]  # fmt: skip
    words = ["evaluate", f"run={copy}", *annealing]
    process = CONTEXT.Process(target=main, args=(words,))
    process.start()
    deadline = time.monotonic() + 120
    while not list(copy.glob("evaluation/ais-*.jsonl")) and time.monotonic() < deadline:
        time.sleep(0.05)
    process.terminate()
    process.join(60)
    assert process.exitcode not in (0, None)
    (resumable,) = copy.glob("evaluation/ais-*.jsonl")
    done = resumable.read_text()
    assert 1 <= done.count("\n") < 5 and "ais_bits_per_dim" not in record(copy)["metrics"]
    main(words)
    assert resumable.read_text().startswith(done) and resumable.read_text().count("\n") == 5
    assert record(copy)["metrics"]["ais_bits_per_dim"]["n"] == 4


def test_what_was_measured_before_an_evaluation_breaks_is_kept(copy, fails, tmp_path):
    before = record(copy)["metrics"]
    np.savez(tmp_path / "few.npz", x=np.zeros((3, 1, 8, 8), np.uint8))
    broken = ["metrics=[likelihood,memorization]", "metrics.likelihood.samples=2", "metrics.memorization.n=5"]
    assert "holds 3 samples" in fails("evaluate", f"run={copy}", f"samples={tmp_path / 'few.npz'}", *broken)
    (added,) = set(record(copy)["metrics"]) - set(before)
    assert added.startswith("bits_per_dim_k2[samples=few.npz@")


def test_check_finds_the_recipe_that_a_run_names(copy, fails, capsys):
    (copy / "config.yaml").unlink()  # only the record is read
    bits = record(copy)["metrics"]["bits_per_dim"] | {"value": 1.85}
    found = record(copy) | {"metrics": {"bits_per_dim": bits, "fd_digits_360": bits | {"value": 16.0}}}
    given = ["experiment=vae_digits", "seed=1", "model.beta=2"]

    def keep(**entries):
        (copy / "run.json").write_text(json.dumps(found | {"model": "VAE", "data": "digits"} | entries))

    keep(overrides=given, expected=None)
    main(["check", f"run={copy}"])
    out = capsys.readouterr().out
    assert out.count(": reached.") == 2 and "The run changes its recipe: model.beta=2." in out
    keep(overrides=[], expected=None)
    assert "name one: experiment=..." in fails("check", f"run={copy}")
    main(["check", f"run={copy}", "experiment=vae_digits"])
    out = capsys.readouterr().out
    assert out.count(": reached.") == 2 and "changes" not in out
    assert "for GAN on digits, the run is VAE on digits" in fails("check", f"run={copy}", "experiment=gan_digits")
    keep(overrides=["experiment=../../x"], expected=None)
    assert "unknown recipe '../../x'" in fails("check", f"run={copy}")
    keep(overrides=given, expected={"metric": "bits_per_dim", "value": 1.0, "tolerance": 0.1, "source": "its own"})
    assert "its own): missed by 0.750" in fails("check", f"run={copy}")  # what the run itself recorded comes first
    assert "takes only a run folder and experiment=" in fails("check", f"run={copy}", "seed=3")


def test_check_compares_a_run_with_its_recipe(copy, fails, capsys):
    assert "without a recipe" in fails("check", f"run={copy}")
    value = record(copy)["metrics"]["bits_per_dim"]["value"]

    def expect(**changes):
        expected = {"metric": "bits_per_dim", "value": value, "tolerance": 0.05, "source": "a paper"} | changes
        (copy / "run.json").write_text(json.dumps(record(copy) | {"expected": expected}))

    for reached in (value, value - 0.04, value + 9):
        expect(value=reached)
        main(["check", f"run={copy}"])
        assert "(a paper): reached." in capsys.readouterr().out
    expect(value=value - 0.06)
    assert "(a paper): missed by 0.010." in fails("check", f"run={copy}")
    two = [{"metric": "bits_per_dim", "value": v, "tolerance": 0.05, "source": "a paper"} for v in (value, value - 1)]
    (copy / "run.json").write_text(json.dumps(record(copy) | {"expected": two}))
    error = fails("check", f"run={copy}")
    assert "(a paper): reached." in error and "(a paper): missed by 0.950." in error
    expect(metric="fid_1")
    assert "fid_1, which the recipe expects, was not measured" in fails("check", f"run={copy}")
