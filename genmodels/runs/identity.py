"""Which experiment a config describes, wherever its folder lies, and what its recipe expects."""

from __future__ import annotations

import hashlib
import json
from typing import Any

from omegaconf import DictConfig, OmegaConf

NOT_IN_HASH = ("seed", "run_dir", "logger", "dry_run", "expected", "hydra")  # what does not define the experiment
EXPECTED = ("metric", "value", "tolerance", "source")  # what a recipe says of a score that its runs should reach


def config_hash(config: DictConfig) -> str:
    """Hash of what defines the experiment: runs that differ only in their seed share it."""
    plain = OmegaConf.to_container(config, resolve=True)
    assert isinstance(plain, dict)
    kept = {key: value for key, value in plain.items() if key not in NOT_IN_HASH}
    kept["data"] = {**kept["data"], "seed": None}
    text = json.dumps(moved(kept, str(plain["run_dir"]), ""), sort_keys=True)
    return hashlib.sha256(text.encode()).hexdigest()[:12]


def moved(node: Any, old: str, new: str) -> Any:
    """A plain config whose paths at or below the folder ``old`` are below ``new``.

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
    """What a recipe's ``expected`` says, which is nothing, one entry or a list of them, as a list."""
    if expected is None:
        return []
    return expected if isinstance(expected, list) else [expected]
