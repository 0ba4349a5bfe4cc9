"""Data specifications, losses, likelihoods, observation models and scores, in plain torch."""

from genmodels.core.likelihood import Kind, Likelihood, bits_per_dim, log_mean_exp
from genmodels.core.loss import Loss
from genmodels.core.score import Score
from genmodels.core.spec import DataSpec

__all__ = ["DataSpec", "Kind", "Likelihood", "Loss", "Score", "bits_per_dim", "log_mean_exp"]
