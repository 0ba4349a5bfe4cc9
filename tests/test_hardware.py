"""Peak memory and the processor's name."""

from __future__ import annotations

import os
import platform
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace

import psutil
import pytest
import torch

from genmodels import hardware
from genmodels.hardware import GIB, available_memory, bf16_factor, bf16_unit, cpu_name, forget_peak_memory, peak_memory


@pytest.mark.skipif(not hardware.CLEAR_REFS.exists(), reason="Linux")
def test_the_peak_is_that_of_the_current_job_alone():
    size = 500_000_000
    cpu = torch.device("cpu")
    forget_peak_memory()
    bare = peak_memory(cpu)
    held = torch.zeros(size, dtype=torch.uint8).fill_(1)
    assert peak_memory(cpu) > bare + 0.9 * size
    del held
    forget_peak_memory()
    assert peak_memory(cpu) < bare + 0.1 * size


REALLOCATES = """
import resource, sys, torch
from genmodels.hardware import keep_freed_memory
if sys.argv[1] == "kept":
    assert keep_freed_memory()
def faults():
    before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
    for _ in range(10):
        tensors = [torch.ones(6, 1000, 1000) for _ in range(4)]
        del tensors
    return resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before
faults()
print(faults())
"""


@pytest.mark.slow
@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="glibc")
def test_freed_memory_is_used_again():
    """Pages that are mapped anew when four tensors of 24 MB are allocated and freed ten times."""
    fixed = {**os.environ, "MALLOC_MMAP_THRESHOLD_": "131072"}  # glibc's first value, which it would adapt to the past
    faults = [
        int(subprocess.run([sys.executable, "-c", REALLOCATES, how], env=fixed, capture_output=True, check=True).stdout)
        for how in ("kept", "returned")
    ]
    assert faults[0] < 100 < 5000 < faults[1]  # a tensor has 5860 pages


def test_without_glibc_freed_memory_is_left_to_the_system(monkeypatch):
    monkeypatch.setattr(hardware.ctypes, "CDLL", lambda _: SimpleNamespace())
    assert not hardware.keep_freed_memory()


def test_without_proc_the_peak_is_psutils_if_available(monkeypatch):
    monkeypatch.setattr(hardware, "STATUS", Path("/nowhere/status"))
    monkeypatch.setattr(hardware, "CLEAR_REFS", Path("/nowhere/clear_refs"))
    forget_peak_memory()  # does nothing
    held = psutil.Process().memory_info().rss
    assert peak_memory(torch.device("cpu")) == pytest.approx(held, rel=0.1)
    windows = SimpleNamespace(memory_info=lambda: SimpleNamespace(rss=1, peak_wset=2))
    monkeypatch.setattr(psutil, "Process", lambda: windows)
    assert peak_memory(torch.device("cpu")) == 2


@pytest.mark.parametrize(("version", "limit", "free"), [(0, 4 * GIB, 2 * GIB), (1, GIB, 0), (0, "max", 8 * GIB)])
def test_the_memory_of_a_container_is_its_limit_less_what_it_uses(monkeypatch, tmp_path, version, limit, free):
    monkeypatch.setattr(psutil, "virtual_memory", lambda: SimpleNamespace(available=8 * GIB))
    *_, names = [(tmp_path, *each[1:]) for each in hardware.CONTAINERS[: version + 1]]
    for name, value in zip(names[1:3], (limit, 3 * GIB), strict=True):
        (tmp_path / name).write_text(f"{value}\n")
    (tmp_path / "memory.stat").write_text(f"anon 7\n{names[3]} {GIB}\n")
    monkeypatch.setattr(hardware, "CONTAINERS", [names])
    assert available_memory() == free


def test_the_processor_has_a_name():
    assert cpu_name()


CPU = torch.device("cpu")
AVX512 = {"architecture": "x86_64", "avx512_bf16": True, "amx_bf16": False}


@pytest.mark.parametrize(
    ("found", "limit", "unit"),
    [
        (AVX512, None, "AVX512-BF16"),
        (AVX512 | {"amx_bf16": True}, None, "AMX"),
        ({"architecture": "x86_64", "avx512_bf16": False, "avx512_f": True}, None, None),
        ({"architecture": "x86_64", "avx2": True}, None, None),
        ({"architecture": "aarch64", "bf16": True}, None, "Arm's BF16"),
        ({"architecture": "aarch64", "bf16": False}, None, None),
        (AVX512, "AVX2", None),
        (AVX512, "avx512_core", None),
        (AVX512, "AVX512_CORE_BF16", "AVX512-BF16"),
        (AVX512, "AVX10_1_512", "AVX512-BF16"),
    ],
)
@pytest.mark.parametrize("variable", hardware.LIMITS)
def test_bf16_is_asked_of_the_processor_within_onednns_limit(monkeypatch, found, limit, unit, variable):
    for name in hardware.LIMITS:
        monkeypatch.delenv(name, raising=False)
    if limit:
        monkeypatch.setenv(variable, limit)
    monkeypatch.setattr(torch.cpu, "get_capabilities", lambda: found, raising=False)
    assert bf16_unit(CPU) == unit


@pytest.mark.parametrize("native", [True, False])
def test_bf16_is_asked_of_the_gpu(monkeypatch, native):
    monkeypatch.setattr(torch.cuda, "is_bf16_supported", lambda including_emulation: native or including_emulation)
    monkeypatch.setattr(torch.cuda, "get_device_name", lambda device: "A100")
    assert bf16_unit(torch.device("cuda")) == ("A100" if native else None)
    assert bf16_unit(torch.device("mps")) is None  # never measured


def test_an_older_torch_is_asked_in_its_own_way(monkeypatch):
    monkeypatch.delattr(torch.cpu, "get_capabilities", raising=False)
    monkeypatch.setattr(torch.cpu, "_is_avx512_bf16_supported", lambda: True)
    monkeypatch.setattr(torch.cpu, "_is_amx_tile_supported", lambda: False)
    for name in hardware.LIMITS:
        monkeypatch.delenv(name, raising=False)
    assert bf16_unit(CPU) == "AVX512-BF16"


def test_the_factor_of_bf16_is_measured(monkeypatch):
    clock = iter([0, 10, 20, 22, 30, 44])  # two starts to warm up; then 2 and 14 seconds
    monkeypatch.setattr(hardware, "time", SimpleNamespace(perf_counter=lambda: next(clock)))
    state = torch.get_rng_state()
    assert bf16_factor(CPU, rounds=1) == 7
    assert torch.equal(torch.get_rng_state(), state)
