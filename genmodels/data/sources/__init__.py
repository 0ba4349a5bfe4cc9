"""Data sources, one file per format, each with a method ``load(root) -> Arrays``."""

from genmodels.data.sources.amat import BinarizedMnist
from genmodels.data.sources.base import Arrays, Source
from genmodels.data.sources.binary import Bars, Heartbeat
from genmodels.data.sources.cifar import Cifar10Binary
from genmodels.data.sources.digits import BinaryDigits, Digits
from genmodels.data.sources.drawn import Drawn
from genmodels.data.sources.idx import Idx
from genmodels.data.sources.image_folder import ImageFolder
from genmodels.data.sources.npz import Npz
from genmodels.data.sources.planar import Checkerboard, Gaussian, Mixture, Moons, SwissRoll

__all__ = [
    "Arrays",
    "Bars",
    "BinarizedMnist",
    "BinaryDigits",
    "Checkerboard",
    "Cifar10Binary",
    "Digits",
    "Drawn",
    "Gaussian",
    "Heartbeat",
    "Idx",
    "ImageFolder",
    "Mixture",
    "Moons",
    "Npz",
    "Source",
    "SwissRoll",
]
