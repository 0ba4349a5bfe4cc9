"""Evaluations: likelihood and Fréchet distances, each ending in a :class:`genmodels.core.Score`."""

from genmodels.metrics.base import Evaluation

__all__ = ["Evaluation"]
