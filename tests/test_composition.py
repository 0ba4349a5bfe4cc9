"""The configuration tree: its groups, and the config of a trained run composed with overrides."""

from __future__ import annotations

import pytest
from hydra.core.config_store import ConfigStore
from omegaconf import OmegaConf

from genmodels.composition import check_parts, compose, compose_run, options
from genmodels.errors import UserError
from genmodels.untrusted import literal


def trained(*words):
    """The content of a run folder's config.yaml."""
    config = compose(["run_dir=/runs/a", *words])
    return OmegaConf.create(OmegaConf.to_yaml(config, resolve=True))


def composed(config, *words):
    return OmegaConf.to_container(compose_run(config, list(words)), resolve=True)


def test_a_run_without_overrides_is_itself():
    config = trained("model=gan", "budget=batches:5")
    assert composed(config) == OmegaConf.to_container(config)
    assert "_run.yaml" not in ConfigStore.instance().repo


@pytest.mark.parametrize("turned", [False, True])
def test_a_group_replaces_its_node_before_keys_are_set_in_any_order(turned):
    words = ["model/sampler=ddim", "model.sampler.eta=0.5", "metrics=[ais,fd]", "metrics.ais.images=3"]
    config = trained("model=ddpm", "model.sampler.steps=7")
    before, after = OmegaConf.to_container(config), composed(config, *(reversed(words) if turned else words))
    sampler = {"_target_": "genmodels.diffusion.DDIM", "steps": 100, "eta": 0.5}
    assert after["model"] == {**before["model"], "sampler": sampler}
    assert set(after["metrics"]) == {"ais", "fd"} and after["metrics"]["ais"]["images"] == 3
    rest = {key: value for key, value in after.items() if key not in ("model", "metrics")}
    assert rest == {key: before[key] for key in rest}


def test_keys_are_added_removed_and_quoted_as_for_training():
    words = ["+trainer.benchmark=true", "~callbacks.samples", "data.root='a, b=c'", "+metrics=ais"]
    after = composed(trained(), *words, "objective=${data.name}", "data.spec.shape=[1,4,4]", "logger=csv")
    assert after["trainer"]["benchmark"] is True and "samples" not in after["callbacks"]
    assert after["data"]["root"] == "a, b=c" and after["objective"] == "digits"
    assert set(after["metrics"]) == {"likelihood", "fd", "ais"} and after["data"]["spec"]["shape"] == [1, 4, 4]
    assert after["logger"]["csv"]["folder"] == "/runs/a"


def test_the_budgets_short_form_can_be_overridden_by_its_keys():
    config = trained("budget=batches:5")
    assert composed(config, "seed=3")["budget"] == "batches:5"
    assert composed(config, "budget.max_batches=8")["budget"]["max_batches"] == 8
    other = {"max_batches": "5", "max_epochs": 2, "max_examples": None, "max_time": None}
    assert composed(config, "budget.max_epochs=2")["budget"] == other


def test_nothing_in_an_untrusted_config_is_resolved_or_read(monkeypatch):
    monkeypatch.setenv("SECRET", "leaked")
    config = trained()
    config.expected = {"source": r"a\${b} ${oc.env:SECRET} ${nope}"}
    config.defaults = [{"override /metrics": "ais"}, {"model@model.extra": "gan"}]
    config.hydra = {"searchpath": ["file:///nowhere"], "run": {"dir": "${oc.env:SECRET}"}}
    after = composed(OmegaConf.create(literal(OmegaConf.to_container(config))), "metrics=[likelihood]")
    assert after["expected"]["source"] == r"a\${b} ${oc.env:SECRET} ${nope}"
    assert set(after["metrics"]) == {"likelihood"} and "extra" not in after["model"]
    assert not {"hydra", "defaults"} & set(after)


REFUSED = {
    "data=mnist": "data is chosen before training",
    "model=gan": "model is chosen before training",
    "experiment=vae_digits": "experiment is chosen before training",
    "debug=fast": "debug is chosen before training",
    "model/sampler=ddim": "this run has no model.sampler",
    "seed=0,1": "several values",
    "hydra.run.dir=x": "no effect",
}


@pytest.mark.parametrize("word", REFUSED)
def test_what_is_chosen_before_training_is_refused_after_it(word):
    with pytest.raises(UserError, match=REFUSED[word]):
        compose_run(trained(), [word])


def test_the_discriminators_optimizer_follows_the_generators_until_it_is_set():
    model = compose(["model=gan", "model.optimizer.lr=3"]).model
    assert model.discriminator_optimizer.lr == 3
    model = compose(["model=gan", "model.discriminator_optimizer.lr=5", "model/optimizer=sgd"]).model
    assert (model.optimizer.lr, model.discriminator_optimizer.lr) == (0.01, 5)
    assert model.optimizer._target_ == model.discriminator_optimizer._target_ == "torch.optim.SGD"


@pytest.mark.parametrize("model", ["gan", "ddpm"])
def test_an_objective_belongs_to_one_model(model):
    fitting = []
    for name in options("model/objective"):
        try:
            check_parts(compose([f"model={model}", f"model/objective={name}"]))
            fitting.append(name)
        except UserError as refusal:
            assert f"model/objective={name} belongs to" in str(refusal)
    assert (
        fitting
        == {"gan": ["hinge", "minimax", "non_saturating", "wasserstein_gp"], "ddpm": ["simple", "variational"]}[model]
    )
