"""The failure of an ODE's solver, told to the user."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from genmodels.errors import UserError


@contextmanager
def solving() -> Iterator[None]:
    """Context in which a model solves an ODE.

    Raises:
        UserError: if an adaptive solver does not reach its end.
    """
    try:
        yield
    except FloatingPointError as error:
        raise UserError(f"{error}; the model has diverged, or the tolerance is too small for float32.") from error
