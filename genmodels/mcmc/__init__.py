"""Markov chain Monte Carlo over latents in plain torch: Hamiltonian transitions, annealed importance sampling."""

from genmodels.mcmc.ais import Annealed, forward, lower_bound, reverse, sigmoid_schedule, tune, upper_bound
from genmodels.mcmc.hmc import LogLikelihood, State, evaluate, hmc

__all__ = [
    "Annealed",
    "LogLikelihood",
    "State",
    "evaluate",
    "forward",
    "hmc",
    "lower_bound",
    "reverse",
    "sigmoid_schedule",
    "tune",
    "upper_bound",
]
