"""Run folders: their records, their provenance, and the models restored from them."""

from genmodels.files import write_whole
from genmodels.runs.computing import Computing, choose, compile_networks, settled
from genmodels.runs.folder import RunFolder, now
from genmodels.runs.identity import config_hash, differences, expectations, labeled
from genmodels.runs.lock import InUse, claimed, holder, is_claimed
from genmodels.runs.record import EXPECTED, read_record, scores_by_name
from genmodels.runs.weights import (
    check_continues,
    explained,
    load,
    load_weights,
    read_checkpoint,
    restore,
    set_memory_format,
)

__all__ = [
    "EXPECTED",
    "Computing",
    "InUse",
    "RunFolder",
    "check_continues",
    "choose",
    "claimed",
    "compile_networks",
    "config_hash",
    "differences",
    "expectations",
    "explained",
    "holder",
    "is_claimed",
    "labeled",
    "load",
    "load_weights",
    "now",
    "read_checkpoint",
    "read_record",
    "restore",
    "scores_by_name",
    "set_memory_format",
    "settled",
    "write_whole",
]
