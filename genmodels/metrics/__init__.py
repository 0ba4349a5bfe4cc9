"""Evaluations: likelihood and Fréchet distances, each ending in a :class:`genmodels.core.Score`."""

from genmodels.metrics.base import Evaluation
from genmodels.metrics.extractors import Extractor, InceptionV3, InDomainClassifier
from genmodels.metrics.fd import FrechetEvaluation
from genmodels.metrics.frechet import FeatureStatistics, Moments, frechet_distance
from genmodels.metrics.likelihood import LikelihoodEvaluation, LogLikelihoodMean

__all__ = [
    "Evaluation",
    "Extractor",
    "FeatureStatistics",
    "FrechetEvaluation",
    "InDomainClassifier",
    "InceptionV3",
    "LikelihoodEvaluation",
    "LogLikelihoodMean",
    "Moments",
    "frechet_distance",
]
