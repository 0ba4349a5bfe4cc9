"""A number fit to be put beside another: what it is, how sure it is, and how it was measured."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from genmodels.core.likelihood import Kind
from genmodels.errors import require

UNITS_OF_LIKELIHOOD = ("bits/dim", "nats")
BASELINES = {"floor": "floor", "real": "real data", "gap": "gap"}  # entries of a protocol that stand beside the number


def readable(value: float) -> str:
    """Three decimals, or two significant digits of what would have too few.

    >>> readable(13.64), readable(0.00123)
    ('13.640', '0.0012')
    """
    return f"{value:.3f}" if value == 0 or abs(value) >= 0.01 else f"{value:.2g}"


@dataclass(frozen=True)
class Score:
    """One evaluated number.

    Attributes:
        name: what is measured, protocol-bearing where values depend on it (``fd_digits_360`` names extractor and n).
        value: the number.
        unit: ``bits/dim``, ``nats``, or ``""`` for a distance.
        n: how many examples or samples it rests on.
        se: standard error, if it was measured.
        kind: for likelihoods, what the underlying ``log p`` is.
        better: ``lower`` or ``higher``; ``None`` for a number that explains another and ranks nothing.
        protocol: everything else that a second person needs to get the same number.

    Raises:
        UserError: for a likelihood that does not say its kind.

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
    protocol: Mapping[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        require(
            self.kind is not None or self.unit not in UNITS_OF_LIKELIHOOD,
            f"{self.name} in {self.unit} must say its kind: exact, a bound or an estimate.",
        )

    @property
    def text(self) -> str:
        """The number as a person reads it: sign of its kind, value, standard error."""
        if not math.isfinite(self.value):
            return str(self.value)
        sign = f"{self.sign} " if self.sign else ""
        error = f" ± {readable(self.se)}" if self.se is not None else ""
        return f"{sign}{readable(self.value)}{error}"

    @property
    def remark(self) -> str:
        """What must stand beside the number: how many examples it rests on, and what was measured to judge it by.

        >>> Score("fd_digits_360", 13.6, "", n=360, protocol={"floor": 0.75}).remark
        'floor 0.750'
        >>> Score("nats", -1.5, "nats", n=100, kind=Kind.EXACT, protocol={"of": 360, "gap": 0.0123}).remark
        'n=100 of 360, gap 0.012'
        """
        parts = [] if self.name.endswith(f"_{self.n}") else [self.on]
        parts += [f"{words} {readable(self.protocol[key])}" for key, words in BASELINES.items() if key in self.protocol]
        return ", ".join([*parts, *([self.protocol["flag"]] if "flag" in self.protocol else [])])

    @property
    def on(self) -> str:
        """How many examples it rests on, and of how many, if not of all."""
        rest = f" of {self.protocol['of']}" if self.protocol.get("of", self.n) > self.n else ""
        return f"n={self.n}{rest}"

    @property
    def line(self) -> str:
        """Name, number, unit and remark."""
        return f"{self.name}  {self.text} {self.unit}".rstrip() + (f"  ({self.remark})" if self.remark else "")

    @property
    def sign(self) -> str:
        """What stands before the value: bits are *negative* log p, nats are log p itself, so that bounds turn round.

        >>> Score("nats", -1.5, "nats", n=100, kind=Kind.LOWER_BOUND).text
        '>= -1.500'
        """
        if self.kind is None:
            return ""
        turned = {"<=": ">=", ">=": "<="} if self.unit == "nats" else {}
        return turned.get(self.kind.symbol, self.kind.symbol)

    def to_dict(self) -> dict[str, Any]:
        """Plain types for JSON; the name is the key under which it is kept."""
        return {
            "value": self.value,
            "unit": self.unit,
            "kind": self.kind.value if self.kind else None,
            "se": self.se,
            "n": self.n,
            "better": self.better,
            "protocol": dict(self.protocol),
        }

    @classmethod
    def from_dict(cls, name: str, entry: Mapping[str, Any]) -> Score:
        """Inverse of :meth:`to_dict`."""
        kind = Kind(entry["kind"]) if entry["kind"] else None
        numbers = (entry["value"], entry["unit"], entry["n"], entry["se"])
        return cls(name, *numbers, kind, entry["better"], entry["protocol"])
