"""From files to batches: each file is decoded once into a tensor or memory map, of which batches are indexed."""

from genmodels.data.datamodule import DataModule
from genmodels.data.loader import BatchLoader
from genmodels.data.root import data_root

__all__ = ["BatchLoader", "DataModule", "data_root"]
