"""Re-exported from :mod:`genmodels.errors`."""

from genmodels.errors import UserError, nearest, require

__all__ = ["UserError", "nearest", "require"]
