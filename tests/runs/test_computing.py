"""How a run computes: by the processor and the model, as recorded, or as the user says."""

from __future__ import annotations

import json
from functools import partial

import pytest
import torch
from conformance.kinds import MODELS, examples, model_on
from conformance.test_laboratory import settings
from omegaconf import OmegaConf
from torch import nn

from genmodels.builder import build
from genmodels.cli import main
from genmodels.composition import compose
from genmodels.core import DataSpec
from genmodels.errors import UserError
from genmodels.experiment import Experiment, run
from genmodels.models.base import AdversarialModel, BaseModel
from genmodels.runs import RunFolder, choose, compile_networks, computing
from genmodels.runs.computing import rule_of_layout, rule_of_precision, settled, width
from genmodels.runs.folder import renewed
from genmodels.runs.record import check_record

CPU, CUDA = torch.device("cpu"), torch.device("cuda")
BF16 = {"precision": "bf16-mixed", "channels_last": False, "why": "AMX"}


@pytest.fixture(params=["AMX", None])
def unit(request, monkeypatch):
    """A processor that computes bf16, and one that emulates it."""
    monkeypatch.setattr(computing, "bf16_unit", lambda device: request.param)
    monkeypatch.setattr(computing, "bf16_factor", lambda device: 12.34)
    return request.param


def model_of(*words):
    return build(compose([*words, "run_dir=none"]).model, "model", BaseModel)


@pytest.mark.parametrize(
    ("words", "gains", "last_in_float32", "last_in_bf16"),
    [
        (["model=vae", "data=digits"], False, True, True),
        (["model=vae", "data=mnist"], True, True, True),
        (["model=gan", "data=mnist"], True, True, True),
        (["model=realnvp", "data=mnist"], True, False, False),
        (["model=ddpm", "data=mnist"], False, True, False),
        (["experiment=ddpm_mnist"], True, True, False),
    ],
)
def test_precision_and_layout_follow_processor_and_model(words, gains, last_in_float32, last_in_bf16):
    model = model_of(*words)
    assert rule_of_precision(model, CPU, "AMX")[0] == ("bf16-mixed" if gains else "32-true")
    assert rule_of_precision(model, CPU, None)[0] == "32-true"
    assert rule_of_precision(model, CUDA, "A100") == ("bf16-mixed", "A100")
    assert rule_of_layout(model, CPU, "bf16-mixed") == last_in_bf16
    assert rule_of_layout(model, CPU, "32-true") == last_in_float32
    assert rule_of_layout(model, CUDA, "bf16-mixed")


def test_vectors_are_computed_in_float32():
    model = model_of("model=vae", "data=moons")
    assert rule_of_precision(model, CPU, "AMX")[0] == rule_of_precision(model, CUDA, "A100")[0] == "32-true"


def test_the_width_is_that_of_half_of_the_weights():
    model = nn.Sequential(nn.Conv2d(1, 8, 3), nn.Linear(100, 50), nn.Linear(10, 1000), nn.BatchNorm1d(9000))
    assert width(model) == 10 and width(nn.Identity()) == 0


def config_of(precision, layout="auto"):
    return OmegaConf.create({"trainer": {"precision": precision}, "channels_last": layout})


WIDE = nn.Conv2d(64, 64, 3)
WIDE.spec = DataSpec((1, 28, 28), 256)


def test_auto_is_chosen_anew_or_repeats_what_was_recorded(unit):
    first = choose(config_of("auto"), WIDE, CPU, {})
    assert (first.precision, first.bf16) == (("bf16-mixed", True) if unit else ("32-true", False))
    assert not first.warnings and first.lines[0].startswith(f"computing in {first.precision} (")
    assert choose(config_of("auto"), WIDE, CPU, {"computing": first.entry}).entry == first.entry
    full = choose(config_of("auto"), WIDE, CPU, {"computing": BF16 | {"precision": "32-true"}})
    assert (full.precision, full.channels_last, full.warnings) == ("32-true", False, ())


def test_bf16_that_this_processor_lacks_is_not_repeated_which_is_said(unit):
    found = choose(config_of("auto"), WIDE, CPU, {"computing": BF16})
    if unit:
        assert found.entry == BF16 and not found.warnings
    else:
        assert (found.precision, found.channels_last) == ("32-true", True)
        assert found.warnings[0].startswith("the run computed in bf16-mixed, which")


def test_another_processor_is_named(unit, monkeypatch):
    monkeypatch.setattr(computing, "cpu_name", lambda: "Zen 5")
    for cpu, lines in (("Zen 5", 1), ("Haswell", 2)):
        found = choose(config_of("auto"), WIDE, CPU, {"hardware": {"cpu": cpu}})
        assert len(found.lines) == lines and ("Haswell" in found.lines[-1]) == (lines == 2)


@pytest.mark.parametrize("precision", ["bf16-mixed", "32-true"])
def test_the_user_decides_and_hears_what_emulation_costs(unit, precision):
    found = choose(config_of(precision, layout=False), WIDE, CPU, {"computing": BF16 | {"precision": "32-true"}})
    assert (found.precision, found.channels_last) == (precision, False)
    assert any("12.3 times" in line for line in found.lines) == (unit is None and precision == "bf16-mixed")


def test_choices_take_the_place_of_auto_alone():
    assert settled(config_of("auto"), BF16) == config_of("bf16-mixed", False)
    assert settled(config_of("32-true", True), BF16) == config_of("32-true", True)
    assert settled(config_of("auto"), {}) == config_of("auto")


def test_a_run_records_its_choice_and_its_evaluation_repeats_it(tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(computing, "rule_of_precision", lambda *_: ("bf16-mixed", "a test"))
    monkeypatch.setattr(computing, "bf16_unit", lambda device: "AMX")
    config = settings("vae", "gray images", tmp_path)
    run(config)
    assert capsys.readouterr().out.count("computing in bf16-mixed (a test)") == 1
    folder = RunFolder(tmp_path / "run")
    record = folder.read()
    assert record["computing"]["precision"] == "bf16-mixed" and folder.config.trainer.precision == "auto"
    monkeypatch.setattr(computing, "rule_of_precision", lambda *_: ("32-true", "another rule"))
    experiment = Experiment.assemble(folder.config, record)
    assert experiment.trainer.precision == "bf16-mixed"
    main(["evaluate", f"run={folder.path}"])
    assert set(folder.read()["metrics"]) == set(record["metrics"])
    monkeypatch.setattr(computing, "bf16_unit", lambda device: None)
    main(["evaluate", f"run={folder.path}"])
    assert "which" in capsys.readouterr().out
    (new,) = set(folder.read()["metrics"]) - set(record["metrics"])
    assert new.endswith("[trainer.precision=32-true]")


@pytest.mark.parametrize("name", MODELS)
def test_every_network_is_compiled(name, monkeypatch):
    """Also those of PyTorch's own classes, which ``nn.Module.compile`` leaves as they are."""
    graphs = []

    def backend(graph, inputs):
        graphs.append(graph)
        return graph.forward

    monkeypatch.setattr(torch, "compile", partial(torch.compile, backend=backend))
    model = model_on(name, DataSpec((2,)))
    networks = [each for each in model.compiled_networks() if any(True for _ in each.parameters())]
    plain = loss_of(model)
    compile_networks(networks)
    torch._dynamo.reset()
    torch.testing.assert_close(loss_of(model), plain, rtol=1e-4, atol=1e-5)
    assert len(graphs) >= len(networks)
    assert not any("_compiled" in key for key in model.state_dict())


def loss_of(model):
    torch.manual_seed(0)
    x = examples(model.spec, 16)
    model.initialize(x)
    players = model.players() if isinstance(model, AdversarialModel) else [model]
    return torch.stack([player.loss(x).total for player in players]).detach()


def test_without_a_network_to_compile_it_says_so(tmp_path):
    experiment = Experiment.assemble(settings("rbm", "points", tmp_path, "compile=true"))
    assert "compile=true has no effect: RBM has no network." in experiment.computing.lines
    assert not Experiment.assemble(settings("vae", "points", tmp_path, "compile=true")).computing.warnings


def test_a_run_that_goes_on_has_the_threads_that_it_began_with(tmp_path, monkeypatch):
    asked = []
    monkeypatch.setattr("genmodels.experiment.set_threads", lambda recorded: asked.append(recorded) or "other threads.")
    config = settings("vae", "points", tmp_path)
    assert Experiment.assemble(config).computing.warnings == ("other threads.",)
    Experiment.assemble(config, {"hardware": {"threads": 3}})
    assert asked == [None, 3]


@pytest.mark.parametrize(
    "entry", [{"precision": "8"}, {"precision": ["32"]}, {"channels_last": 1}, {"why": 3}, {"threads": 0}]
)
def test_a_record_with_an_impossible_choice_is_refused(entry):
    record = {"metrics": {}, "computing": entry, "hardware": {}}
    if "threads" in entry:
        record = {"metrics": {}, "hardware": entry}
    with pytest.raises(UserError, match=next(iter(entry))):
        check_record(record)
    check_record(json.loads(json.dumps({"metrics": {}, "computing": BF16, "hardware": {"threads": 2}})))


def test_switches_of_former_versions_are_dropped_from_the_config_of_a_run():
    former = {"model": {"sampler": {"_target_": "genmodels.diffusion.DDIM", "bf16": True}}, "bf16": 1}
    assert renewed(former) == {"model": {"sampler": {"_target_": "genmodels.diffusion.DDIM"}}, "bf16": 1}
