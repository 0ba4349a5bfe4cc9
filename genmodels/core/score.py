"""Evaluated numbers: their values, standard errors and protocols, and which of them are comparable."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from genmodels.core.likelihood import Kind
from genmodels.errors import ensure

UNITS_OF_LIKELIHOOD = ("bits/dim", "nats")


def readable(value: float) -> str:
    """``value`` with three decimals, or with two significant digits if it is smaller than 0.01.

    >>> readable(13.64), readable(0.00123)
    ('13.640', '0.0012')
    """
    return f"{value:.3f}" if value == 0 or abs(value) >= 0.01 else f"{value:.2g}"


@dataclass(frozen=True)
class Score:
    """One evaluated number.

    Every entry of ``protocol`` is a condition: two scores are comparable only if they agree in it. The metric that
    measures the score declares the exceptions, so that an unforeseen setting separates numbers instead of ranking them
    together. The exceptions are the entries named in ``incidental`` and ``baselines``, nested mappings (such as
    ``sampling``, which describes the model), and ``flag``.

    Two entries have a fixed meaning: ``of`` is the number of examples from which the n were chosen, ``flag`` a sentence
    that explains why the number is unreliable.

    Attributes:
        name: what is measured, with whatever the value depends on (``fd_digits_360`` names extractor and n).
        value: the number.
        unit: ``bits/dim``, ``nats``, or ``""`` for a number without a unit.
        n: number of examples or samples behind the value.
        se: standard error, if it was measured.
        kind: relation of the underlying ``log p`` to the true one, for likelihoods.
        better: ``lower`` or ``higher``; ``None`` for an auxiliary number that is not ranked.
        protocol: all other settings needed to reproduce the number.
        quantity: the name without n, number of draws, weights and checkpoint (``fd_digits``); the name by default.
        incidental: entries of the protocol in which comparable scores may differ: seconds, acceptance rates, caps.
        baselines: entries of the protocol that are printed next to the value, with the label of each
            (``{"real": "real data"}``).
        distance: whether it is a distance between the distributions of samples and data, which reports plot against
            cost.

    Raises:
        ValueError: if a likelihood has no kind, or a field has the wrong type.

    >>> Score("bits_per_dim", 1.234, "bits/dim", n=360, se=0.01, kind=Kind.LOWER_BOUND).text
    '<= 1.234 ± 0.010'
    """

    name: str
    value: float
    unit: str
    n: int
    se: float | None = None
    kind: Kind | None = None
    better: str | None = "lower"
    protocol: Mapping[str, Any] = field(default_factory=dict, repr=False)  # this and what follows is too long to show
    quantity: str = field(default="", repr=False)
    incidental: tuple[str, ...] = field(default=(), repr=False)
    baselines: Mapping[str, str] = field(default_factory=dict, repr=False)
    distance: bool = field(default=False, repr=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "quantity", self.quantity or self.name)  # kept when the name is replaced
        ensure(
            self.kind is not None or self.unit not in UNITS_OF_LIKELIHOOD,
            f"{self.name} in {self.unit} must have a kind: exact, a bound or an estimate.",
        )
        self._check_types()

    def _check_types(self) -> None:
        ensure(isinstance(self.unit, str), f"unit must be a string, got {self.unit!r}.")
        ensure(self.better in ("lower", "higher", None), f"better must be lower, higher or None, got {self.better!r}.")
        ensure(isinstance(self.protocol, Mapping), f"protocol must be a mapping, got {self.protocol!r}.")
        ensure(isinstance(self.quantity, str), f"quantity must be a string, got {self.quantity!r}.")
        are_names = isinstance(self.incidental, tuple) and all(isinstance(key, str) for key in self.incidental)
        ensure(are_names, f"incidental must be a tuple of strings, got {self.incidental!r}.")
        have_labels = isinstance(self.baselines, Mapping) and all(isinstance(v, str) for v in self.baselines.values())
        ensure(have_labels, f"baselines must map names of entries to labels, got {self.baselines!r}.")
        ensure(isinstance(self.distance, bool), f"distance must be true or false, got {self.distance!r}.")

    @property
    def conditions(self) -> tuple[tuple[str, str], ...]:
        """Entries of the protocol, as text and sorted by name, in which another score must agree to be comparable.

        >>> protocol = {"split": "test", "seconds": 1.2, "sampling": {"steps": 50}}
        >>> Score("fd_x_9", 3.0, "", n=9, protocol=protocol, incidental=("seconds",)).conditions
        (('split', 'test'),)
        """
        exempt = {*self.incidental, *self.baselines, "flag"}
        entries = ((key, value) for key, value in self.protocol.items() if key not in exempt)
        return tuple(sorted((key, str(value)) for key, value in entries if not isinstance(value, Mapping)))

    @property
    def beside(self) -> dict[str, float]:
        """Values of the baselines that were measured, by label.

        >>> Score("is_x_9", 3.0, "", n=9, protocol={"real": 9.5}, baselines={"real": "real data"}).beside
        {'real data': 9.5}
        """
        return {label: self.protocol[key] for key, label in self.baselines.items() if key in self.protocol}

    @property
    def text(self) -> str:
        """The number as text: sign of its kind, value, standard error."""
        if not math.isfinite(self.value):
            return str(self.value)
        sign = f"{self.sign} " if self.sign else ""
        error = f" ± {readable(self.se)}" if self.se is not None else ""
        return f"{sign}{readable(self.value)}{error}"

    @property
    def remark(self) -> str:
        """Remark to print with the number: the number of examples, the baselines and the flag.

        >>> Score("fd_digits_360", 13.6, "", n=360, protocol={"floor": 0.75}, baselines={"floor": "floor"}).remark
        'floor 0.750'
        >>> protocol = {"of": 360, "gap": 0.0123}
        >>> Score("nats", -1.5, "nats", 100, None, Kind.EXACT, "higher", protocol, baselines={"gap": "gap"}).remark
        'n=100 of 360, gap 0.012'
        """
        parts = [] if self.name.endswith(f"_{self.n}") else [self.on]
        parts += [f"{label} {readable(value)}" for label, value in self.beside.items()]
        return ", ".join([*parts, *([self.protocol["flag"]] if "flag" in self.protocol else [])])

    @property
    def on(self) -> str:
        """The number of examples, and the total from which they were chosen if that is larger."""
        rest = f" of {self.protocol['of']}" if self.protocol.get("of", self.n) > self.n else ""
        return f"n={self.n}{rest}"

    @property
    def line(self) -> str:
        """Name, number, unit and remark."""
        return f"{self.name}  {self.text} {self.unit}".rstrip() + (f"  ({self.remark})" if self.remark else "")

    @property
    def sign(self) -> str:
        """Sign before the value: bits are *negative* log p, so that a lower bound on log p is an upper bound in bits.

        >>> Score("nats", -1.5, "nats", n=100, kind=Kind.LOWER_BOUND).text
        '>= -1.500'
        """
        if self.kind is None:
            return ""
        negated = {"<=": ">=", ">=": "<="} if self.unit == "nats" else {}
        return negated.get(self.kind.symbol, self.kind.symbol)

    def to_dict(self) -> dict[str, Any]:
        """All fields but the name, which is the key of the entry in a record, as plain types for JSON."""
        return {
            "value": self.value,
            "unit": self.unit,
            "kind": self.kind.value if self.kind else None,
            "se": self.se,
            "n": self.n,
            "better": self.better,
            "protocol": dict(self.protocol),
            "quantity": self.quantity,
            "incidental": list(self.incidental),
            "baselines": dict(self.baselines),
            "distance": self.distance,
        }

    @classmethod
    def from_dict(cls, name: str, entry: Mapping[str, Any]) -> Score:
        """Inverse of :meth:`to_dict`; without declarations, every entry of the protocol is a condition.

        Raises:
            KeyError: if another field is missing.
            ValueError: if a field has the wrong type, or the kind is unknown.
        """
        kind = Kind(entry["kind"]) if entry["kind"] else None
        numbers = (entry["value"], entry["unit"], entry["n"], entry["se"])
        incidental = entry.get("incidental", [])
        return cls(
            name,
            *numbers,
            kind,
            entry["better"],
            entry["protocol"],
            quantity=entry.get("quantity", ""),
            incidental=tuple(incidental) if isinstance(incidental, list) else incidental,
            baselines=entry.get("baselines", {}),
            distance=entry.get("distance", False),
        )
