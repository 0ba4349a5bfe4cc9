"""Markov chain Monte Carlo in plain torch: paths of densities, transition kernels, annealed importance sampling."""

from genmodels.mcmc.annealing import (
    Annealed,
    Kernel,
    Progress,
    forward,
    lower_bound,
    raise_bound,
    reverse,
    sigmoid_schedule,
    upper_bound,
)
from genmodels.mcmc.hmc import hmc
from genmodels.mcmc.paths import DifferentiablePath, GeometricPath, LogDensity, Path, State, select
from genmodels.mcmc.tuning import Transition, tune, with_step_sizes

__all__ = [
    "Annealed",
    "DifferentiablePath",
    "GeometricPath",
    "Kernel",
    "LogDensity",
    "Path",
    "Progress",
    "State",
    "Transition",
    "forward",
    "hmc",
    "lower_bound",
    "raise_bound",
    "reverse",
    "select",
    "sigmoid_schedule",
    "tune",
    "upper_bound",
    "with_step_sizes",
]
