"""Search over hyperparameters: Hydra's jobs as the trials of a study of Optuna.

Optuna is needed by a search only, and imported by nothing else.
"""
