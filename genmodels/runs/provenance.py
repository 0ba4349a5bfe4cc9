"""Provenance of a run: versions, hardware and source tree, and the cost of its training."""

from __future__ import annotations

import importlib.metadata
import os
import platform
from collections.abc import Mapping
from typing import Any

import torch
from omegaconf import DictConfig

import genmodels
from genmodels.hardware import cpu_name, peak_memory
from genmodels.runs.packages import git_state, packages_of, sources_of, version_of
from genmodels.settings import plain

PACKAGES = ("torch", "lightning", "torchmetrics", "hydra-core", "numpy")


def provenance(config: DictConfig) -> dict[str, Any]:
    """Versions, hardware and the state of the source tree, also of the packages of others that ``config`` names."""
    others = packages_of(plain(config))
    versions = {"python": platform.python_version(), "genmodels": genmodels.__version__}
    for package in PACKAGES:
        versions[package] = importlib.metadata.version(package)
    versions |= {package: version_of(package) for package in others}
    gpus = [torch.cuda.get_device_name(i) for i in range(torch.cuda.device_count())]
    hardware = {"cpu": cpu_name(), "cores": os.cpu_count(), "threads": torch.get_num_threads(), "gpus": gpus}
    sources = {"sources": found} if (found := sources_of(others)) else {}
    return {"versions": versions, "hardware": hardware, "git": git_state(), **sources}


def training_cost(
    model: torch.nn.Module, spent: Mapping[str, float], seconds: Mapping[str, float], device: torch.device
) -> dict[str, Any]:
    """Cost of a run, for run.json.

    - ``train_seconds`` are those of training batches, loading of data included: the budget's, without validation.
    - ``fit_seconds`` are those from the beginning of training to its end in this process, with validation, pictures
      and checkpoints, and ``evaluation_seconds`` those of the evaluation after it, with sampling.
    - ``peak_memory_bytes`` is the peak of the whole run, evaluation included; on a CPU that of the process, with the
      libraries that it has loaded.

    Args:
        model: the trained model.
        spent: seconds (``time``), ``batches``, ``examples`` and ``epochs`` of training.
        seconds: further entries, of seconds.
        device: the device on which it was trained.
    """
    return {
        "parameters": sum(p.numel() for p in model.parameters()),
        "train_seconds": round(spent["time"], 3),
        **{name: round(value, 3) for name, value in seconds.items()},
        "batches": int(spent["batches"]),
        "examples": int(spent["examples"]),
        "epochs": int(spent["epochs"]),
        "peak_memory_bytes": peak_memory(device),
        "device": str(device),
    }
