"""Pictures in files of others, PNG and JPEG with 8 bits per channel."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import numpy as np
from PIL import Image

from genmodels.errors import UserError, require

SUFFIXES = (".png", ".jpg", ".jpeg")
FORMATS = ("PNG", "JPEG")  # whatever a file's ending: for some formats, Pillow starts other programs
MODES = {1: "L", 3: "RGB"}
"""Mode of a picture in Pillow by its number of channels."""


@contextmanager
def opened(path: Path) -> Iterator[Image.Image]:
    """The picture in a file, which is read in the block.

    Raises:
        UserError: if it cannot be decoded or has more than 8 bits per channel.
    """
    try:
        with Image.open(path, formats=FORMATS) as image:
            require(image.mode[0] not in "IF", f"{path} has more than 8 bits per channel; convert it to 8.")
            yield image
    except (OSError, SyntaxError, ValueError, Image.DecompressionBombError) as error:
        raise UserError(f"{path} cannot be decoded as an image ({error}); repair or remove it.") from error


def pixels(path: Path, shape: Sequence[int]) -> np.ndarray:
    """Pixels ``[H, W, C]`` from 0 to 255 of a picture for data of ``shape`` ``(C, H, W)``, in their colors.

    Raises:
        UserError: if the file cannot be decoded, or has another size.
    """
    channels, height, width = shape
    with opened(path) as image:
        found = image.size
        require(
            found == (width, height),
            f"{path} has {found[0]} x {found[1]} pixels, the data {width} x {height}; resize it.",
        )
        return np.asarray(image.convert(MODES[channels])).reshape(height, width, channels)
