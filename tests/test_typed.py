"""A config that is only shown: what training refuses is refused, and torch is imported only if there is need."""

from __future__ import annotations

import subprocess
import sys

import pytest
from test_values import WHOLE, composed, leaves

import genmodels
from genmodels import typed
from genmodels.annotations import UNKNOWN, fits, kinds
from genmodels.builder import parameters, resolve
from genmodels.errors import UserError
from genmodels.instruments import PLACES
from genmodels.typed import check_shown, plain_types

WRONG = {
    "model.latent_dim=abc": "model.latent_dim must be an integer or null, got 'abc'.",
    "data.batch_size=1.5": "data.batch_size must be an integer, got 1.5.",
    "data.spec.shape=[1,a]": "data.spec.shape must be a list, each item an integer, got [1, 'a'].",
    "metrics.fd.n=[1]": "metrics.fd.n must be an integer or null, got [1].",
    "model=maf model.order=none": "model.order must be sequential or random, got 'none'.",
    "callbacks.samples.n=null": "callbacks.samples.n must be an integer, got null.",
    "model.encoder.width=true": "model.encoder.width must be an integer, got True.",
    "model.latent_dim=${data.name}": "model.latent_dim must be an integer or null, got 'digits'.",
    "model.optimizer.lr=a": "model.optimizer.lr must be a number or an object of class Tensor, got 'a'.",
    "model.optimizer.lr=inf": "model.optimizer.lr must be a finite number, got inf.",
    "model.optimizer.betas=[0.5,a]": None,
    "scheduler.warmup=a": "scheduler.warmup must be a number, got 'a'.",
    "model.encoder=null": "model.encoder must be a factory of class Module, got null.",
    "+model.optimizer.foreach=a": "model.optimizer.foreach must be true or false or null, got 'a'.",
    "+model/sampler@model.encoder=ddim": None,
    "model.spec={shape:[2]}": None,
    "model=ddpm model/objective=hinge model.latent=3": None,
    "model.latent_dim=${nothing}": None,
    "checkpoint.minutes=a": "checkpoint.minutes must be a number, got 'a'.",
    "logger.csv.folder=3": "logger.csv.folder must be text or a path, got 3.",
}


def test_places_of_objects_are_known_without_torch():
    assert set(typed.BUILT) == set(PLACES)


@pytest.mark.slow
@pytest.mark.parametrize("words", WRONG)
def test_what_training_refuses_is_refused_in_the_same_sentence(words, train_py, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    status, out, error = train_py("--cfg", "job", *words.split())
    with pytest.raises(UserError) as caught:
        genmodels.train(*words.split())
    assert (status, out, error) == (1, "", f"error: {caught.value}\n")
    assert str(caught.value) == WRONG[words] or WRONG[words] is None


def test_the_help_refuses_it_too(train_py):
    status, _, error = train_py("--help", "model.latent_dim=abc")
    assert (status, error) == (1, f"error: {WRONG['model.latent_dim=abc']}\n")


RIGHT = [
    "", "model.latent_dim=8 model.optimizer.lr=1e-2 model.optimizer.betas=[0.1,0.2] metrics.fd.n=100 data.root=/data",
    "data=npz data.source.path=x.npz data.batch_size=3 data.spec.shape=[1,4,4] checkpoint.monitor=val/nats",
    "model/optimizer=sgd ~callbacks.samples seed=3 trainer.devices=2 model.clip_norm=null scheduler.warmup=0.5",
    "model.latent_dim=${data.spec.levels} +metrics=kd experiment=vae_digits model.beta=2",
    "model=gan,vae model.latent_dim=3,4",
]  # fmt: skip
FAST = """
import sys
from genmodels.typed import check_shown
for words in {words}:
    check_shown(words.split())
    assert "torch" not in sys.modules, words
"""


def test_what_fits_is_shown_without_torch():
    subprocess.run([sys.executable, "-c", FAST.format(words=RIGHT)], check=True)


def test_the_source_says_what_the_signatures_say():
    """Of every class and function of genmodels that an option describes: the plain types, and no others."""
    seen = set()
    for words in WHOLE:
        for target, path in leaves(composed(words)):
            if target and target.startswith("genmodels.") and target not in seen:
                seen.add(target)
                real = parameters(resolve(target, ".".join(path)))
                for name, hint in plain_types(target).items():
                    assert real[name] == hint and not kinds(hint) and hint not in UNKNOWN, (target, name)
    found = sum(len(plain_types(target)) for target in seen)
    assert len(seen) > 50 and found > 200


def test_a_number_like_that_of_an_option_fits_its_place():
    """So that what the source does not say need not be looked up."""
    for words in WHOLE:
        for target, path in leaves(composed(words)):
            value = composed(words)
            for part in path:
                value = value[part]
            if target and isinstance(value, (int, float)):
                hint = parameters(resolve(target, "x"))[path[-1]]
                assert not typed.alike(value + 1, value) or fits(value + 1, hint), (target, path)


def test_options_of_ones_own_are_checked(tmp_path, monkeypatch):
    (tmp_path / "model").mkdir()
    (tmp_path / "model" / "own.yaml").write_text("defaults: [vae]\nlatent_dim: many\n")
    monkeypatch.setenv("GENMODELS_CONFIG", str(tmp_path))
    with pytest.raises(UserError, match=r"^model\.latent_dim must be an integer or null, got 'many'\.$"):
        check_shown(["model=own"])
