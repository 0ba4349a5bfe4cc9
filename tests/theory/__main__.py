"""Pictures of the theory, drawn from what the tests compute: ``python -m tests.theory [out=FOLDER]``.

Every point is an exact sum or a quadrature; nothing is simulated. It takes some ten seconds.
"""

from __future__ import annotations

import math
import sys
from collections.abc import Callable, Sequence
from pathlib import Path

import torch
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from genmodels.mcmc import free_energy, gap, mixing_time, stationary
from genmodels.plots import SERIES, rendered, save
from tests.theory.diffusions import gap_of_bits, gap_of_gaussian, step_gaps_of_bits
from tests.theory.systems import (
    GAUSSIAN,
    QUARTIC,
    decay,
    line_and_noise,
    log_partition_by,
    mean_defect,
    random_chain,
    random_restricted,
    walk,
    wells,
)

BLUE, ORANGE, GREEN, PINK, SKY, YELLOW, *_ = SERIES
GRAY = "#666666"
FOLDER = "runs/theory"


def panels(count: int, titles: list[str]) -> tuple[Figure, list[Axes]]:
    """A figure of so many axes in a row, with titles."""
    figure = Figure(figsize=(5.2 * count, 4.0), dpi=130)
    axes = list(figure.subplots(1, count, squeeze=False)[0])
    for each, title in zip(axes, titles, strict=True):
        each.set_title(title, fontsize="medium")
        each.grid(alpha=0.25)
        each.spines[["top", "right"]].set_visible(False)
    return figure, axes


def mark_slope(axes: Axes, x: Sequence[float], y: Sequence[float], words: str, side: int = 1) -> None:
    """A dotted line on logarithmic axes, with words above its middle, or below for ``side`` = -1."""
    axes.loglog(x, y, color=GRAY, linestyle=":", linewidth=1)
    middle = (x[len(x) // 2], y[len(x) // 2])
    where = {"textcoords": "offset points", "ha": "right", "va": "center"}
    axes.annotate(words, middle, (-4, 8 * side), **where, fontsize="x-small", color=GRAY)


def draw_decay() -> Figure:
    """Distance to the limit of two chains, beside powers of their second eigenvalues."""
    figure, (left, right) = panels(2, ["a walk over a barrier, 20 states", "a chain of random entries, 20 states"])
    for axes, chain, steps in ((left, walk(), 600), (right, random_chain(20), 12)):
        n, modulus = torch.arange(steps + 1), 1 - gap(chain)
        for start, color in ((0, BLUE), (int(stationary(chain).argmax()), ORANGE)):
            label = "from the state at the end" if start == 0 else "from the likeliest state"
            marker = "o" if steps < 50 else ""
            axes.semilogy(n, decay(chain, start, steps), color=color, label=label, marker=marker, markersize=4)
        axes.semilogy(
            n, modulus**n, color=GRAY, linestyle="--", label=rf"$|\lambda_2|^n$, $|\lambda_2|$ = {modulus:.4f}"
        )
        time = mixing_time(chain)
        axes.axvline(time, color=GREEN, linestyle=":", label=f"mixing time, {time} step{'s' * (time > 1)}")
        axes.set(xlabel="steps $n$", ylabel="total variation to the stationary law")
        axes.legend(fontsize="small", frameon=False)
    return figure


def draw_defect() -> Figure:
    """The defect in detailed balance of Langevin steps, and of steps without gradient, against the step size."""
    figure, (axes,) = panels(1, ["how far one step is from detailed balance"])
    sizes = torch.logspace(-4, -1, 10, dtype=torch.float64)
    x, noise, law = line_and_noise(QUARTIC)
    blind = [float(((QUARTIC.log_g(x + (2 * e) ** 0.5 * noise) - QUARTIC.log_g(x)).abs() * law).sum()) for e in sizes]
    axes.loglog(sizes, blind, color=ORANGE, marker="s", markersize=4, label=r"without the gradient, log $f = -x^4/4$")
    for path, color, marker, name in (
        (QUARTIC, BLUE, "o", r"Langevin, log $f = -x^4/4$"),
        (GAUSSIAN, GREEN, "^", r"Langevin, log $f = -x^2/2$"),
    ):
        found = [mean_defect(path, e) for e in sizes.tolist()]
        axes.loglog(sizes, found, color=color, marker=marker, markersize=4, label=name)
        if path is QUARTIC:
            mark_slope(axes, sizes, 3 * found[0] * (sizes / sizes[0]) ** 1.5, "slope 3/2")
    mark_slope(axes, sizes, 2 * blind[0] * (sizes / sizes[0]) ** 0.5, "slope 1/2")
    axes.set(xlabel=r"step size $\eta$ (squared units of $x$)", ylabel=r"mean defect $E|r|$ (nats)")
    axes.legend(fontsize="small", frameon=False)
    return figure


def draw_log_partition() -> Figure:
    """The normalizer of a restricted Boltzmann machine by enumeration, annealing and thermodynamic integration."""
    figure, (left, right) = panels(
        2, ["a machine of 3 + 3 units, from one without couplings", "distance to enumeration"]
    )
    machine, base = random_restricted()
    numbers = [2**k for k in range(9)]
    found = [log_partition_by(machine, base, k) for k in numbers]
    lines = {
        "annealing": (BLUE, "o", "annealing, $E[\\log w]$: below"),
        "reverse": (ORANGE, "s", "annealing in reverse: above"),
        "left": (SKY, "v", "integral, slopes at the left: below"),
        "right": (YELLOW, "^", "integral, slopes at the right: above"),
        "trapezoid": (GREEN, "D", "integral, trapezoids"),
        "corrected": (PINK, "P", "integral, trapezoids and variances"),
    }
    truth = found[0].truth
    left.axhline(truth, color="black", linewidth=1, label=f"enumeration, {truth:.4f}")
    for name, (color, marker, label) in lines.items():
        values = [getattr(each, name) for each in found]
        dashed = "--" if name in ("left", "right") else "-"
        style = {"color": color, "marker": marker, "markersize": 4, "linestyle": dashed}
        left.semilogx(numbers, values, label=label, base=2, **style)
        errors = [abs(value - truth) for value in values]
        kept = [(k, error) for k, error in zip(numbers, errors, strict=True) if error > 1e-13]
        right.loglog(*zip(*kept, strict=True), **style)
    for power, start in ((1, 0.3), (2, 0.04), (4, 0.001)):
        mark_slope(right, numbers, [start / k**power for k in numbers], f"slope $-{power}$", side=-1)
    right.set_xscale("log", base=2)
    left.set(xlabel="temperatures", ylabel=r"$\log Z_1/Z_0$ (nats)")
    right.set(xlabel="temperatures", ylabel="absolute error (nats)")
    left.legend(fontsize="x-small", frameon=False)
    return figure


def draw_free_energy() -> Figure:
    """Free energy of laws at other temperatures than its own, and its excess against the divergence."""
    figure, (left, right) = panels(2, ["Boltzmann's law has the least free energy", "what another law has in excess"])
    torch.manual_seed(0)
    energy = 3 * torch.randn(50, dtype=torch.float64)
    others = torch.logspace(-0.6, 1.5, 100, dtype=torch.float64)
    laws = torch.softmax(-energy / others[:, None], 1)
    at_random = torch.softmax(4 * torch.randn(60, 50, dtype=torch.float64), 1)
    for temperature, color, marker in ((1.0, BLUE, "o"), (3.0, ORANGE, "s"), (6.0, GREEN, "^")):
        least = free_energy(torch.softmax(-energy / temperature, 0), energy, temperature)
        left.semilogx(others, free_energy(laws, energy, temperature), color=color, label=f"$T$ = {temperature:g}")
        left.plot([temperature], [float(least)], color=color, marker=marker)
        p = torch.softmax(-energy / temperature, 0)
        divergence = (torch.xlogy(at_random, at_random) - at_random * p.log()).sum(1)
        excess = free_energy(at_random, energy, temperature) - least
        style = {"color": color, "marker": marker, "markersize": 4, "linestyle": "none"}
        right.plot(temperature * divergence, excess, **style, label=f"laws at random, $T$ = {temperature:g}")
    ends = right.get_xlim()
    right.plot(ends, ends, color=GRAY, linewidth=1, linestyle="--", zorder=0, label=r"$F(q) - F(p^*) = T\,KL(q\|p^*)$")
    left.set(xlabel="temperature at which $q$ is Boltzmann's law", ylabel=r"$F_T(q) = E_q E - T H(q)$ (nats)")
    left.legend(fontsize="small", frameon=False, loc=(0.7, 0.2), title=r"marked: $-T \log Z$", title_fontsize="small")
    right.set(xlabel=r"$T\,KL(q\|p^*)$ (nats)", ylabel=r"$F_T(q) - F_T(p^*)$ (nats)")
    right.legend(fontsize="small", frameon=False)
    return figure


def draw_cooling() -> Figure:
    """Boltzmann's law of an energy with two unequal wells as it cools."""
    figure, (left, right) = panels(2, [r"$p \propto e^{-\beta E}$ as it cools", "what is left of energy and entropy"])
    x = torch.linspace(-2, 2, 401, dtype=torch.float64)
    energy = 2 * (x.square() - 1).square() - 0.3 * x
    energy = energy - energy.min()
    for beta, color in ((0.0, SKY), (0.5, BLUE), (2.0, GREEN), (8.0, YELLOW), (32.0, ORANGE)):
        law = torch.softmax(-beta * energy, 0)
        left.plot(x, law / (x[1] - x[0]), color=color, label=rf"$\beta$ = {beta:g}")
    twin = left.twinx()
    twin.plot(x, energy, color=GRAY, linestyle="--", linewidth=1)
    twin.set(ylim=(0, 8), ylabel="energy $E$ (dashed, nats)")
    betas = torch.logspace(-1.5, 2.5, 100, dtype=torch.float64)
    laws = torch.softmax(-betas[:, None] * energy, 1)
    entropy = -torch.xlogy(laws, laws).sum(1) / math.log(len(x))
    mean = laws @ energy
    right.semilogx(betas, mean / energy.mean(), color=BLUE, label="mean energy, relative to hot")
    right.semilogx(betas, entropy, color=ORANGE, label="entropy, relative to hot")
    right.semilogx(betas, laws[:, x > 0].sum(1), color=GREEN, label="mass of the deeper well")
    left.set(xlabel="state $x$", ylabel="density", ylim=(0, None))
    left.legend(fontsize="small", frameon=False, loc="upper center")
    right.set(xlabel=r"inverse temperature $\beta$ (1/nats)", ylabel="fraction", ylim=(0, 1.05))
    right.legend(fontsize="x-small", frameon=False, loc=(0.6, 0.7))
    return figure


def draw_missed_well() -> Figure:
    """Annealing of two wells both ways: what bounds log Z, and what does not."""
    figure, (left, right) = panels(2, ["two wells, 30 % in the wide one", r"what annealing says of $\log Z$"])
    numbers = [2**k for k in range(3, 13)]
    rows: dict[str, list[float]] = {"forward": [], "exact": [], "missed": []}
    for k in numbers:
        run, wide = wells(k)
        exact = torch.softmax(run.log_f1, 0)
        missed = torch.where(wide, exact, 0) / exact[wide].sum()
        mean_log_w = run.reverse()[1]
        rows["forward"].append(run.forward()[1] - run.truth)
        rows["exact"].append(float(exact @ mean_log_w) - run.truth)
        rows["missed"].append(float(missed @ mean_log_w) - run.truth)
        if k == 1024:
            x = torch.linspace(-4, 4, len(exact))
            left.plot(x, exact, color="black", marker="o", markersize=3, label=r"$f_1 / Z_1$")
            left.plot(x, run.forward()[2], color=BLUE, label=f"where annealing arrives, {k} temperatures")
            left.plot(x, torch.softmax(run.log_f0, 0), color=GRAY, linestyle="--", label=r"$f_0 / Z_0$")
    right.axhline(0, color="black", linewidth=1)
    for name, color, marker, label in (
        ("exact", ORANGE, "s", "in reverse from exact draws: a bound"),
        ("missed", PINK, "D", "in reverse from draws of the wide well: no bound"),
        ("forward", BLUE, "o", "forward: a bound"),
    ):
        right.semilogx(numbers, rows[name], color=color, marker=marker, markersize=4, label=label, base=2)
    left.set(xlabel="state", ylabel="probability")
    left.legend(fontsize="small", frameon=False)
    right.set(xlabel="temperatures", ylabel=r"$E[\log w] - \log Z_1/Z_0$ (nats)", ylim=(-2.5, 3.0))
    right.legend(fontsize="small", frameon=False)
    return figure


def draw_quasi_static() -> Figure:
    """The gap of a diffusion model's bound against its number of steps, and where along the chain it arises."""
    figure, (left, right) = panels(2, ["gap of the best reverse chain", "what each step adds, four bits"])
    numbers = [2**k for k in range(2, 12)]
    for gap_of, color, marker, name in (
        (gap_of_bits, BLUE, "o", "four bits, steps of independent bits"),
        (gap_of_gaussian, ORANGE, "s", "correlated Gaussian, steps of independent ones"),
    ):
        gaps = [gap_of(steps) for steps in numbers]
        left.loglog(numbers, gaps, color=color, marker=marker, markersize=4, label=name)
        if gap_of is gap_of_bits:
            mark_slope(left, numbers, [0.4 * gaps[-1] * numbers[-1] / steps for steps in numbers], "slope -1", side=-1)
    for steps, color in ((16, BLUE), (64, ORANGE), (256, GREEN)):
        added = torch.tensor(step_gaps_of_bits(steps)) * steps**2
        right.plot(torch.arange(1, steps + 1) / steps, added, color=color, label=f"$T$ = {steps}")
    left.set(xlabel="steps $T$", ylabel=r"$E[\log p_{data} - K]$ (nats)")
    right.set(xlabel="$t / T$", ylabel="divergence of a step, times $T^2$ (nats)")
    for axes in (left, right):
        axes.legend(fontsize="small", frameon=False)
    return figure


PICTURES: dict[str, Callable[[], Figure]] = {
    "decay": draw_decay,
    "detailed_balance": draw_defect,
    "log_partition": draw_log_partition,
    "free_energy": draw_free_energy,
    "cooling": draw_cooling,
    "missed_well": draw_missed_well,
    "quasi_static": draw_quasi_static,
}


def main(words: list[str]) -> None:
    """Draw all pictures into the folder that ``out=`` names."""
    if len(words) > 1 or not all(word.startswith("out=") and len(word) > 4 for word in words):
        sys.exit(f"usage: python -m tests.theory [out=FOLDER], by default {FOLDER}")
    folder = Path(words[0].removeprefix("out=") if words else FOLDER)
    folder.mkdir(parents=True, exist_ok=True)
    for name, draw in PICTURES.items():
        save(rendered(draw()), folder / f"{name}.png")
        print(folder / f"{name}.png")


if __name__ == "__main__":
    main(sys.argv[1:])
