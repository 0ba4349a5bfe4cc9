"""Identity of an experiment, independent of its folder, and the results that its recipe expects."""

from __future__ import annotations

import hashlib
import json
from typing import Any

from omegaconf import DictConfig, OmegaConf

NOT_IN_HASH = ("seed", "run_dir", "logger", "dry_run", "expected", "hydra")  # keys that do not define the experiment
EXPECTED = ("metric", "value", "tolerance", "source")  # keys of a result that a recipe expects


def config_hash(config: DictConfig) -> str:
    """Hash of the entries that define the experiment; runs that differ only in their seed share it."""
    plain = OmegaConf.to_container(config, resolve=True)
    assert isinstance(plain, dict)
    kept = {key: value for key, value in plain.items() if key not in NOT_IN_HASH}
    kept["data"] = {**kept["data"], "seed": None}
    text = json.dumps(moved(kept, str(plain["run_dir"]), ""), sort_keys=True)
    return hashlib.sha256(text.encode()).hexdigest()[:12]


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
