"""What happens around training: budget, averaging, checkpoints, validation, evaluation, pictures, progress."""

from genmodels.callbacks.average import WeightAverage
from genmodels.callbacks.budget import Budget
from genmodels.callbacks.checkpoint import Checkpoint
from genmodels.callbacks.evaluate import Evaluate
from genmodels.callbacks.finite import StopOnNaN
from genmodels.callbacks.progress import ProgressBar
from genmodels.callbacks.randomness import Randomness
from genmodels.callbacks.sample_grid import SampleGrid
from genmodels.callbacks.training_log import TrainingLog
from genmodels.callbacks.validate import Validate

__all__ = [
    "Budget",
    "Checkpoint",
    "Evaluate",
    "ProgressBar",
    "Randomness",
    "SampleGrid",
    "StopOnNaN",
    "TrainingLog",
    "Validate",
    "WeightAverage",
]
