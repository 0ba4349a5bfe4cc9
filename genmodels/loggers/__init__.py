"""Loggers: metrics.csv in the run folder, and its mirrors on Weights & Biases, TensorBoard and MLflow."""

from genmodels.loggers.log import log_animation, log_image, log_scores, log_values
from genmodels.loggers.metrics_csv import MetricsCsv
from genmodels.loggers.mirror import Copied, Mirror
from genmodels.loggers.mlflow import MLflow
from genmodels.loggers.tensorboard import TensorBoard
from genmodels.loggers.wandb import Wandb

__all__ = [
    "Copied",
    "MLflow",
    "MetricsCsv",
    "Mirror",
    "TensorBoard",
    "Wandb",
    "log_animation",
    "log_image",
    "log_scores",
    "log_values",
]
