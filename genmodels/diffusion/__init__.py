"""Diffusion in plain torch: schedules, the forward process, predictions, objectives, reverse variances, samplers."""

from genmodels.diffusion.learned_schedule import LearnedSchedule
from genmodels.diffusion.objectives import Objective, Simple, Variational
from genmodels.diffusion.predictions import Data, Mean, Noise, Prediction, Velocity
from genmodels.diffusion.process import Coefficients, DiffusionProcess, Noised, extract, random_times
from genmodels.diffusion.samplers import DDIM, Ancestral, Denoiser, DPMSolver, Sampler
from genmodels.diffusion.schedules import cosine, linear, log_snr, reciprocal
from genmodels.diffusion.variances import FixedLarge, FixedSmall, Learned, ReverseVariance

__all__ = [
    "DDIM",
    "Ancestral",
    "Coefficients",
    "DPMSolver",
    "Data",
    "Denoiser",
    "DiffusionProcess",
    "FixedLarge",
    "FixedSmall",
    "Learned",
    "LearnedSchedule",
    "Mean",
    "Noise",
    "Noised",
    "Objective",
    "Prediction",
    "ReverseVariance",
    "Sampler",
    "Simple",
    "Variational",
    "Velocity",
    "cosine",
    "extract",
    "linear",
    "log_snr",
    "random_times",
    "reciprocal",
]
