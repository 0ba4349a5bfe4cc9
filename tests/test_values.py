"""Whatever a config holds where a number, a size, a switch or text belongs, one sentence names the key, or it is used.

All objects of the options under ``conf/`` are built with one bad value at a time; what must be refused is listed below.
"""

from __future__ import annotations

import copy
import functools
import math
import re
import time

import psutil
import pytest
import torch
from lightning import Callback
from omegaconf import OmegaConf

from genmodels import hardware
from genmodels.builder import build
from genmodels.callbacks import Budget, LearningRate
from genmodels.composition import compose, option, options
from genmodels.core import DataSpec
from genmodels.data import DataModule
from genmodels.data.sources import Digits, Drawn
from genmodels.errors import UserError, ensure_counts, ensure_numbers
from genmodels.metrics import Evaluation
from genmodels.models.base import BaseModel
from genmodels.networks.convnet import encoder

BAD = [-1, 0, 1.5, 10**12, 10**400, math.nan, math.inf, -math.inf, True, "abc", "", None, [1], []]
SECONDS, BYTES = 5.0, 300e6  # of one input, in time of the processor, since the machine may be busy

MODELS = [f"model={name} data={data}" for name in options("model") for data in ("digits", "gaussian")]
SOLVERS = ("dopri5", "euler", "midpoint", "rk4")
PARTS = [
    *(f"model={'cnf' if name in SOLVERS else 'ddpm'} model/sampler={name}" for name in options("model/sampler")),
    *(f"model=ddpm model/schedule={name}" for name in options("model/schedule")),
]
LEARNED_NOISE = "model=realnvp model/dequantization=variational"
PRIORS = [f"model=vae model/prior={name}" for name in options("model/prior")]
METRICS = [f"metrics=[{name}]" for name in options("metrics")]
WHOLE = {
    **dict.fromkeys([*MODELS, *PARTS, *PRIORS, LEARNED_NOISE, "model=gan model/objective=wasserstein_gp"], "model"),
    **{f"data={name}": "data" for name in options("data")},
    **dict.fromkeys(METRICS, "metrics"),
    "callbacks=[quality]": "callbacks",
    **{f"scheduler={name}": "scheduler" for name in options("scheduler") if name != "none"},
}
"""The part of the config that is built, by the overrides that choose its options."""


@functools.cache
def whole(*words):
    """The config of some words, with its interpolations."""
    return compose([*words, "run_dir=unused"])


@functools.cache
def composed(words):
    """The part of the config, as plain types.

    The last option is put into the config of the other words where Hydra would put it, which takes a hundredth of the
    time of a composition, unless its file is only a part of the option.
    """
    *others, last = words.split()
    group, _, name = last.partition("=")
    name = name.strip("[]")
    if others and last == "data=gaussian":
        content = whole(last).data
    elif group in ("data", "model") or "defaults" in option(group, name):
        path = ["data.source.path=x"] if words in ("data=npz", "data=image_folder") else []
        return OmegaConf.to_container(whole(*words.split(), *path)[WHOLE[words]], resolve=True)
    else:
        content = option(group, name)
    config = copy.deepcopy(whole(*others))
    OmegaConf.update(config, group.replace("/", "."), content, merge=False, force_add=True)
    return OmegaConf.to_container(config[WHOLE[words]], resolve=True)


def leaves(node, path=()):
    """``(target, path)`` of every value in ``node`` that is no mapping, for targets of this package."""
    ours = str(node.get("_target_", "genmodels.")).startswith("genmodels.")
    for key, value in node.items() if ours else ():
        if isinstance(value, dict):
            yield from leaves(value, (*path, key))
        elif key not in ("_target_", "_partial_") and not str(value).startswith("unused/"):  # a folder of the run
            yield node.get("_target_"), (*path, key)


def inputs():
    """Overrides and path of each parameter of each class or factory; of networks, on images and on vectors."""
    seen = set()
    for words in WHOLE:
        for target, path in leaves(composed(words)):
            case = (target, path[-1], words.endswith("gaussian"))
            if case not in seen:
                seen.add(case)
                yield pytest.param(words, path, id=f"{words} {'.'.join((WHOLE[words], *path))}")


def changed(words, path, value):
    """The part of the config with one value replaced."""
    node = copy.deepcopy(composed(words))
    *parents, last = path
    functools.reduce(lambda inner, key: inner[key], parents, node)[last] = value
    return node


KINDS = {
    "model": BaseModel,
    "data": DataModule,
    "metrics": Evaluation,
    "callbacks": Callback,
    "scheduler": LearningRate,
}


def made(node, key, **extra):
    """The object that ``node`` describes."""
    return build(node, key, KINDS[key.partition(".")[0]], **extra)


def use(words, node):
    """Build what ``node`` describes; read the data that need no files, and ask metrics whether they apply."""
    key = WHOLE[words]
    if key in ("metrics", "callbacks"):
        parts = [made(child, f"{key}.{name}") for name, child in node.items()]
        for metric in parts if key == "metrics" else ():
            metric.unsupported_reason(*trained())
        return
    built = made(node, key, **({"budget": Budget(max_batches=10)} if key == "scheduler" else {}))
    if key == "data" and isinstance(built.source, Drawn | Digits):
        built.setup()


@functools.cache
def trained():
    """A model and its data."""
    config = compose(["model=gan"])
    return made(config.model, "model"), made(config.data, "data")


@pytest.mark.parametrize(("words", "path"), list(inputs()))
def test_any_value_is_used_or_refused_by_its_key(words, path):
    last = path[-1]
    for value in BAD:
        node, started, before = changed(words, path, value), time.process_time(), psutil.Process().memory_info().rss
        try:
            use(words, node)
        except (UserError, ValueError) as error:
            sentence = str(error)
            named = re.search(
                rf"\b({last}|batch_norm|fid)\b", sentence
            )  # or what it needs: a network without, or a file
            assert named and "\n" not in sentence and sentence.endswith("."), f"{value!r}: {sentence}"
        except Exception as error:
            pytest.fail(f"{'.'.join(path)}={value!r}: {type(error).__name__}: {error}")
        assert time.process_time() - started < SECONDS, value
        assert psutil.Process().memory_info().rss - before < BYTES, value


def refusal(words, path, value):
    """The sentence that refuses a value of the part of the config."""
    with pytest.raises((UserError, ValueError)) as caught:
        use(words, changed(words, path.split("."), value))
    return str(caught.value)


NUMBERS = [-1, math.nan, math.inf, -math.inf, "abc", True, None, [1]]
COUNTS = [*NUMBERS, 0, 1.5, 10**12]
VAE, GAN, FLOW, NICE, MAF = (f"model={name} data=digits" for name in ("vae", "gan", "realnvp", "nice", "maf"))
DDPM, LINEAR, LOG_SNR = (
    "model=ddpm data=digits",
    "model=ddpm model/schedule=linear",
    "model=ddpm model/schedule=log_snr",
)
REFUSED = {
    (VAE, "latent_dim"): [count for count in COUNTS if count is not None],
    (VAE, "beta"): NUMBERS,
    (VAE, "clip_norm"): [-1, 0, math.nan, math.inf, "abc", True],
    (VAE, "encoder.width"): COUNTS,
    (VAE, "encoder.blocks"): [-1, 10**12, 1.5, None],
    (VAE, "encoder.depth"): [-1, 10**12],
    (VAE, "decoder.width"): COUNTS,
    (VAE, "decoder.slope"): [-1, 0, math.nan, math.inf, "abc", True, 10**12],
    (VAE, "decoder.blocks"): [-1, 10**12],
    (VAE, "spec.shape"): [[1.5, 8, 8], ["a"], [10**9], [1, 8], [0], [], 3, "abc", [True], [1, 10**5, 10**5]],
    (VAE, "spec.levels"): [1, 257, 0, -1, 1.5, True, "abc"],
    (GAN, "latent_dim"): COUNTS,
    (GAN, "generator.width"): COUNTS,
    (GAN, "discriminator.width"): COUNTS,
    (GAN, "generator.hidden"): [-1, 0, 1.5, 10**12],
    (GAN, "generator.slope"): [-1, 0, math.nan, math.inf, "abc", True, 10**12],
    (GAN, "discriminator.slope"): [-1, 0, math.nan, math.inf, "abc", True, 10**12],
    (GAN, "discriminator_steps"): COUNTS,
    (GAN, "r1"): NUMBERS,
    (GAN, "clip_norm"): [-1, 0, math.nan, math.inf],
    (FLOW, "network.width"): COUNTS,
    (FLOW, "network.blocks"): [-1, 10**12],
    ("model=realnvp data=gaussian", "vector_network.width"): COUNTS,
    ("model=realnvp data=gaussian", "vector_network.depth"): [-1, 10**12],
    (FLOW, "network.dropout"): [*NUMBERS, 1],
    (FLOW, "depth"): COUNTS,
    (FLOW, "scales"): [0, -1, 3, 1.5],
    (FLOW, "width_multiplier"): COUNTS,
    (FLOW, "alpha"): [*NUMBERS, 0, 0.5],
    (FLOW, "scale_decay"): NUMBERS,
    (NICE, "network.width"): COUNTS,
    (NICE, "couplings"): COUNTS,
    (NICE, "alpha"): [*(number for number in NUMBERS if number is not None), 0, 0.5],
    (MAF, "network.width"): COUNTS,
    (MAF, "network.depth"): [-1, 10**12],
    (MAF, "layers"): COUNTS,
    (MAF, "alpha"): [*NUMBERS, 0, 0.5],
    (DDPM, "network.width"): COUNTS,
    (DDPM, "network.depth"): COUNTS,
    (DDPM, "network.vector_width"): [-1, 0, 1.5, 10**12],
    (DDPM, "network.vector_depth"): [-1, 0, 1.5, 10**12],
    (DDPM, "network.levels"): [-1, 0, 1, 257],
    (DDPM, "network.patch"): [*COUNTS, 3],
    (DDPM, "network.dropout"): [*NUMBERS, 1],
    (DDPM, "network.width_multipliers"): [[], [0], [1.5], ["a"], 3, None, [10**12]],
    (DDPM, "schedule.steps"): [*COUNTS, 1],
    (LINEAR, "schedule.start"): [*NUMBERS, 0, 1],
    (LINEAR, "schedule.end"): [*NUMBERS, 0, 1, 1e-9],
    (DDPM, "sampler.steps"): [-1, 0, 1.5, 1001, 10**12],
    (DDPM, "objective.variational_weight"): NUMBERS,
    (LOG_SNR, "schedule.highest"): [math.nan, math.inf, 10**12, -6],
    (LOG_SNR, "schedule.levels"): [-1, 0, 1, 1.5, 257],
    (LEARNED_NOISE, "dequantization.depth"): COUNTS,
    ("data=gaussian", "val_size"): [*NUMBERS, 0, 1.5, 1.0, 10**12, 50_000],
    ("data=gaussian", "batch_size"): COUNTS,
    ("data=gaussian", "eval_batch_size"): COUNTS,
    ("data=gaussian", "limit"): [-1, 0, 1.5],
    ("data=gaussian", "seed"): [-1, 1.5, None, 10**12],
    ("data=gaussian", "flip"): [True, 1],
    ("data=gaussian", "source.train_size"): COUNTS,
    ("data=gaussian", "source.mean"): [3, None, [1], [1, "a"], [1, math.nan], [1, 10**400]],
    ("data=gaussian", "source.covariance"): [
        *[1, None, [[1, 0]], [[1, 2], [2, 1]], [[1, 0.5], [0, 1]], [[0, 0], [0, 0]], [[1, 0], [0, math.inf]]],
        *[[[1], [1, 2]], "abcd"],
    ],
    ("data=mixture", "source.components"): COUNTS,
    ("data=mixture", "source.scale"): [*NUMBERS, 0, 1e-300],
    ("data=mixture", "source.radius"): NUMBERS,
    ("data=checkerboard", "source.cells"): [*COUNTS, 3],
    ("data=checkerboard", "source.half_width"): [*NUMBERS, 0],
    ("data=moons", "source.noise"): NUMBERS,
    ("data=heartbeat", "source.test_size"): COUNTS,
    ("data=bars", "source.seed"): [-1, 1.5, None, 10**12],
    ("data=binary_digits", "source.threshold"): [*COUNTS, 17],
    ("data=npz", "source.test_size"): [*NUMBERS, 0, 1.5],
    ("data=image_folder", "source.test_size"): [*NUMBERS, 0, 1.5],
    ("data=image_folder", "source.shape"): [3, None, [1], [2, 8, 8], [1.5, 8, 8]],
    ("data=mnist", "source.folder"): ["..", "", "/etc", "../mnist", "a/b", "a\\b", 3],
    ("data=mnist", "source.url"): ["file:///etc/passwd", "ftp://x/{name}", "", 3],
    ("data=mnist", "source.files"): [{}, {"../x.gz": 64 * "a"}, {"/x.gz": 64 * "a"}, {"x.gz": "abc"}, 3, None],
    ("data=fashion_mnist", "source.files"): [{"train-images-idx3-ubyte.gz": 64 * "a"}],
    ("data=cifar10", "source.files"): [{"data_batch_1.bin": 64 * "a"}],
    ("data=binarized_mnist", "source.files"): [{"a.gz": 64 * "a"}],
    ("metrics=[likelihood]", "likelihood.samples"): COUNTS,
    ("metrics=[likelihood]", "likelihood.max_passes"): [-1, 0, 1.5, math.nan],
    ("metrics=[likelihood]", "likelihood.terms"): [-1, 0, 1.5, math.nan],
    ("metrics=[fd]", "fd.n"): [-1, 0, 1, 1.5, 10**9, 10**12],
    ("metrics=[fd]", "fd.repeats"): COUNTS,
    ("metrics=[ais]", "ais.temperatures"): COUNTS,
    ("metrics=[ais]", "ais.chains"): COUNTS,
    ("metrics=[ais]", "ais.sigma"): [-1, 0, math.nan, math.inf],
    ("metrics=[ode]", "ode.tolerance"): [*NUMBERS, 0, 1],
    ("metrics=[ode]", "ode.probes"): [-1, 0, 1.5],
    ("metrics=[memorization]", "memorization.neighbors"): COUNTS,
    ("metrics=[memorization]", "memorization.n"): [-1, 0, 1, 10**9],
    ("metrics=[prdc]", "prdc.pr_neighbors"): COUNTS,
    ("callbacks=[quality]", "samples.n"): COUNTS,
    ("callbacks=[quality]", "samples.points"): COUNTS,
    ("callbacks=[quality]", "samples.pixels"): COUNTS,
    ("callbacks=[quality]", "average.decay"): [*NUMBERS, 1],
    ("callbacks=[quality]", "quality.n"): [*COUNTS, 1],
    ("callbacks=[quality]", "quality.every"): COUNTS,
    ("scheduler=linear", "warmup"): [*NUMBERS, 1],
    ("scheduler=linear", "end"): NUMBERS,
    ("scheduler=plateau", "reduction"): [*NUMBERS, 0, 1],
    ("scheduler=plateau", "patience"): [*NUMBERS, 1.5],
    ("scheduler=plateau", "mode"): ["mean", "", 1, None],
}
"""What must be refused, by the overrides and the key."""


@pytest.mark.parametrize(("words", "path"), REFUSED, ids=[f"{words} {path}" for words, path in REFUSED])
def test_what_must_be_refused_is_refused_in_one_sentence_by_its_key(words, path):
    for value in REFUSED[words, path]:
        sentence = refusal(words, path, value)
        assert path.rpartition(".")[2] in sentence and sentence.endswith(".") and "\n" not in sentence, value


def test_that_many_inputs_were_tried():
    assert len(list(inputs())) * len(BAD) > 3000
    assert sum(map(len, REFUSED.values())) > 500


@pytest.mark.parametrize(
    ("path", "value", "sentence"),
    [
        ("clip_norm", -1, "model.clip_norm must be a number above 0, or None, got -1."),
        ("latent_dim", -1, "model.latent_dim must be an integer from 1 to 1000000, or None, got -1."),
        ("encoder.blocks", 10**12, "model.encoder.blocks must be an integer from 0 to 1000, got 1000000000000."),
        ("beta", math.inf, "model.beta must be a number of at least 0, got inf."),
    ],
)
def test_the_sentence_has_the_key_and_the_range(path, value, sentence):
    assert refusal(VAE, path, value) == sentence


def test_a_count_and_a_number_may_be_of_any_library_and_not_true():
    ensure_counts(a=torch.tensor([3]).numpy()[0])
    ensure_numbers(a=torch.tensor([3.5]).numpy()[0], b=2)
    ensure_numbers(optional=True, a=None)
    for wrong in (True, None, "3", [3], 2.0):
        with pytest.raises(ValueError, match=r"^a must be an integer from 1 to 9, got"):
            ensure_counts(1, 9, a=wrong)
    with pytest.raises(ValueError, match=r"^b must be a finite number, got nan\.$"):
        ensure_numbers(a=1, b=math.nan)


def test_memory_is_measured_before_it_is_allocated(monkeypatch):
    with pytest.raises(ValueError, match=r"^the network needs [\d,.e+]+ GiB of memory, of which .* are available"):
        encoder((3, 256, 256), (64,), width=2**14)
    monkeypatch.setattr(hardware.psutil, "virtual_memory", lambda: type("Memory", (), {"available": 1000}))
    assert refusal(VAE, "latent_dim", 8).startswith("model.encoder: the network needs ")
    assert "data.source with train_size=50000" in refusal("data=moons", "source.seed", 1)
    assert "data.source with train_size=50000" in refusal("data=bars", "source.seed", 1)
    assert "n=300 samples needs" in refusal("metrics=[fd]", "fd.n", 300)
    assert "chains at a time needs" in refusal("metrics=[ais]", "ais.chains", 2)


def test_a_network_is_the_same_whether_measured_or_not():
    torch.manual_seed(0)
    measured = encoder((1, 8, 8), (4,), width=4)
    torch.manual_seed(0)
    bare = encoder.__wrapped__((1, 8, 8), (4,), width=4)
    assert all(torch.equal(a, b) for a, b in zip(measured.parameters(), bare.parameters(), strict=True))


@pytest.mark.parametrize(
    "x",
    [
        torch.full((2, 3), -5),
        torch.full((2, 3), -1, dtype=torch.int8),
        torch.ones(2, 3, dtype=torch.bool),
        torch.full((2, 3), 17, dtype=torch.uint8),
        torch.full((2, 3), 40_000, dtype=torch.int32).to(torch.uint16),
        torch.ones(2, 3, dtype=torch.complex64),
        torch.ones(2, 3),
    ],
    ids=lambda x: str(x.dtype),
)
def test_integer_data_are_integers_of_their_levels(x):
    with pytest.raises(ValueError, match=r"^levels is 17, .*but a batch (holds the value|has dtype)"):
        DataSpec((3,), 17).check(x)
    DataSpec((3,), 17).check(torch.ones(2, 3, dtype=torch.int32).to(torch.uint16))


def test_a_schedule_of_no_steps_is_refused_before_training():
    schedule = "{_target_: torch.optim.lr_scheduler.LinearLR, _partial_: true, total_iters: 0}"
    model = made(compose(["model=ddpm", f"model.scheduler={schedule}"]).model, "model")
    with pytest.raises(UserError, match=r"^model\.scheduler\.total_iters must be at least 1, got 0\.$"):
        model.configure_optimizers()
