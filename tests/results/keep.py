"""Keep the results that the README shows: ``python tests/results/keep.py RUN_FOLDER ...``

Copies each run's run.json here, and what defines the experiment in its config.yaml; draws their samples side by side,
one picture per data set, of the first seed, writes README.md anew, and prints what recipes may expect. Without a folder
it copies nothing.
"""

from __future__ import annotations

import json
import math
import statistics
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from omegaconf import OmegaConf
from PIL import Image, ImageDraw, ImageFont
from scipy.stats import t

from genmodels.compare import Run, find_runs, markdown
from genmodels.runs import RunFolder
from genmodels.runs.identity import defining

HERE = Path(__file__).parent
ORDER = ("GAN", "VAE", "RealNVP", "DDPM", "RBM", "EBM", "NICE", "MAF", "AE", "CNF", "Nonequilibrium")
FAMILIES = {  # ends of the names of pictures; the others share one
    **dict.fromkeys(("RBM", "EBM"), "_energy"),
    **dict.fromkeys(("NICE", "MAF"), "_flows"),
    "AE": "_autoencoders",
    **dict.fromkeys(("CNF", "Nonequilibrium"), "_others"),
}
PLANE = "checkerboard"  # of the picture that the README's command draws, whose runs are not kept
HEIGHT, GAP, TITLE_HEIGHT = 300, 12, 24  # of the panels of a picture, in pixels
EVALUATED = "evaluated.json"  # scores of later evaluations, beside run.json
SETTINGS = "settings.yaml"  # what the run was made with, beside run.json
PATHS = ("data.root=", "run_dir=", "hydra.")  # overrides that say where, not what
FOREWORD = """# Results

Every row is a recipe, and every figure is from a `run.json` below this folder; `python tests/results/keep.py` writes
this file from them, and `genmodels compare tests/results format=md` prints the tables. Digits: `python train.py -m
experiment=gan_digits,vae_digits,realnvp_digits,ddpm_digits seed=0,1,2`. The others: `python train.py
experiment=gan_mnist` and so on. The budgets of the recipes count examples, five to thirty-five minutes on MNIST of one
core of the processors in the last table. All ran with one thread, beside other work, up to fourteen processes on two
cores: seconds say little. The numbers show that the models are right, not what they reach at convergence (RealNVP on
MNIST: 1.06 bits/dim as reported by Grathwohl et al. 2019).

RBM and EBM compute in float32. Their bits/dim are of the chains that draw their samples, annealed over as many
temperatures as a sample has passes; `partition_bits_per_dim` is of the energies themselves, from the other side: for
the RBM on binarized MNIST -89.8 nats from below and -89.0 from above on the 500 test images of both, and -89.1 from
above on all 10 000. The chains of the EBM are Langevin chains at temperature 1, whose steps are accepted or rejected.
On MNIST they begin at the Gaussian copula of the pixels, which alone has 1.43 bits/dim, and on digits at N(0, I) of
their logits.

NICE has a logit here and none in the paper, which reports 1980.50 nats for MNIST, of a density on the unit cube: that
is 4.356 bits/dim, and the 1.877 here are 3327 such nats. Without the logit, `experiment=nice_mnist model.alpha=null`
reached 4.361 ± 0.009 bits/dim, 1977 ± 5 such nats, in twelve minutes. The CNF is trained by flow matching, on the
mixture by maximum likelihood. The networks of NICE and MAF computed in bfloat16 on MNIST, as those of the others did.

Samples of the AE are decoded from a mixture of its codes. Below the tables are the scores of the same trained models
with other laws of codes, from `genmodels evaluate run=FOLDER model/codes=gaussian` and `normal`, which are in an
`evaluated.json` beside their `run.json`.

Rows stand in the order of the code length that a model guarantees; a GAN guarantees none. The bits/dim are bounds,
which show nothing of how the models' likelihoods themselves compare, and of the CNF an estimate of one, which
guarantees nothing. A place is missing where the error is unknown.

On MNIST and Fashion-MNIST the VAE has a learned prior. Samples of VAE and RealNVP are draws with all their observation
noise, which a Fréchet distance sees. The floor is the distance of real test data to the reference; that of digits is
optimistic, because its test split is stratified (fresh draws from the training set itself score 1.6 to 1.9 at n = 360).
"""


def main(folders: list[Path]) -> None:
    """Keep the runs, their samples in the picture of their family, and the tables."""
    pictures: dict[str, dict[str, Image.Image]] = {}
    for folder in folders:
        record = json.loads((folder / "run.json").read_text())
        number, model = ORDER.index(record["model"]), record["model"].lower()
        kept = HERE / record["data"] / f"{number}_{model}_seed{record['seed']}"
        own, others = split(record["metrics"])
        keep(folder, kept, record | {"metrics": own})
        if others:
            (kept / EVALUATED).write_text(json.dumps(others, indent=2) + "\n")
        grid = Image.open(folder / "samples" / "final.png")
        name = record["data"] + FAMILIES.get(record["model"], "")
        pictures.setdefault(name, {}).setdefault(f"{record['model']}, {record['data']}", grid)
    runs = find_runs(HERE)
    for name, by_title in pictures.items():
        all_of_them = {(run.model, run.data) for run in runs if run.data + FAMILIES.get(run.model, "") == name}
        titles = [", ".join(pair) for pair in sorted(all_of_them, key=lambda pair: ORDER.index(pair[0]))]
        row = {title: by_title[title] if title in by_title else panel(name, titles, title) for title in titles}
        side_by_side(row).save(HERE / f"{name}.png", optimize=True)
    (HERE / "README.md").write_text(readme(runs))
    for (data, model, metric), values in values_of(runs).items():
        print(f"{data} {model} {metric}: value {statistics.fmean(values):.5g}, tolerance {tolerance(values):.2g}")


def side_by_side(pictures: Mapping[str, Image.Image]) -> Image.Image:
    """Pictures in a row, scaled to the same height, each below its title."""
    nearest = Image.Resampling.NEAREST
    scaled = {title: p.resize((p.width * HEIGHT // p.height, HEIGHT), nearest) for title, p in pictures.items()}
    width, left = sum(p.width for p in scaled.values()) + GAP * (len(scaled) - 1), 0
    canvas = Image.new("RGB", (width, HEIGHT + TITLE_HEIGHT), "white")
    pen = ImageDraw.Draw(canvas)
    for title, image in scaled.items():
        pen.text((left, 2), title, fill="black", font=ImageFont.load_default(size=16))
        canvas.paste(image, (left, TITLE_HEIGHT))
        left += image.width + GAP
    return canvas


def panel(name: str, titles: list[str], title: str) -> Image.Image:
    """The samples of one model, cut out of the kept picture of a family, whose panels are squares."""
    picture = Image.open(HERE / f"{name}.png")
    left, top = titles.index(title) * (HEIGHT + GAP), TITLE_HEIGHT
    return picture.crop((left, top, left + HEIGHT, top + HEIGHT))


def without_places(record: dict[str, Any]) -> dict[str, Any]:
    """The run.json without what the recipe expects, which is taken from such runs, and without words that say where."""
    words = [word for word in record["overrides"] if not word.startswith(PATHS)]
    return record | {"expected": None, "overrides": words}


def keep(folder: Path, kept: Path, record: dict[str, Any]) -> None:
    """Write a run's ``record`` to the folder ``kept``, and the settings that its recipe must still have."""
    kept.mkdir(parents=True, exist_ok=True)
    (kept / "run.json").write_text(json.dumps(without_places(record), indent=2) + "\n")
    (kept / SETTINGS).write_text(OmegaConf.to_yaml(defining(RunFolder(folder).config)))


def split(metrics: dict[str, Any]) -> tuple[dict[str, Any], dict[str, Any]]:
    """The scores of the run's own settings, and those of later evaluations with others, which their names end in."""
    own = {name: score for name, score in metrics.items() if not name.endswith("]")}
    return own, {name: score for name, score in metrics.items() if name not in own}


def evaluated(runs: list[Run]) -> list[str]:
    """Rows of a table of later evaluations: the mean over seeds of every score."""
    found: dict[tuple[str, str, str], list[float]] = {}
    for run in runs:
        file = HERE / run.data / run.path.name / EVALUATED
        for name, score in json.loads(file.read_text()).items() if file.exists() else ():
            found.setdefault((run.data, run.model, name), []).append(score["value"])
    rows = [(*key, f"{statistics.fmean(values):.4g}", str(len(values))) for key, values in found.items()]
    header = ["| data | model | score | mean | seeds |", "| :-- | :-- | :-- | --: | --: |"]
    return [*header, *(f"| {' | '.join(row)} |" for row in sorted(rows))]


def values_of(runs: list[Run]) -> dict[tuple[str, str, str], list[float]]:
    """The values of all scores over seeds, by data, model and name."""
    found: dict[tuple[str, str, str], list[float]] = {}
    for run in runs:
        for name, score in run.scores.items():
            found.setdefault((run.data, run.model, name), []).append(score.value)
    return found


def tolerance(values: Sequence[float]) -> float:
    """By how much a further seed is worse than the mean of these at most once in twenty times, for normal scores.

    The bound of a one-sided prediction interval, ``t s sqrt(1 + 1/m)``; NaN for a single value.
    """
    m = len(values)
    return float(t.ppf(0.95, m - 1)) * statistics.stdev(values) * math.sqrt(1 + 1 / m) if m > 1 else math.nan


def origin(run: Run) -> tuple[str, ...]:
    """Data and model of a run, its commit and day, and the processor and precision that computed it."""
    record = run.record
    processor, precision = record["hardware"]["cpu"].replace("(R)", ""), record["computing"]
    instructions = f" ({precision['why']})" if precision["precision"] == "bf16-mixed" else ""
    commit, day = record["git"]["commit"][:8], record["started"][:10]
    return run.data, run.model, commit, day, processor, precision["precision"] + instructions


def readme(runs: list[Run]) -> str:
    """The text of README.md: foreword, tables, samples, and the origins of the runs."""
    pictures = [
        f"![{'Densities' if path.stem == PLANE else 'Samples'} of the models on {path.stem}]({path.name})"
        for path in sorted(HERE.glob("*.png"))
    ]
    header = ["| data | model | commit | date | processor | precision |", f"|{' :-- |' * 6}"]
    origins = [*header, *(f"| {' | '.join(row)} |" for row in sorted({origin(run) for run in runs}))]
    parts = [
        FOREWORD.rstrip(),
        markdown(runs),
        "**later evaluations**",
        "\n".join(evaluated(runs)),
        *pictures,
        "**runs**",
        "\n".join(origins),
    ]
    return "\n\n".join(parts) + "\n"


if __name__ == "__main__":
    main([Path(word) for word in sys.argv[1:]])
