"""An evaluated number: what it is, how accurate it is, how it was measured, and with which others it compares."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from genmodels.core.likelihood import Kind
from genmodels.errors import ensure, require

UNITS_OF_LIKELIHOOD = ("bits/dim", "nats")


def readable(value: float) -> str:
    """Three decimals, or two significant digits of a number that would have too few.

    >>> readable(13.64), readable(0.00123)
    ('13.640', '0.0012')
    """
    return f"{value:.3f}" if value == 0 or abs(value) >= 0.01 else f"{value:.2g}"


@dataclass(frozen=True)
class Score:
    """One evaluated number.

    Every entry of ``protocol`` is a condition: two scores compare only if they agree in it. The metric that measures
    the score declares the exceptions, so that a setting which nobody thought of separates numbers rather than ranks
    them side by side. No condition are: entries named in ``incidental``, the numbers in ``baselines``, nested mappings
    (``sampling``, for example, which describes the model), and ``flag``.

    Two entries have a meaning of their own: ``of`` is the number of examples from which the n were chosen, ``flag`` a
    sentence that says why the number is not to be relied on.

    Attributes:
        name: what is measured, with whatever the value depends on (``fd_digits_360`` names extractor and n).
        value: the number.
        unit: ``bits/dim``, ``nats``, or ``""`` for a number without a unit.
        n: number of examples or samples it rests on.
        se: standard error, if it was measured.
        kind: for likelihoods, what the underlying ``log p`` is.
        better: ``lower`` or ``higher``; ``None`` for a number that explains another and is not ranked.
        protocol: everything else that a second person needs to obtain the same number.
        quantity: the name without n, number of draws, weights and checkpoint (``fd_digits``); the name by default.
        incidental: entries of the protocol in which comparable scores may differ: seconds, acceptance rates, caps.
        baselines: entries of the protocol that are printed beside the value, with the word for each
            (``{"real": "real data"}``).
        distance: whether it is a distance between samples and data as a whole, which reports draw against cost.

    Raises:
        UserError: for a likelihood that does not say its kind.
        ValueError: for a declaration of the wrong type.

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
    quantity: str = ""
    incidental: tuple[str, ...] = ()
    baselines: Mapping[str, str] = field(default_factory=dict)
    distance: bool = False

    def __post_init__(self) -> None:
        object.__setattr__(self, "quantity", self.quantity or self.name)  # which a later change of the name leaves
        require(
            self.kind is not None or self.unit not in UNITS_OF_LIKELIHOOD,
            f"{self.name} in {self.unit} must say its kind: exact, a bound or an estimate.",
        )
        self._check_types()

    def _check_types(self) -> None:
        ensure(isinstance(self.unit, str), f"unit must be a string, got {self.unit!r}.")
        ensure(self.better in ("lower", "higher", None), f"better must be lower, higher or None, got {self.better!r}.")
        ensure(isinstance(self.protocol, Mapping), f"protocol must be a mapping, got {self.protocol!r}.")
        ensure(isinstance(self.quantity, str), f"quantity must be a string, got {self.quantity!r}.")
        names = isinstance(self.incidental, tuple) and all(isinstance(key, str) for key in self.incidental)
        ensure(names, f"incidental must be a tuple of strings, got {self.incidental!r}.")
        words = isinstance(self.baselines, Mapping) and all(isinstance(word, str) for word in self.baselines.values())
        ensure(words, f"baselines must map names of entries to words, got {self.baselines!r}.")
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
        """The baselines that were measured, by their words.

        >>> Score("is_x_9", 3.0, "", n=9, protocol={"real": 9.5}, baselines={"real": "real data"}).beside
        {'real data': 9.5}
        """
        return {words: self.protocol[key] for key, words in self.baselines.items() if key in self.protocol}

    @property
    def text(self) -> str:
        """The number in print: sign of its kind, value, standard error."""
        if not math.isfinite(self.value):
            return str(self.value)
        sign = f"{self.sign} " if self.sign else ""
        error = f" ± {readable(self.se)}" if self.se is not None else ""
        return f"{sign}{readable(self.value)}{error}"

    @property
    def remark(self) -> str:
        """Text that must stand beside the number: how many examples it rests on, its baselines and its flag.

        >>> Score("fd_digits_360", 13.6, "", n=360, protocol={"floor": 0.75}, baselines={"floor": "floor"}).remark
        'floor 0.750'
        >>> protocol = {"of": 360, "gap": 0.0123}
        >>> Score("nats", -1.5, "nats", 100, None, Kind.EXACT, "higher", protocol, baselines={"gap": "gap"}).remark
        'n=100 of 360, gap 0.012'
        """
        parts = [] if self.name.endswith(f"_{self.n}") else [self.on]
        parts += [f"{words} {readable(value)}" for words, value in self.beside.items()]
        return ", ".join([*parts, *([self.protocol["flag"]] if "flag" in self.protocol else [])])

    @property
    def on(self) -> str:
        """Number of examples it rests on, and of how many, if not of all."""
        rest = f" of {self.protocol['of']}" if self.protocol.get("of", self.n) > self.n else ""
        return f"n={self.n}{rest}"

    @property
    def line(self) -> str:
        """Name, number, unit and remark."""
        return f"{self.name}  {self.text} {self.unit}".rstrip() + (f"  ({self.remark})" if self.remark else "")

    @property
    def sign(self) -> str:
        """Sign before the value: bits are *negative* log p, so that a lower bound on log p is an upper one in bits.

        >>> Score("nats", -1.5, "nats", n=100, kind=Kind.LOWER_BOUND).text
        '>= -1.500'
        """
        if self.kind is None:
            return ""
        negated = {"<=": ">=", ">=": "<="} if self.unit == "nats" else {}
        return negated.get(self.kind.symbol, self.kind.symbol)

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
            "quantity": self.quantity,
            "incidental": list(self.incidental),
            "baselines": dict(self.baselines),
            "distance": self.distance,
        }

    @classmethod
    def from_dict(cls, name: str, entry: Mapping[str, Any]) -> Score:
        """Inverse of :meth:`to_dict`; a record without declarations has no exceptions from its conditions.

        Raises:
            KeyError: for an entry that is missing.
            ValueError: for a declaration of the wrong type, or an unknown kind.
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
