"""Markov chain Monte Carlo in plain torch.

Finite chains, paths of densities, transition kernels, annealed importance sampling, diagnostics, and normalizers of
Boltzmann machines.
"""

from genmodels.mcmc.annealed_law import AnnealedLaw, linear_schedule, weight_sample_size
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
from genmodels.mcmc.boltzmann import BoltzmannMachine, Moments, bipartite, independent, lattice, palindrome
from genmodels.mcmc.chains import (
    converges,
    gap,
    imbalance,
    metropolis_matrix,
    mixing_time,
    power,
    stationary,
    total_variation,
)
from genmodels.mcmc.diagnostics import Meeting, effective_sample_size, meeting, normal_scores, split_r_hat
from genmodels.mcmc.hmc import hmc
from genmodels.mcmc.langevin import LangevinAnnealed, defect, langevin, mala, metropolis
from genmodels.mcmc.partition import (
    BINARY,
    SPIN,
    MeanField,
    enumerate_states,
    free_energy,
    log_partition,
    mean_field,
    mean_field_bound,
    thermodynamic_integral,
)
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
    "BINARY",
    "SPIN",
    "Annealed",
    "AnnealedLaw",
    "Base",
    "BoltzmannMachine",
    "Defect",
    "DifferentiablePath",
    "GeometricPath",
    "Kernel",
    "LangevinAnnealed",
    "LogDensity",
    "MeanField",
    "Meeting",
    "Moments",
    "Path",
    "Progress",
    "State",
    "Transition",
    "bipartite",
    "converges",
    "defect",
    "differentiated",
    "effective_sample_size",
    "enumerate_states",
    "forward",
    "free_energy",
    "gap",
    "hmc",
    "imbalance",
    "independent",
    "langevin",
    "lattice",
    "linear_schedule",
    "log_partition",
    "lower_bound",
    "mala",
    "mean_field",
    "mean_field_bound",
    "meeting",
    "metropolis",
    "metropolis_matrix",
    "mixing_time",
    "normal_scores",
    "palindrome",
    "power",
    "raise_bound",
    "reverse",
    "select",
    "sigmoid_schedule",
    "split_r_hat",
    "standard_normal",
    "stationary",
    "thermodynamic_integral",
    "total_variation",
    "tune",
    "upper_bound",
    "weight_sample_size",
    "with_step_sizes",
]
