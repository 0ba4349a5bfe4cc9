"""Keep a sweep over the options of one part of a model: ``python -m tests.ablations.keep QUESTION SWEEP_FOLDER``

Copies the run.json of every run, and what defines the experiment in its config.yaml, into the folder of the question,
and writes README.md anew from those of all questions. Without arguments it copies nothing.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path

from genmodels.compare import find_runs, markdown
from tests.results.keep import keep

HERE = Path(__file__).parent
FOREWORD = """# Ablations

One part of a model exchanged, all else equal. Every figure is from a `run.json` below this folder;
`python -m tests.ablations.keep` writes this file from them.
"""
QUESTIONS = {
    "couplings": """## Which map in a coupling?

`python train.py -m experiment=realnvp_digits,nice_digits model/coupling=affine,additive,matrix,spline seed=0,1`

The affine map is that of RealNVP, the additive one that of NICE; the others are an invertible matrix for each position,
and monotone rational-quadratic splines (Durkan et al. 2019). Networks differ by as many outputs as the map has
parameters. No option was tuned: rates and widths are those of the two recipes. The seconds say nothing, since other
work had the machine.
""",
    "couplings_mnist": """## The same on MNIST, at equal cost

`python train.py experiment=realnvp_mnist` and
`python train.py experiment=realnvp_mnist model/coupling=spline budget.max_examples=210k`

Splines train on 0.6 times as many examples in the same time. They guarantee a shorter code, and draw samples
as good.
""",
    "predictions": """## What should the network of a DDPM predict?

`python train.py -m experiment=ddpm_digits model/schedule=linear model/prediction=mean,velocity,data,noise`

The mean of the reverse step, the velocity (Salimans & Ho 2022), the data x_0, or the noise ε, which Ho et al. 2020
chose (§3.2), each by L_simple: the squared error of what is predicted, at uniform times. So the options differ in the
weights of the noise levels too: a small error of the data itself, or of the mean, is large for the bound. The schedule
is that of the paper, where the recipe's begins at the spacing of the levels of the pixels. One seed each.
""",
}
"""Text of every question, by the name of its folder."""


def main(question: str | None = None, sweep: str = "") -> None:
    """Keep the runs of a sweep as those of a question, if one is given, and write the tables of all."""
    for file in Path(sweep).glob("*/run.json") if question else ():
        keep(file.parent, HERE / str(question) / file.parent.name, json.loads(file.read_text()))
    (HERE / "README.md").write_text(readme())


def readme() -> str:
    """The text of README.md: the foreword, and every question with its tables."""
    parts = [part for name, text in QUESTIONS.items() for part in (text.rstrip(), markdown(find_runs(HERE / name)))]
    return "\n\n".join([FOREWORD.rstrip(), *parts]) + "\n"


if __name__ == "__main__":
    main(*sys.argv[1:])
