"""How Hydra composes a config from the options of ``conf/``, for training and for a trained run.

This module does not import torch.
"""

from __future__ import annotations

import os
import re
import sys
from copy import deepcopy
from functools import partial
from typing import Any

from hydra.core.config_search_path import ConfigSearchPath
from hydra.core.config_store import ConfigStore
from hydra.core.global_hydra import GlobalHydra
from hydra.core.override_parser.types import Override
from hydra.core.plugins import Plugins
from hydra.plugins.search_path_plugin import SearchPathPlugin
from omegaconf import DictConfig, OmegaConf

from genmodels import classes, kinds  # noqa: F401  the config asks for them
from genmodels.errors import UserError, nearest, require
from genmodels.nested import leaves
from genmodels.overrides import explained, parse
from genmodels.tree import config_folder, groups, option, options, plain
from genmodels.trust import check_names, folders, is_trusted

BEFORE_TRAINING = ("data", "model", "experiment", "debug", "hparams_search")  # of a trained run they are fixed
MODELS = "genmodels.models."
WRITING = ("callbacks", "checkpoint", "logger", "trainer")  # groups whose objects write files
LAUNCHED = ("SLURM_JOB_ID", "TORCHELASTIC_RUN_ID", "WORLD_SIZE")  # set by what starts the processes of a job
LOG_OF_WANDB = re.compile(r"wandb/[\w-]+/logs/debug-core\.log")
TELLING = ("settings", "save_code")  # keys of a logger by which a dashboard is told more than the run
PLACES = ("folder", "dir", "dirpath", "path", "uri", "location")  # ends of the keys that name where


def list_choices() -> str:
    """One line per group with its options, including those of ``--config-dir``, for ``train.py --help``."""
    loader = GlobalHydra.instance().config_loader()
    found = {group: [name for name in loader.get_group_options(group) if name[0] != "_"] for group in groups()}
    return "\n".join(f"{group}: {', '.join(sorted(names))}" for group, names in found.items())


def program_name() -> str:
    """The command by which the user trains: ``python train.py`` in a checkout, else ``genmodels train``."""
    return "python train.py" if os.path.basename(sys.argv[0]) == "train.py" else "genmodels train"


OmegaConf.register_new_resolver("genmodels.choices", list_choices, replace=True)
OmegaConf.register_new_resolver("genmodels.program", program_name, replace=True)


def compose(overrides: list[str]) -> DictConfig:
    """The config of ``train.py`` for ``overrides``, outside a Hydra job.

    Raises:
        UserError: for an override that makes no sense, or does not fit the options chosen.
    """
    with explained(overrides, compose_train):
        return compose_train(overrides)


def compose_train(overrides: list[str]) -> DictConfig:
    """The config of ``train.py`` for ``overrides``, with Hydra's exceptions."""
    return compose_primary("train", overrides)


def compose_job(overrides: list[str]) -> DictConfig:
    """The config of a run for ``overrides``, with the folder that Hydra would give it, outside a Hydra job.

    Raises:
        UserError: for an override that makes no sense, or does not fit the options chosen.
    """
    with explained(overrides, compose_train):
        config = compose_primary("train", overrides, return_hydra_config=True)
    if "${hydra:" in plain(config)["run_dir"]:
        config.run_dir = os.path.abspath(str(config.hydra.run.dir))
    OmegaConf.set_struct(config, False)
    del config["hydra"]
    return config


class OwnFolders(SearchPathPlugin):
    """Hydra's way to the user's folders of options, in which it looks after genmodels' own."""

    def manipulate_search_path(self, search_path: ConfigSearchPath) -> None:
        """Add them."""
        for folder in folders():
            search_path.append("own", f"file://{folder}")


def use_own_folders() -> None:
    """Make the user's folders of options known to Hydra.

    Raises:
        UserError: for one that does not exist, or has an option of a name that is taken.
    """
    if folders():
        check_names()
        Plugins.instance().register(OwnFolders)


def compose_primary(name: str, overrides: list[str], **options: Any) -> DictConfig:
    """Compose the primary config ``name``, of ``conf/`` or of Hydra's config store."""
    from hydra import compose as hydra_compose
    from hydra import initialize_config_dir

    use_own_folders()
    with initialize_config_dir(str(config_folder().resolve()), version_base="1.3"):
        return hydra_compose(name, overrides=overrides, **options)


def compose_run(config: DictConfig, overrides: list[str]) -> DictConfig:
    """The config of a run folder with ``overrides``, in the grammar of ``train.py``.

    The run's config becomes Hydra's primary config. It is resolved and therefore has no defaults list; every group that
    ``overrides`` choose is removed from it and entered in a defaults list, so that the option replaces the former one
    before any key is set. The order of ``overrides`` does not matter. The config is untrusted: neither its ``defaults``
    nor its ``hydra`` is read.

    Args:
        config: the content of the run's ``config.yaml``, in which no interpolation is left, see
            :func:`genmodels.untrusted.literal`.
        overrides: words such as ``metrics=[fd]``, ``model/sampler=ddim``, ``+model.x=1`` or ``~callbacks.samples``.

    Raises:
        UserError: for a group that is chosen before training, or that the run does not have.
    """
    content = {key: value for key, value in plain(config).items() if key not in ("defaults", "hydra")}
    parsed = parse(overrides)
    if any(str(override.key_or_group).startswith("budget.") for override in parsed):
        content["budget"] = budget_by_keys(content.get("budget"))
    for override in parsed:
        check_override_of_run(override, content)
    with explained(overrides, partial(compose_content, content)):
        composed = compose_content(content, overrides)
    OmegaConf.set_struct(composed, False)
    return composed


def compose_content(content: dict[str, Any], overrides: list[str]) -> DictConfig:
    """The plain config ``content`` with ``overrides``, with Hydra's exceptions."""
    defaults: list[Any] = ["_self_"]
    content = deepcopy(content)
    for override in parse(overrides):
        if override.key_or_group in groups() and not override.is_add():
            take_out(content, package(override))
            defaults.append({override.get_key_element().lstrip("~"): None})
    name = "_run"
    ConfigStore.instance().store(name, {"defaults": defaults, **content})
    try:
        return compose_primary(name, overrides)
    finally:
        del ConfigStore.instance().repo[f"{name}.yaml"]


def check_override_of_run(override: Override, content: dict[str, Any]) -> None:
    """Refuse overrides that apply to training but not to a trained run.

    Raises:
        UserError: naming the override and the reason.
    """
    word, group = override.input_line, override.key_or_group
    require(not override.is_sweep_override(), f"{word} gives several values; give one, or write a list as [a,b].")
    require(not override.is_hydra_override(), f"{word} has no effect on a run that exists already.")
    if group not in groups():
        return
    require(
        group not in BEFORE_TRAINING,
        f"{word}: {group} is chosen before training and cannot be chosen again; override its keys, or train a new run.",
    )
    parent, _, name = package(override).rpartition(".")
    node = OmegaConf.select(OmegaConf.create(content), parent) if parent else content
    require(not parent or name in (node or {}), f"{word}: this run has no {package(override)}.")


def package(override: Override) -> str:
    """Where the option of a group override is placed in the config, as a dotted key."""
    return str(override.package or str(override.key_or_group).replace("/", "."))


def take_out(content: dict[str, Any], key: str) -> None:
    """Remove the node at the dotted ``key``, if there is one."""
    *parents, name = key.split(".")
    node: Any = content
    for parent in parents:
        node = node.get(parent) if isinstance(node, dict) else None
    if isinstance(node, dict):
        node.pop(name, None)


def budget_by_keys(budget: Any) -> Any:
    """The short form ``batches:5`` as a mapping, whose keys can be overridden.

    >>> budget_by_keys("batches:5")["max_batches"]
    '5'
    """
    if not isinstance(budget, str):
        return budget
    kind, _, amount = budget.partition(":")
    return {**plain(OmegaConf.load(config_folder() / "train.yaml"))["budget"], f"max_{kind}": amount}


def check_places(config: DictConfig, overrides: list[str]) -> None:
    """Refuse a run folder, which may be a stranger's, by which a command would write outside of it.

    A place that the command line names is the user's own.

    Raises:
        UserError: naming the key of a path that lies elsewhere, or a link in the folder that leads elsewhere.
    """
    folder, named = str(config.run_dir), {str(override.key_or_group) for override in parse(overrides)}
    check_links(folder)
    for key, value in leaves({group: plain(config).get(group) or {} for group in WRITING}):
        is_place = isinstance(value, str) and (key.endswith(PLACES) or os.path.isabs(value) or ".." in value)
        require(
            not is_place or key in named or inside(os.path.abspath(value), folder),
            f"{key}={value} lies outside of the run folder; set it to a path below {folder}, or confirm it like this.",
        )


def check_links(folder: str) -> None:
    """Refuse a run folder with a link by which what is written into it would land elsewhere.

    wandb links to a log of its own, in the folder of each of its runs, where nothing is written later.

    Raises:
        UserError: naming the link.
    """
    home = os.path.realpath(folder)
    for parent, inner, files in os.walk(home):
        for path in (os.path.join(parent, name) for name in (*inner, *files)):
            log = LOG_OF_WANDB.fullmatch(os.path.relpath(path, home))
            require(
                bool(log) or not os.path.islink(path) or inside(os.path.realpath(path), home),
                f"{path} is a link to {os.path.realpath(path)}, outside of the run folder; remove it.",
            )


def check_origins(config: DictConfig, overrides: list[str]) -> None:
    """Refuse a run's config, which may be a stranger's, that says where data are downloaded from or kept.

    The addresses in ``conf/data`` or in the user's own options, and the user's own folder of data are known; others
    must be named on the command line. Otherwise a stranger could have any file put anywhere.

    Raises:
        UserError: naming the key.
    """
    from genmodels.data.root import data_root  # imports torch

    data, named = config.data, {str(override.key_or_group) for override in parse(overrides)}
    url, root = OmegaConf.select(data, "source.url"), data.get("root")
    known = {OmegaConf.select(option("data", name), "data.source.url") for name in options("data")}
    require(
        url in known or "data.source.url" in named,
        f"this run's config would download from {url}, which is no address of a data set of genmodels; "
        "if you trust it, write data.source.url=... with this address.",
    )
    own = root is None or os.path.realpath(os.path.expanduser(str(root))) == os.path.realpath(data_root())
    require(
        own or "data.root" in named,
        f"this run's config would keep data in {root}, which is not your folder of data, {data_root()}; "
        "write data.root=null to use yours, or data.root=... with that folder.",
    )


def check_dashboards(config: DictConfig, overrides: list[str]) -> None:
    """Refuse a run's config, which may be a stranger's, that says how a dashboard is reached or what it is sent.

    Settings of a client hold the address of the server to which it sends the user's key.

    Raises:
        UserError: naming the key, unless the command line does.
    """
    named = {str(override.key_or_group).lstrip("+") for override in parse(overrides)}
    nodes = {name: node for name, node in (plain(config).get("logger") or {}).items() if mirrors(node)}
    found = [f"logger.{name}.{key}" for name, node in nodes.items() for key in TELLING if node.get(key)]
    for key in found:
        require(
            any(word == key or word.startswith(f"{key}.") for word in named),
            f"the run's config sets {key}; if you want this, write it on the command line, else {key}=null.",
        )


def mirrors(node: Any) -> bool:
    """Whether a logger's node describes one of this package or of the user's; those of others take no such keys."""
    target = str(node.get("_target_")) if isinstance(node, dict) else ""
    return target.startswith("genmodels.loggers.") or is_trusted(target)


def check_processes(config: DictConfig, overrides: list[str]) -> None:
    """Refuse a run's config that would wait for other machines for ever, or start more processes than there are cores.

    Raises:
        UserError: naming the key, unless the command line does, or a launcher has started this process.
    """
    named = {str(override.key_or_group) for override in parse(overrides)}
    if "trainer" in named or any(name in os.environ for name in LAUNCHED):
        return
    for key, most in (("num_nodes", 1), ("devices", os.cpu_count() or 1)):
        value = config.trainer.get(key)
        require(
            not isinstance(value, int) or value <= most or f"trainer.{key}" in named,
            f"the run was trained with trainer.{key}={value}; write trainer.{key}=1, or confirm {value} in this way.",
        )


def inside(path: str, folder: str) -> bool:
    """Whether the absolute ``path`` is ``folder`` or lies below it.

    >>> inside("/runs/a/samples", "/runs/a"), inside("/runs/ab", "/runs/a")
    (True, False)
    """
    return os.path.commonpath([path, folder]) == folder


def check_parts(config: DictConfig) -> None:
    """Refuse a part of the model, such as an objective, that belongs to another model.

    Raises:
        UserError: naming the options that belong to the model.
    """
    model = plain(config.model) if OmegaConf.is_dict(config.get("model")) else {}
    own = model_file(model.get("_target_"))
    for name, part in model.items():
        target = part.get("_target_") if isinstance(part, dict) else None
        other = model_file(target)
        if own and other not in (None, own, "base"):
            found = {option(f"model/{name}", choice)._target_: choice for choice in options(f"model/{name}")}
            fitting = [choice for place, choice in found.items() if model_file(place) in (None, own)]
            raise UserError(
                f"model/{name}={found.get(target, target)} belongs to {other}, not to {own}; {nearest('', fitting)}"
            )


def model_file(target: Any) -> str | None:
    """Name of the file under ``genmodels/models`` that a ``_target_`` lies in.

    >>> model_file("genmodels.models.gan.Hinge"), model_file("torch.optim.Adam")
    ('gan', None)
    """
    return target.removeprefix(MODELS).split(".")[0] if isinstance(target, str) and target.startswith(MODELS) else None
