"""Samples of the model under evaluation, drawn once in independent sets or read from a file."""

from __future__ import annotations

import json
import statistics
import time
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np
import torch
from torch import Tensor
from torchmetrics import MaxMetric

from genmodels.archives import read_arrays, sizes
from genmodels.core.processes import broadcast, is_rank_zero
from genmodels.core.randomness import SAMPLING, stream
from genmodels.errors import UserError, require
from genmodels.files import atomic
from genmodels.hardware import require_memory
from genmodels.metrics.processes import map_over_ranks
from genmodels.metrics.sample_files import digest, is_own, read_foreign
from genmodels.networks.labelled import drawn_labels, given
from genmodels.untrusted import parsed

if TYPE_CHECKING:
    from genmodels.models.base import BaseModel

AT_A_TIME = 250  # samples in one call of the model
TIMED, PATIENCE = 5, 3.0  # calls whose median is the speed of sampling, and seconds for those that nothing else needs
COPIES = 2  # of a set in memory at a time: its parts, and the whole
PROTOCOL: dict[str, Any] = {
    "observation": str,
    "sampling": dict,
    "passes_per_sample": int,
    "sampling_seconds": (int, float),
    "samples_per_second": (int, float),
    "speed_batch": int,
    "speed_draws": int,
}
"""Entries of the protocol of drawn samples, with their types."""
LONGEST, ENORMOUS = 10_000, 1e30  # characters of a protocol, and a bound on the numbers in it


class SampleSets:
    """Independent sets of ``n`` samples each.

    Every call of the model draws from its own random stream, named by the seed, the set and the index of the call. The
    samples therefore depend neither on the order of the evaluations nor on the number of processes.

    A model of p(x | label) is given labels with the frequencies of the training data, so that samples follow the
    model's p(x), unless one label is chosen.

    Args:
        model: the model, with the ability to sample unless :meth:`get` is never called.
        seed: seed of the run.
        file: samples to use instead of new ones, as written by :meth:`save` or ``genmodels sample out=x.npz``, or a
            folder or an archive of images, see :mod:`genmodels.metrics.sample_files`.
        bf16: run the model's networks in bfloat16, under autocast.
        label: the label of all samples; ``None`` for labels that are drawn, or a model without.

    Raises:
        UserError: if the file does not hold samples of the model's data, or the model has no such label.

    Attributes:
        incidental: entries of :meth:`protocol` in which comparable scores may differ.
    """

    incidental: ClassVar[tuple[str, ...]] = (
        "passes_per_sample", "sampling_seconds", "samples_per_second", "speed_batch", "speed_draws", "samples_file",
        "samples_sha256",
    )  # fmt: skip

    def __init__(
        self,
        model: BaseModel,
        seed: int,
        file: str | Path | None = None,
        bf16: bool = False,
        label: int | None = None,
    ) -> None:
        check_label(label, model)
        self.label = label
        self._labels: dict[tuple[int, int], Tensor] = {}
        self.model = model
        self.seed = seed
        self.bf16 = bf16
        self._drawn: dict[tuple[int, int], Tensor] = {}
        self._seconds: dict[int, float] = {}
        self._first: float | None = None  # seconds of the very first call, which also prepares the model
        self._calls: dict[int, list[float]] = {}  # seconds of the other calls, by the number of samples
        self._speeds: dict[int, dict[str, Any]] = {}
        self._given: Tensor | None = None
        self._given_labels: Tensor | None = None
        self._origin: dict[str, Any] = {}
        if file is not None:
            self._given, self._given_labels, self._origin = read(Path(file), model)

    def get(self, n: int, index: int = 0) -> Tensor:
        """Set number ``index``, raw data ``[n, *shape]`` on the CPU.

        Raises:
            UserError: if the file holds too few samples, or so many do not fit into memory.
        """
        if self._given is not None:
            held = len(self._given)
            require(
                held >= (index + 1) * n,
                f"the file holds {held} samples, but {(index + 1) * n} are required; set the metric's n to at most "
                f"{held}, and its repeats to 1.",
            )
            return self._given[index * n : (index + 1) * n]
        if (n, index) not in self._drawn:
            self._drawn[n, index] = self._draw(n, index)
        return self._drawn[n, index]

    def labels(self, n: int, index: int = 0) -> Tensor | None:
        """Labels ``[n]`` that the samples of ``get(n, index)`` were drawn for; ``None`` if there are none."""
        self.get(n, index)
        if self._given is not None:
            return None if self._given_labels is None else self._given_labels[index * n : (index + 1) * n]
        return self._labels.get((n, index))

    @property
    def held(self) -> int:
        """Number of samples in the file; 0 without one."""
        return 0 if self._given is None else len(self._given)

    def at_most(self, repeats: int, n: int) -> int:
        """Number of sets of ``n`` samples available: ``repeats``, or fewer if a file holds fewer, but at least one."""
        return repeats if self._given is None else max(1, min(repeats, len(self._given) // n))

    def _draw(self, n: int, index: int) -> Tensor:
        spec = self.model.spec
        require_memory(COPIES * n * spec.dims * (1 if spec.is_discrete else 4), f"a set of n={n} samples")
        device, clock = self.model.device, MaxMetric().to(self.model.device)
        seconds = 0.0

        def part(number: int) -> tuple[Tensor, Tensor | None]:
            nonlocal seconds
            with stream(self.seed, SAMPLING, index, number, device=device):
                x, y, spent = self._call(min(AT_A_TIME, n - number * AT_A_TIME))
            seconds += spent
            return x, y

        drawn, labels = zip(*map_over_ranks(part, -(-n // AT_A_TIME), "sampling"), strict=True)
        x = torch.cat(drawn)
        if labels[0] is not None:
            self._labels[n, index] = torch.cat(labels)
        clock.update(seconds)
        self._seconds[n] = float(clock.compute())
        return x

    def _call(self, batch: int) -> tuple[Tensor, Tensor | None, float]:
        """Samples ``[batch, *shape]`` and their labels ``[batch]`` on the CPU, and the seconds spent, on a GPU too."""
        if self.model.device.type == "cuda":
            torch.cuda.synchronize(self.model.device)
        began = time.perf_counter()
        low = torch.autocast(self.model.device.type, torch.bfloat16, enabled=self.bf16)
        y = drawn_labels(self.model, batch) if self.label is None else torch.full((batch,), self.label)
        with torch.no_grad(), low, given(self.model, y):
            x: Tensor = self.model.sample(batch).cpu()  # type: ignore[operator]
        seconds = time.perf_counter() - began
        if self._first is None:
            self._first = seconds
        else:
            self._calls.setdefault(batch, []).append(seconds)
        return x, None if y is None else y.cpu(), seconds

    def _speed(self, batch: int) -> dict[str, Any]:
        """Samples per second in calls of ``batch``: the median of several, without the very first call of the model.

        The calls that drew the sets are used; if they are fewer than :data:`TIMED`, more follow for as long as they
        fit into :data:`PATIENCE`. If not even one does, the first call is all there is, and ``speed_draws`` is 0.
        """
        calls, first = self._calls.setdefault(batch, []), self._first or 0.0
        spent = 0.0
        with stream(self.seed, SAMPLING, batch, device=self.model.device):
            while len(calls) < TIMED and spent + (calls[-1] if calls else first) <= PATIENCE:
                spent += self._call(batch)[-1]
        rate = batch / (statistics.median(calls) if calls else first)
        return {"samples_per_second": rate, "speed_batch": batch, "speed_draws": len(calls)}

    def protocol(self, n: int) -> dict[str, Any]:
        """Conditions and speed of the drawing of sets of ``n``, as plain types.

        ``sampling_seconds`` is the time that the latest set took, ``samples_per_second`` the speed of the first process
        in calls of ``speed_batch`` samples: the median of ``speed_draws`` calls, the first call of the model left out.

        ``sampling`` is the model's own description. ``observation`` is ``draw`` for draws from the model's
        distribution, and ``mean`` for a decoder's means shown in place of them.
        """
        if self._given is not None:
            return self._origin
        batch = min(n, AT_A_TIME)
        if batch not in self._speeds:
            self._speeds[batch] = broadcast(self._speed(batch) if is_rank_zero() else {})
        return self._described(n)

    def _described(self, n: int) -> dict[str, Any]:
        model: Any = self.model
        sampling = dict(model.sampling_protocol) | ({"precision": "bf16"} if self.bf16 else {})
        sampling |= {} if self.label is None else {"label": self.label}
        drawn = {"sampling": sampling, "passes_per_sample": model.passes_per_sample}
        speed = self._speeds.get(min(n, AT_A_TIME)) or self._speed(min(n, AT_A_TIME))
        return with_observation({**drawn, "sampling_seconds": self._seconds[n], **speed})

    def save(self, path: Path) -> None:
        """Write the largest sets drawn so far, concatenated, to a file for later use; nothing if none were drawn.

        It may be called by one process alone.
        """
        if self._drawn:
            n = max(n for n, _ in self._drawn)
            keys = sorted(key for key in self._drawn if key[0] == n)
            y = torch.cat([self._labels[key] for key in keys]) if self._labels else None
            write(path, torch.cat([self._drawn[key] for key in keys]), self._described(n), y)


def check_label(label: int | None, model: BaseModel) -> None:
    """Check that ``label`` is one of the model's.

    Raises:
        UserError: if it is not, or the model has none.
    """
    if label is not None:
        classes = model.spec.classes
        name = type(model).__name__
        require(classes is not None, f"label={label} needs a model of labels: train {name} with data.labels=true.")
        require(0 <= label < (classes or 0), f"label must be from 0 to {(classes or 0) - 1}, got {label}.")


def with_observation(protocol: dict[str, Any]) -> dict[str, Any]:
    """The protocol of drawn samples with the entry ``observation``: that of the model's ``sampling``, or ``draw``.

    >>> with_observation({"sampling": {"steps": 50}})
    {'observation': 'draw', 'sampling': {'steps': 50}}
    """
    sampling = protocol.get("sampling")
    entry = {"observation": sampling.get("observation", "draw")} if isinstance(sampling, Mapping) else {}
    return entry | protocol


def write(path: Path, x: Tensor, protocol: dict[str, Any], y: Tensor | None = None) -> None:
    """Write samples ``x [N, *shape]``, their labels ``y [N]`` if any, and a protocol to a compressed NumPy file."""
    path.parent.mkdir(parents=True, exist_ok=True)
    labels: dict[str, Any] = {} if y is None else {"y": y.numpy()}
    with atomic(path) as part:
        np.savez_compressed(part, x=x.numpy(), protocol=np.array(json.dumps(protocol)), **labels)


def read(path: Path, model: BaseModel) -> tuple[Tensor, Tensor | None, dict[str, Any]]:
    """Read samples ``[N, *shape]`` and their protocol from a file written by :func:`write`, or from one of others.

    Returns:
        The samples, uint8 if the data are discrete and float32 if not, their labels ``[N]`` if the file has them and
        the model takes labels, and the protocol.

    Raises:
        UserError: if the file cannot be read, if its samples do not fit the model's data, or if its protocol is none.
    """
    arrays: dict[str, Any] = {}
    if is_own(path):
        wanted = {"protocol"} if model.spec.classes is None else {"protocol", "y"}
        arrays = read_arrays(path, ["x", *(wanted & sizes(path).keys())])
    try:
        x = torch.from_numpy(arrays["x"]) if arrays else read_foreign(path, model.spec)
        model.spec.check(x)
    except (TypeError, ValueError) as error:  # a type that torch does not have, or one that does not fit
        raise UserError(f"samples={path} are not of the run's data: {error}") from error
    x = x.to(torch.uint8 if model.spec.is_discrete else torch.float32)
    require(len(x) > 0, f"samples={path} contains no samples.")
    require(bool(x.isfinite().all()), f"samples={path} contains NaN, infinity or numbers too large for float32.")
    y = labels_of(arrays["y"], len(x), path) if "y" in arrays else None
    protocol = protocol_of(str(arrays["protocol"][()]), path) if "protocol" in arrays else {}
    return x, y, {"samples_file": path.name, "samples_sha256": digest(path)[:12], **with_observation(protocol)}


def labels_of(array: np.ndarray, n: int, path: Path) -> Tensor:
    """Labels ``[n]``, int64.

    Raises:
        UserError: if they are none of ``n`` samples.
    """
    fits = array.dtype.kind in "ui" and array.shape == (n,)
    require(fits, f"samples={path} has as its labels y {array.dtype} {list(array.shape)}, and not {n} integers.")
    return torch.from_numpy(array.astype(np.int64))


def protocol_of(text: str, path: Path) -> dict[str, Any]:
    """The protocol in a file of samples, with entries of the types that :meth:`SampleSets.protocol` has.

    Raises:
        UserError: naming an entry that it does not have, or that is of another type.
    """
    where = f"the protocol in samples={path}"
    require(len(text) <= LONGEST, f"{where} is too long.")
    protocol = parsed(text, where)
    require(isinstance(protocol, dict), f"{where} is not a mapping.")
    for key, value in protocol.items():
        require(key in PROTOCOL, f"{where} has an unknown entry {key!r}.")
        fits = isinstance(value, PROTOCOL[key]) and not isinstance(value, bool)
        require(fits and is_plain(value), f"{where} has {str(value)[:50]!r} as {key}.")
    for key, value in protocol.get("sampling", {}).items():
        require(is_plain(value) and not isinstance(value, dict), f"{where} has {str(value)[:50]!r} as sampling.{key}.")
    observation = with_observation(protocol).get("observation", "")
    require(isinstance(observation, str), f"{where} has {str(observation)[:50]!r} as sampling.observation.")
    return dict(protocol)


def is_plain(value: Any) -> bool:
    """Whether ``value`` is no list, and if it is a number, one that is finite and not enormous."""
    return not isinstance(value, list) and (not isinstance(value, (int, float)) or abs(value) < ENORMOUS)
