"""What an experiment says of itself."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from omegaconf import OmegaConf

from genmodels.experiment import chosen, forget_peak_memory, peak_memory


@pytest.mark.skipif(not Path("/proc/self/clear_refs").exists(), reason="Linux")
def test_a_job_answers_for_its_own_memory_alone():
    size = 500_000_000
    cpu = torch.device("cpu")
    forget_peak_memory()
    bare = peak_memory(cpu)
    held = torch.zeros(size, dtype=torch.uint8).fill_(1)
    assert peak_memory(cpu) > bare + 0.9 * size
    del held
    forget_peak_memory()
    assert peak_memory(cpu) < bare + 0.1 * size


def test_metrics_that_are_off_or_mere_settings_are_not_chosen():
    config = OmegaConf.create({"fd": {"n": 3}, "kd": None, "likelihood": {"_target_": "x"}, "wrong": "foo"})
    assert [name for name, node in config.items() if chosen(node)] == ["likelihood", "wrong"]  # build refuses a word
