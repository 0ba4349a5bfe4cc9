"""Evaluations of trained models: each measures one aspect and returns :class:`genmodels.core.Score` objects."""

from genmodels.metrics.ais import AISEvaluation
from genmodels.metrics.base import Evaluation, Subject
from genmodels.metrics.chains import ChainsEvaluation
from genmodels.metrics.codes import CodesEvaluation
from genmodels.metrics.extractors import Extractor, InceptionV3, InDomainClassifier
from genmodels.metrics.fd import FrechetEvaluation
from genmodels.metrics.frechet import FeatureStatistics, Moments, frechet_distance
from genmodels.metrics.gap import GapEvaluation
from genmodels.metrics.inception_score import InceptionScoreEvaluation, inception_score
from genmodels.metrics.kernel import KernelEvaluation, kernel_distance
from genmodels.metrics.kl_to_data import KLToDataEvaluation
from genmodels.metrics.label_accuracy import LabelAccuracyEvaluation
from genmodels.metrics.likelihood import GeneralizationEvaluation, LikelihoodEvaluation, LogLikelihoodMean
from genmodels.metrics.memorization import MemorizationEvaluation
from genmodels.metrics.ode import ProbabilityFlowEvaluation
from genmodels.metrics.partition import PartitionEvaluation
from genmodels.metrics.precision_recall import PRDC, Balls, PRDCEvaluation
from genmodels.metrics.recognized import RecognizedEvaluation, recognized
from genmodels.metrics.reconstruction import ReconstructionEvaluation
from genmodels.metrics.sample_sets import SampleSets

__all__ = [
    "PRDC",
    "AISEvaluation",
    "Balls",
    "ChainsEvaluation",
    "CodesEvaluation",
    "Evaluation",
    "Extractor",
    "FeatureStatistics",
    "FrechetEvaluation",
    "GapEvaluation",
    "GeneralizationEvaluation",
    "InDomainClassifier",
    "InceptionScoreEvaluation",
    "InceptionV3",
    "KLToDataEvaluation",
    "KernelEvaluation",
    "LabelAccuracyEvaluation",
    "LikelihoodEvaluation",
    "LogLikelihoodMean",
    "MemorizationEvaluation",
    "Moments",
    "PRDCEvaluation",
    "PartitionEvaluation",
    "ProbabilityFlowEvaluation",
    "RecognizedEvaluation",
    "ReconstructionEvaluation",
    "SampleSets",
    "Subject",
    "frechet_distance",
    "inception_score",
    "kernel_distance",
    "recognized",
]
