"""Run folders: their records, their provenance, and the models restored from them."""

from genmodels.files import write_whole
from genmodels.runs.folder import RunFolder, now
from genmodels.runs.identity import EXPECTED, config_hash, expectations
from genmodels.runs.weights import load, load_weights, read_checkpoint, restore, set_memory_format

__all__ = [
    "EXPECTED",
    "RunFolder",
    "config_hash",
    "expectations",
    "load",
    "load_weights",
    "now",
    "read_checkpoint",
    "restore",
    "set_memory_format",
    "write_whole",
]
