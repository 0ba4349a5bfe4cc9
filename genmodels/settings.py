"""The root keys of the config, which no constructor's signature describes."""

from __future__ import annotations

from typing import Any

from omegaconf import DictConfig, OmegaConf

from genmodels.errors import require
from genmodels.runs.identity import EXPECTED, expectations


def check_settings(config: DictConfig) -> None:
    """Check the types and ranges of the root keys.

    Raises:
        UserError: naming the key.
    """
    seed = config.seed
    require(
        isinstance(seed, int) and not isinstance(seed, bool) and 0 <= seed < 2**32,
        f"seed must be an integer from 0 to 4294967295, got {'null' if seed is None else seed}.",
    )
    for key in ("channels_last", "compile", "dry_run"):
        require(isinstance(config[key], bool), f"{key} must be true or false, got {config[key]}.")
    for entry in expectations(plain(config.get("expected"))):
        require(
            isinstance(entry, dict) and set(entry) == set(EXPECTED),
            f"expected must be null, or have exactly {', '.join(EXPECTED)}, or be a list of such entries, got {entry}.",
        )
        for key in ("value", "tolerance"):
            require(isinstance(entry[key], (int, float)), f"expected's {key} must be a number, got {entry[key]}.")
    require(config.weights in ("ema", "raw"), f"weights must be ema or raw, got {config.weights}.")
    batches = {f"trainer.{key}": config.trainer[key] for key in ("accumulate_grad_batches", "log_every_n_steps")}
    for key, count in {"validations": config.validations, **batches}.items():
        counts = isinstance(count, int) and not isinstance(count, bool) and count >= 1
        require(counts, f"{key} must be an integer of at least 1, got {count}.")
    limit = config.trainer.limit_val_batches
    require(
        isinstance(limit, (int, float)) and limit > 0,
        f"trainer.limit_val_batches must be positive, got {limit}: checkpoints are saved at validations.",
    )


def plain(node: Any) -> Any:
    """A config node as resolved dicts and lists; any other value unchanged."""
    return OmegaConf.to_container(node, resolve=True) if OmegaConf.is_config(node) else node
