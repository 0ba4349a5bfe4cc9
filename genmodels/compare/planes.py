"""One picture of the densities that all models have on the plane."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from PIL import Image

from genmodels import plots
from genmodels.archives import read_arrays
from genmodels.compare.results import Results, by_family
from genmodels.errors import UserError

COLUMNS = 6  # pictures in a row
ARRAYS = "samples/plane.npz"  # in a run folder


def planes(results: Results) -> dict[str, Image.Image]:
    """The densities of the data and of all models, those of a family side by side, by the name of the data."""
    found = {data: picture(results, data) for data in results.data}
    return {data: image for data, image in found.items() if image is not None}


def picture(results: Results, data: str) -> Image.Image | None:
    """The picture of one data set; ``None`` if no run of it is on the plane."""
    groups = results.of(data)
    panels: dict[str, np.ndarray] = {}
    for members in by_family(groups).values():
        for group in (groups[i] for i in members):
            arrays = arrays_of(group.runs[0].path)
            if arrays is not None:
                panels = {"data": arrays["data_density"], **panels, group.label: arrays["density"]}
    if not panels:
        return None
    highest = 1.25 * float(np.quantile(panels["data"], 0.999))  # as in the pictures of each run
    return plots.density_grid(panels, highest, min(COLUMNS, len(panels)))


def arrays_of(folder: Path) -> dict[str, np.ndarray] | None:
    """The densities of the data and of the model in a run folder; ``None`` if it has none."""
    try:
        found = read_arrays(folder / ARRAYS, ("data_density", "density"))
    except UserError:
        return None
    usable = all(array.ndim == 2 and array.dtype.kind == "f" and array.size for array in found.values())
    return found if usable else None
