"""Keep the results that the README shows: ``python tests/results/keep.py RUN_FOLDER ...``

Copies each run's run.json here and draws their samples side by side, one picture a data set, of the first seed.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path

from PIL import Image

from genmodels.plots import side_by_side

HERE = Path(__file__).parent
ORDER = ("GAN", "VAE", "RealNVP", "DDPM")
PATHS = ("data.root=", "run_dir=", "hydra.")  # overrides that say where, not what


def main(folders: list[Path]) -> None:
    pictures: dict[str, dict[str, Image.Image]] = {}
    for folder in folders:
        record = json.loads((folder / "run.json").read_text())
        number, model = ORDER.index(record["model"]), record["model"].lower()
        kept = HERE / record["data"] / f"{number}_{model}_seed{record['seed']}"
        kept.mkdir(parents=True, exist_ok=True)
        record["overrides"] = [word for word in record["overrides"] if not word.startswith(PATHS)]
        (kept / "run.json").write_text(json.dumps(record, indent=2) + "\n")
        grid = Image.open(folder / "samples" / "final.png")
        pictures.setdefault(record["data"], {}).setdefault(record["model"], grid)
    for data, by_model in pictures.items():
        row = {f"{model}, {data}": by_model[model] for model in ORDER if model in by_model}
        side_by_side(row).save(HERE / f"{data}.png", optimize=True)


if __name__ == "__main__":
    main([Path(word) for word in sys.argv[1:]])
