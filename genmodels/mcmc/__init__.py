"""Markov chain Monte Carlo in plain torch: paths of densities, transition kernels, annealed importance sampling."""

from genmodels.mcmc.annealed_law import AnnealedLaw, effective_sample_size, linear_schedule
from genmodels.mcmc.annealing import (
    Annealed,
    Defect,
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
from genmodels.mcmc.langevin import LangevinAnnealed, defect, langevin, mala, metropolis
from genmodels.mcmc.paths import (
    Base,
    DifferentiablePath,
    GeometricPath,
    LogDensity,
    Path,
    State,
    differentiated,
    select,
    standard_normal,
)
from genmodels.mcmc.tuning import Transition, tune, with_step_sizes

__all__ = [
    "Annealed",
    "AnnealedLaw",
    "Base",
    "Defect",
    "DifferentiablePath",
    "GeometricPath",
    "Kernel",
    "LangevinAnnealed",
    "LogDensity",
    "Path",
    "Progress",
    "State",
    "Transition",
    "defect",
    "differentiated",
    "effective_sample_size",
    "forward",
    "hmc",
    "langevin",
    "linear_schedule",
    "lower_bound",
    "mala",
    "metropolis",
    "raise_bound",
    "reverse",
    "select",
    "sigmoid_schedule",
    "standard_normal",
    "tune",
    "upper_bound",
    "with_step_sizes",
]
