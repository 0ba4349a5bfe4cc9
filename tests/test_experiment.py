"""What an experiment says of itself."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from genmodels.experiment import forget_peak_memory, peak_memory


@pytest.mark.skipif(torch.cuda.is_available() or not Path("/proc/self/clear_refs").exists(), reason="Linux, on a CPU")
def test_a_job_answers_for_its_own_memory_alone():
    size = 500_000_000
    forget_peak_memory()
    bare = peak_memory()
    held = torch.zeros(size, dtype=torch.uint8).fill_(1)
    assert peak_memory() > bare + 0.9 * size
    del held
    forget_peak_memory()
    assert peak_memory() < bare + 0.1 * size
