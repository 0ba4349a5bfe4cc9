"""Which process is the first, before there is a process group."""

from __future__ import annotations

import pytest

from genmodels.core.processes import PARTIAL_RANKS, is_rank_zero


@pytest.mark.parametrize(
    ("environment", "first"),
    [
        ({}, True),
        ({"RANK": "0", "LOCAL_RANK": "0", "GROUP_RANK": "0"}, True),  # torchrun
        ({"RANK": "4", "LOCAL_RANK": "0", "GROUP_RANK": "1"}, False),  # first of the second node
        ({"RANK": "1", "SLURM_PROCID": "0"}, False),  # torchrun inside a Slurm job of one task per node
        ({"SLURM_PROCID": "0", "SLURM_LOCALID": "0"}, True),
        ({"SLURM_PROCID": "2", "SLURM_LOCALID": "0"}, False),
        ({"NODE_RANK": "0", "LOCAL_RANK": "0"}, True),  # Lightning's own launcher
        ({"NODE_RANK": "0", "LOCAL_RANK": "1"}, False),
        ({"NODE_RANK": "1", "LOCAL_RANK": "0"}, False),
        ({"SLURM_PROCID": "0", "LOCAL_RANK": "1"}, False),  # Lightning's launcher inside a Slurm allocation
        ({"GROUP_RANK": "1", "LOCAL_RANK": "0"}, False),
    ],
)
def test_one_process_of_the_whole_job_is_the_first(environment, first, monkeypatch):
    for name in ("RANK", *PARTIAL_RANKS):
        monkeypatch.delenv(name, raising=False)
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    assert is_rank_zero() is first
