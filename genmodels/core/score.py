"""A number fit to be put beside another: what it is, how sure it is, and how it was measured."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from genmodels.core.likelihood import Kind


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
        protocol: everything else that a second person needs to get the same number.

    >>> Score("bits_per_dim", 1.234, "bits/dim", n=360, se=0.01, kind=Kind.LOWER_BOUND).text
    '<= 1.234 ± 0.010'
    """

    name: str
    value: float
    unit: str
    n: int
    se: float | None = None
    kind: Kind | None = None
    protocol: Mapping[str, Any] = field(default_factory=dict)

    @property
    def text(self) -> str:
        """The number as a person reads it: sign of its kind, value, standard error."""
        if not math.isfinite(self.value):
            return str(self.value)
        sign = f"{self.sign} " if self.sign else ""
        error = f" ± {self.se:.3f}" if self.se is not None else ""
        return f"{sign}{self.value:.3f}{error}"

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
            "protocol": dict(self.protocol),
        }

    @classmethod
    def from_dict(cls, name: str, entry: Mapping[str, Any]) -> Score:
        """Inverse of :meth:`to_dict`."""
        kind = Kind(entry["kind"]) if entry["kind"] else None
        return cls(name, entry["value"], entry["unit"], entry["n"], entry["se"], kind, entry["protocol"])
