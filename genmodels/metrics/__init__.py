"""Evaluations: each asks a trained model for one kind of number and ends in :class:`genmodels.core.Score`."""

from genmodels.metrics.ais import AISEvaluation
from genmodels.metrics.base import Evaluation, Subject
from genmodels.metrics.extractors import Extractor, InceptionV3, InDomainClassifier
from genmodels.metrics.fd import FrechetEvaluation
from genmodels.metrics.frechet import FeatureStatistics, Moments, frechet_distance
from genmodels.metrics.inception_score import InceptionScoreEvaluation, inception_score
from genmodels.metrics.kernel import KernelEvaluation, kernel_distance
from genmodels.metrics.likelihood import GeneralisationEvaluation, LikelihoodEvaluation, LogLikelihoodMean
from genmodels.metrics.memorisation import MemorisationEvaluation
from genmodels.metrics.ode import ProbabilityFlowEvaluation
from genmodels.metrics.prdc import Manifold, ManifoldEvaluation, manifold
from genmodels.metrics.samples import SampleSets
from genmodels.metrics.truth import TruthEvaluation

__all__ = [
    "AISEvaluation",
    "Evaluation",
    "Extractor",
    "FeatureStatistics",
    "FrechetEvaluation",
    "GeneralisationEvaluation",
    "InDomainClassifier",
    "InceptionScoreEvaluation",
    "InceptionV3",
    "KernelEvaluation",
    "LikelihoodEvaluation",
    "LogLikelihoodMean",
    "Manifold",
    "ManifoldEvaluation",
    "MemorisationEvaluation",
    "Moments",
    "ProbabilityFlowEvaluation",
    "SampleSets",
    "Subject",
    "TruthEvaluation",
    "frechet_distance",
    "inception_score",
    "kernel_distance",
    "manifold",
]
