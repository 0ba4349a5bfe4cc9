"""How a run computes: the precision and the memory layout of convolutions, by rules that rest on measurements.

``auto`` chooses by the processor and the model alone, never by a race at the start, so that a run repeats bit for bit.
The measurements are those of ``python -m tests.benchmarks precision``, which marks the choices in its table.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any

import torch
from omegaconf import DictConfig
from torch import Tensor, nn

from genmodels.hardware import bf16_factor, bf16_unit, cpu_name

AUTO, FULL, LOW = "auto", "32-true", "bf16-mixed"  # of trainer.precision
SMALL = 16 * 16  # pixels; on 8 x 8 bf16 takes 0.7 to 1.9 times as long as float32
NARROW, WIDE = 32, 64  # channels


@dataclass(frozen=True)
class Computing:
    """How a run computes.

    Attributes:
        precision: Lightning's name, such as ``32-true``.
        channels_last: whether the memory of convolutions is laid out with the channels last.
        why: the reason for the precision, in words.
        warnings: what the user should know, in sentences.
    """

    precision: str | int
    channels_last: bool
    why: str
    warnings: tuple[str, ...] = ()

    @property
    def bf16(self) -> bool:
        """Whether networks run in bfloat16 under autocast."""
        return self.precision in (LOW, "bf16")

    @property
    def lines(self) -> tuple[str, ...]:
        """The choices in one line, and the warnings."""
        layout, threads = "channels last" if self.channels_last else "contiguous", torch.get_num_threads()
        return (
            f"computing in {self.precision} ({self.why}), {layout}, with {threads} thread{'s' * (threads > 1)}",
            *self.warnings,
        )

    @property
    def entry(self) -> dict[str, Any]:
        """The entry of run.json."""
        return {"precision": self.precision, "channels_last": self.channels_last, "why": self.why}

    def settled(self, config: DictConfig) -> DictConfig:
        """A copy of ``config`` with the choices in place of ``auto``."""
        return settled(config, self.entry)


def settled(config: DictConfig, entry: Mapping[str, Any]) -> DictConfig:
    """A copy of ``config`` with the choices in the ``entry`` of a run.json, if any, in place of ``auto``."""
    config = config.copy()
    if config.trainer.get("precision") == AUTO:
        config.trainer.precision = entry.get("precision", AUTO)
    if config.channels_last == AUTO:
        config.channels_last = entry.get("channels_last", AUTO)
    return config


def choose(config: DictConfig, model: nn.Module, device: torch.device, record: Mapping[str, Any]) -> Computing:
    """The precision and the memory layout of a run.

    Args:
        config: its config; what it sets, holds.
        model: its model.
        device: where it runs.
        record: its run.json, whose precision and layout ``auto`` repeats, unless this device emulates the precision;
            empty for a run that begins.
    """
    before: Mapping[str, Any] = record.get("computing", {})
    precision, why, warnings = choose_precision(config.trainer.get("precision", FULL), model, device, before)
    layout = config.channels_last
    if layout == AUTO:
        layout = rule_of_layout(model, device, precision)
        layout = before.get("channels_last", layout) if before.get("precision") == precision else layout
    cpu = record.get("hardware", {}).get("cpu", cpu_name())
    elsewhere = f"the run began on another processor, {cpu}: the last digits of results may differ."
    return Computing(precision, layout, why, warnings if cpu == cpu_name() else (*warnings, elsewhere))


def compile_networks(networks: Iterable[nn.Module]) -> None:
    """Compile ``networks`` in place, as ``nn.Module.compile`` does.

    That method leaves modules of PyTorch's own classes, such as ``nn.Sequential``, as they are and says nothing: the
    compiler skips PyTorch's code, unless it is called from a function of somebody else's.
    """
    for network in networks:
        network._compiled_call_impl = torch.compile(called(network._call_impl))


def called(function: Callable[..., Tensor]) -> Callable[..., Tensor]:
    """``function``, called from here."""

    def call(*inputs: Any, **options: Any) -> Tensor:
        return function(*inputs, **options)

    return call


def choose_precision(
    wanted: str | int, model: nn.Module, device: torch.device, before: Mapping[str, Any]
) -> tuple[str | int, str, tuple[str, ...]]:
    """The precision, the reason, and warnings, see :func:`choose`."""
    unit, name = bf16_unit(device), device_name(device)
    emulates = unit is None and device.type in ("cpu", "cuda")
    if wanted != AUTO:
        factor = f"{bf16_factor(device):.1f}" if is_low(wanted) and emulates else None
        slow = (
            f"{name} emulates bf16: a small convolution takes {factor} times as long as in float32, "
            "measured just now; trainer.precision=32-true is faster."
        )
        return wanted, "as trainer.precision says", (slow,) if factor else ()
    precision, why = rule_of_precision(model, device, unit)
    recorded = before.get("precision", precision)
    if is_low(recorded) and unit is None:
        return precision, why, (f"the run computed in {recorded}, which {name} lacks; results may differ slightly.",)
    return recorded, why if recorded == precision else "as the run began", ()


def is_low(precision: Any) -> bool:
    """Whether a precision of Lightning's names is bfloat16."""
    return str(precision).startswith("bf16")


def rule_of_precision(model: nn.Module, device: torch.device, unit: str | None) -> tuple[str, str]:
    """The precision that computes ``model`` fastest, and why.

    Vectors keep the digits of float32, which densities of reals need. For images, GPUs that have bf16 use it; so do
    CPUs for images of at least 16 x 16 pixels, unless the network is narrow: group normalization is slower in bf16,
    which only wide convolutions make up for.

    Args:
        model: a model with the ``spec`` of its data.
        device: where it runs.
        unit: what computes in bf16 there, see :func:`genmodels.hardware.bf16_unit`.
    """
    spec: Any = model.spec
    if getattr(model, "needs_float32", False):
        return FULL, "bf16 has too few digits for energies"
    if unit is None:
        return FULL, f"{device_name(device)} has no bf16"
    if not spec.is_image:
        return FULL, "bf16 is for images"
    if device.type != "cpu":
        return LOW, unit
    if spec.shape[1] * spec.shape[2] < SMALL:
        return FULL, "bf16 is for larger images"
    channels, least = width(model), WIDE if normalizes_groups(model) else NARROW
    if channels < least:
        return FULL, f"bf16 gains nothing by {channels} channels"
    return LOW, unit


def rule_of_layout(model: nn.Module, device: torch.device, precision: str | int) -> bool:
    """Whether channels last is the faster memory layout of convolutions.

    On a CPU it is for wide networks, and for group normalization in float32; in bf16 this takes twice as long with it.
    """
    if device.type != "cpu":
        return True
    return not is_low(precision) if normalizes_groups(model) else width(model) >= WIDE


def width(model: nn.Module) -> int:
    """The number of channels that at least half of a model's weights have on both their sides."""
    sides = sorted((min(p.shape[:2]), p.numel()) for p in model.parameters() if p.dim() > 1)
    rest = sum(size for _, size in sides) / 2
    for side, size in sides:
        rest -= size
        if rest < 0:
            return side
    return 0


def normalizes_groups(model: nn.Module) -> bool:
    """Whether a network of ``model`` has group normalization."""
    return any("GroupNorm" in type(module).__name__ for module in model.modules())


def device_name(device: torch.device) -> str:
    """The processor's name."""
    return torch.cuda.get_device_name(device) if device.type == "cuda" else cpu_name()
