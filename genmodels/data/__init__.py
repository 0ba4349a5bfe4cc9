"""From files to batches: file -> (decoded once) -> one tensor or memory map -> batches by index."""

from genmodels.data.datamodule import DataModule
from genmodels.data.loader import BatchLoader
from genmodels.data.root import data_root

__all__ = ["BatchLoader", "DataModule", "data_root"]
