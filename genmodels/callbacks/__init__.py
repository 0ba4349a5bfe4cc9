"""Lightning callbacks of a run: budget, averaging, checkpoints, validation, evaluation, sample grids, progress."""

from genmodels.callbacks.average import WeightAverage
from genmodels.callbacks.begin import Begin
from genmodels.callbacks.budget import Budget
from genmodels.callbacks.checkpoint import Checkpoint
from genmodels.callbacks.evaluate import Evaluate
from genmodels.callbacks.finite import StopOnNaN
from genmodels.callbacks.interrupt import Interrupt
from genmodels.callbacks.learning_rate import Constant, Cosine, LearningRate, Linear, Plateau
from genmodels.callbacks.model_checkpoint import ModelCheckpoint
from genmodels.callbacks.progress import ProgressBar
from genmodels.callbacks.prune import Prune
from genmodels.callbacks.quality import Quality
from genmodels.callbacks.randomness import Randomness
from genmodels.callbacks.sample_grid import SampleGrid
from genmodels.callbacks.training_log import TrainingLog
from genmodels.callbacks.validate import MONITOR, UNTIL_DUE, Validate
from genmodels.callbacks.warm_up import WarmUp

__all__ = [
    "MONITOR",
    "UNTIL_DUE",
    "Begin",
    "Budget",
    "Checkpoint",
    "Constant",
    "Cosine",
    "Evaluate",
    "Interrupt",
    "LearningRate",
    "Linear",
    "ModelCheckpoint",
    "Plateau",
    "ProgressBar",
    "Prune",
    "Quality",
    "Randomness",
    "SampleGrid",
    "StopOnNaN",
    "TrainingLog",
    "Validate",
    "WarmUp",
    "WeightAverage",
]
