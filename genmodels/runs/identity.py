"""Identity of an experiment, independent of its folder, and of the subject that a score was measured on."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from omegaconf import DictConfig, OmegaConf

from genmodels.core.score import Score
from genmodels.nested import leaves
from genmodels.settings import NOT_IN_HASH, OF_DATA_NOT_IN_HASH

MEASURED = ("model", "data", "seed", "weights", "channels_last", "trainer.precision")  # keys that can change a score
NOT_MEASURED = ("data.batch_size", "data.eval_batch_size", "data.on_device", "data.root")  # ... but for these
NO_WARM_UP = {"_target_": "genmodels.callbacks.WarmUp", "attribute": "beta", "share": 0.0}
LATER = {"labels": False, "classes": None, "label_dropout": 0.0, "guidance": 0.0, "kl": NO_WARM_UP, "cosine_share": 0.0}
"""Keys that options have gained since runs were made, with the values that mean what was before them."""
OF_THE_SUBJECT = ("weights", "data_sha256", "limit")  # conditions of a score that say what was measured, not how


def config_hash(config: DictConfig) -> str:
    """Hash of :func:`defining`, which runs share that differ only in their seed or in where their files lie."""
    text = json.dumps(defining(config), sort_keys=True)
    return hashlib.sha256(text.encode()).hexdigest()[:12]


def defining(config: DictConfig) -> dict[str, Any]:
    """The entries of a run's config that define the experiment, as a plain dictionary without interpolations."""
    plain = OmegaConf.to_container(config, resolve=True)
    assert isinstance(plain, dict)
    kept = {key: value for key, value in plain.items() if key not in NOT_IN_HASH}
    kept["data"] |= dict.fromkeys((*OF_DATA_NOT_IN_HASH, "classes"))  # its spec has the classes that count
    entries: dict[str, Any] = moved(as_before(kept), str(plain["run_dir"]), "")
    return entries


def as_before(node: Any) -> Any:
    """A plain config without the keys of :data:`LATER` whose values mean what was before them.

    >>> as_before({"data": {"labels": False, "name": "digits"}, "model": {"guidance": 3.0}})
    {'data': {'name': 'digits'}, 'model': {'guidance': 3.0}}
    """
    if isinstance(node, list):
        return [as_before(child) for child in node]
    if not isinstance(node, dict):
        return node
    return {key: as_before(child) for key, child in node.items() if key not in LATER or child != LATER[key]}


def moved(node: Any, old: str, new: str) -> Any:
    """A plain config in which paths at or below the folder ``old`` lie at or below ``new``.

    >>> moved({"run_dir": "a/b", "samples": ["a/b/samples", "a/bc"]}, "a/b", "/c")
    {'run_dir': '/c', 'samples': ['/c/samples', 'a/bc']}
    """
    if isinstance(node, dict):
        return {key: moved(child, old, new) for key, child in node.items()}
    if isinstance(node, list):
        return [moved(child, old, new) for child in node]
    within = isinstance(node, str) and (node == old or node.startswith(f"{old}/"))
    return new + node[len(old) :] if within else node


def expectations(expected: Any) -> list[Any]:
    """A recipe's ``expected``, which is ``None``, one entry or a list of entries, as a list."""
    if expected is None:
        return []
    return expected if isinstance(expected, list) else [expected]


def differences(own: DictConfig, other: DictConfig) -> dict[str, str]:
    """The keys that can change a score and differ between two configs, with their values in the ``other``."""
    mine, theirs = (dict(leaves(OmegaConf.to_container(config, resolve=True))) for config in (own, other))
    keys = sorted(key for key in mine | theirs if mine.get(key) != theirs.get(key))
    counts = [key for key in keys if within(key, MEASURED) and not within(key, NOT_MEASURED)]
    return {key: str(theirs.get(key, "null")) for key in counts}


def within(key: str, places: tuple[str, ...]) -> bool:
    """Whether a dotted key is one of the ``places`` or lies below one."""
    return any(key == place or key.startswith(f"{place}.") for place in places)


def labeled(name: str, differing: Mapping[str, str]) -> str:
    """A score's name with the differences between its subject and the run itself.

    >>> labeled("bits_per_dim", {"weights": "raw"}), labeled("bits_per_dim", {})
    ('bits_per_dim[weights=raw]', 'bits_per_dim')
    """
    words = ", ".join(f"{key}={value}" for key, value in differing.items())
    return f"{name}[{words}]" if words else name


def beside(score: Score, others: Mapping[str, Score]) -> Score:
    """The score under a name that no other score has that was measured in another way.

    Two scores of one name are the same number measured again if their conditions agree; what they were measured on is
    already in the name, see :func:`labeled`.
    """
    other = others.get(score.name)
    if other is None:
        return score
    mine, theirs = (
        {"n": str(s.n), **{key: value for key, value in s.conditions if key not in OF_THE_SUBJECT}}
        for s in (score, other)
    )
    differing = {key: mine.get(key, "none") for key in sorted(mine | theirs) if mine.get(key) != theirs.get(key)}
    return replace(score, name=labeled(score.name, differing))
