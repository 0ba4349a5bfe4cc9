"""What the commands of the console script do, given their options and the other words of the line."""

from __future__ import annotations

import re
import shlex
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from genmodels.actions import evaluate_again, go_on, scored, trained_extractor
from genmodels.composition import compose
from genmodels.drawn import draw, draw_completions
from genmodels.errors import UserError, nearest, require
from genmodels.places import located
from genmodels.settings import plain
from genmodels.tree import options as options_of

if TYPE_CHECKING:
    from genmodels.core.score import Score
    from genmodels.drawn import Drawn
    from genmodels.experiment import Experiment

FRAMES = 40  # of an animation of samples
MOST_DIGITS = 15  # of a number of samples
ADM = "adm"  # layout of an archive, of guided-diffusion
SHORTEST = 0.1  # seconds between two looks of a watch
OF_NO_RECIPE = ("experiment=", "seed=", "data.root=", "run_dir=", "hydra.", "logger")  # what no recipe decides

Options = dict[str, str | None]


def evaluate(options: Options, overrides: list[str]) -> None:
    """Evaluate a trained run again, and add the scores to its run.json."""
    print_scores(*evaluate_again(run_folder(options), overrides, options["checkpoint"], options["samples"]))


def resume(options: Options, overrides: list[str]) -> None:
    """Continue training from the last checkpoint, then evaluate."""
    continued = go_on(run_folder(options), overrides)
    print_scores(continued, continued.evaluate.scores)


def print_scores(experiment: Experiment, scores: list[Score]) -> None:
    """Print the scores of an evaluation, and why metrics are missing."""
    from genmodels.console import tell
    from genmodels.core.processes import is_rank_zero

    if is_rank_zero():
        tell(*(score.line for score in scores))
        tell(*(f"no {name}: {reason}" for name, reason in experiment.evaluate.refusals.items()))


def sample(options: Options, overrides: list[str]) -> None:
    """Draw samples, or completions of what is ``given``, into a picture or an archive."""
    folder = run_folder(options)
    completes = any(options[key] for key in ("given", "mask", "candidates"))
    n, out = count(options, "n") or (7 if completes else 64), Path(options["out"] or "samples.png").expanduser()
    form = options["format"]
    require(out.suffix in (".png", ".npz", ""), f"out must end in .png or .npz, or be a folder, got {out}.")
    require(
        form in (None, ADM) and (form is None or out.suffix == ".npz"), f"format must be {ADM}, and out an .npz file."
    )
    require(out.parent.is_dir(), f"out={out} lies in a folder that does not exist; make {out.parent} first.")

    if completes:
        write_completions(folder, n, out, options, overrides)
        return
    drawn = draw(folder, n, overrides, label_of(options))

    if out.suffix != ".png":
        return sampled(drawn, out, form)

    from genmodels import plots
    from genmodels.callbacks.sample_grid import paths
    from genmodels.core.randomness import SAMPLING, stream
    from genmodels.hardware import require_memory

    model = drawn.model
    require_memory(FRAMES * plots.picture_bytes(n, model.spec), f"an animation of n={n} samples")
    plots.save(drawn.picture, out)
    print(out)
    y = drawn.sets.labels(n)
    with stream(drawn.sets.seed, SAMPLING, device=model.device), model.given(y):
        for title, path in paths(model, n, FRAMES).items():
            file = out.with_name(f"{out.stem}_{title}.gif")
            plots.animation(path, model.spec, file)
            print(file)


def write_completions(folder: Path, n: int, out: Path, options: Options, overrides: list[str]) -> None:
    """Draw ``n`` completions of each example that is ``given`` where ``mask`` leaves it unknown."""
    given, mask, candidates = options["given"], options["mask"], count(options, "candidates") or 8
    if not given or not mask:
        raise UserError("name what is known: given=FILE mask=FILE, a picture, .npy or .npz file each; white is known.")
    require(
        out.suffix in (".png", ".npz"), f"completions are a picture or an archive: end out in .png or .npz, got {out}."
    )
    completed = draw_completions(
        folder, Path(given).expanduser(), Path(mask).expanduser(), n, candidates, overrides, label_of(options)
    )

    from genmodels import plots
    from genmodels.metrics.sample_sets import write

    if out.suffix == ".npz":
        write(out, completed.x, {"completions": n, "candidates": candidates})
    else:
        plots.save(completed.picture, out)
    print(out)


def label_of(options: Options) -> int | None:
    """The ``label`` of all samples, ``None`` if none is named.

    Raises:
        UserError: if it is no integer.
    """
    label = options["label"]
    whole = label is None or (label.isdecimal() and len(label) <= MOST_DIGITS)
    require(whole, f"label must be an integer from 0, got {label}.")
    return None if label is None else int(label)


def sampled(drawn: Drawn, out: Path, form: str | None) -> None:
    """Write samples as arrays or single images."""
    from genmodels.metrics.sample_files import write_adm, write_folder

    if form == ADM:
        write_adm(drawn.x, drawn.model.spec, out)
    elif out.suffix == ".npz":
        drawn.sets.save(out)
    else:
        write_folder(drawn.x, drawn.model.spec, out)
    print(out)


def score(options: Options, overrides: list[str]) -> None:
    """Score samples that were made elsewhere."""
    samples = named(options, "samples", "the samples: samples=FOLDER_OR_NPZ")
    name = named(options, "name", "the model that made them: name=NAME")
    scored(Path(samples).expanduser(), name, overrides)


def extractor(options: Options, overrides: list[str]) -> None:
    """Train a classifier of labelled data."""
    trained_extractor(overrides, count(options, "epochs"), count(options, "features"))


def export(options: Options, overrides: list[str]) -> None:
    """Write a trained model to a folder."""
    folder, weights = run_folder(options), options["weights"]
    out = Path(named(options, "out", "the folder to write: out=FOLDER"))
    require(not overrides, f"export takes no overrides, got {' '.join(overrides)}.")
    require(weights in (None, "ema", "raw"), f"weights must be ema or raw, got {weights}.")

    from genmodels.publish import write

    print(write(folder, out, weights, options["format"]))


def check(options: Options, overrides: list[str]) -> None:
    """Compare a run with its recipe's ``expected``; a score better than expected passes.

    Of the run folder only run.json is read.
    """
    folder, given = run_folder(options), [word.removeprefix("experiment=") for word in overrides]
    understood = len(given) <= 1 and all(word.startswith("experiment=") for word in overrides)
    require(understood, f"check takes only a run folder and experiment=..., got {' '.join(overrides)}.")
    require((folder / "run.json").exists(), f"{folder} is not a run folder: it has no run.json.")

    from genmodels.runs import EXPECTED, read_record, scores_by_name

    record = read_record(folder / "run.json")
    scores = scores_by_name(record)
    lines, reached = [], True
    for metric, value, tolerance, source in ([entry[key] for key in EXPECTED] for entry in expected(record, given)):
        known = ", ".join(scores) or "none"
        require(metric in scores, f"{metric}, which the recipe expects, was not measured; measured: {known}.")
        found = scores[metric]
        worse = (value - found.value) if found.better == "higher" else (found.value - value)
        verdict = "reached" if worse <= tolerance else f"missed by {worse - tolerance:.3f}"
        reached &= worse <= tolerance
        lines.append(f"{found.line}; expected {value} with tolerance {tolerance} ({source}): {verdict}.")
    if changed := [word for word in record.get("overrides", []) if not word.lstrip("+").startswith(OF_NO_RECIPE)]:
        lines.append(f"The run changes its recipe: {' '.join(changed)}.")
    require(reached, "\n".join(lines))
    print("\n".join(lines))


def expected(record: Mapping[str, Any], given: list[str]) -> list[Any]:
    """The results that the recipe ``given`` expects, else those in the record, else those of the recipe that it names.

    Raises:
        UserError: if there are none, or if the recipe is for another model or other data.
    """
    from genmodels.runs import expectations

    if not given and (found := expectations(record.get("expected"))):
        return found
    words = [word.lstrip("+").partition("=") for word in record.get("overrides", [])]
    names = given or [value.strip("[]") for key, _, value in words if key == "experiment"]
    lacking = "the run was made without a recipe that expects a result; name one: experiment=..."
    require(bool(names), lacking)
    recipes = options_of("experiment")
    require(names[-1] in recipes, f"unknown recipe '{names[-1]}'; {nearest(names[-1], recipes)}")
    config = compose([f"experiment={names[-1]}"])
    of = (config.model._target_.rpartition(".")[2], config.data.name)
    own = (record.get("model"), record.get("data"))
    require(of == own, f"experiment={names[-1]} is for {' on '.join(of)}, the run is {' on '.join(map(str, own))}.")
    found = expectations(plain(config.expected))
    require(bool(found), lacking)
    return found


def compare(options: Options, places: list[str]) -> None:
    """Print tables of all runs under the given folders, and write a report if ``html`` names a file."""
    require(bool(places), "name one or more folders: genmodels compare FOLDER ...")
    form, interval = options["format"], watching(options)

    from genmodels.compare import FORMATS, Results, compared, find_runs, print_tables, watch, write_report

    require(form is None or form in FORMATS, f"format={form} is not known; {nearest(str(form), FORMATS)}")
    runs = find_runs(*places)
    require(bool(runs), f"there is no run.json under {', '.join(places)}.")
    html = Path(options["html"]).expanduser() if options["html"] else None
    given = [f"{key}={value}" for key, value in options.items() if value]
    command = shlex.join(["genmodels", "compare", *places, *given])

    def keep(results: Results) -> None:
        if html is not None:
            write_report(results, html, command=command)

    if interval is not None:
        results = watch(places, interval, keep)
    else:
        results = compared(runs)
        print_tables(results) if form is None else print(FORMATS[form](results))
        keep(results)
    if html is not None:
        print(html, file=sys.stderr)  # since the standard output may go into a file
    if switched(options, "wandb"):
        from genmodels.compare.mirror import log_again

        log_again(results, runs, places)
    unreadable = "; ".join(f"{each.name}: {each.reason}" for each in results.unreadable)
    require(not unreadable, f"the comparison lacks {unreadable}")


def switched(options: Options, name: str) -> bool:
    """Whether a switch is on.

    Raises:
        UserError: for a value that is neither true nor false.
    """
    value = options[name] or "false"
    require(value in ("true", "false"), f"{name} must be true or false, got {value}.")
    return value == "true"


def watching(options: Options) -> float | None:
    """Seconds between two looks of ``watch=true``; ``None`` for a single look.

    Raises:
        UserError: for a value of another kind, and for options that exclude each other.
    """
    interval = options["interval"]
    if not switched(options, "watch"):
        require(interval is None, "interval= is that of watch=true, which is missing.")
        return None
    require(options["format"] is None, "watch=true shows tables on the terminal; leave out format=.")
    seconds = float(interval or 5) if re.fullmatch(r"\d{1,5}(\.\d{1,3})?", interval or "5") else 0.0
    require(seconds >= SHORTEST, f"interval must be a number of seconds of at least {SHORTEST}, got {interval}.")
    return seconds


def run_folder(options: Options) -> Path:
    """The run folder that ``run`` names, downloaded if it is elsewhere."""
    return located(named(options, "run", "a run folder: run=FOLDER"))


def named(options: Options, name: str, what: str) -> str:
    """The value of an option that a command needs.

    Raises:
        UserError: with the words ``what``, if it is missing.
    """
    value = options[name]
    if not value:
        raise UserError(f"name {what}")
    return value


def count(options: Options, name: str) -> int | None:
    """The number that an option gives.

    Raises:
        UserError: if it is no positive integer.
    """
    value = options[name]
    require(value is None or is_count(value), f"{name} must be a positive integer, got {value}.")
    return None if value is None else int(value)


def is_count(text: str) -> bool:
    """Whether ``text`` is a positive integer, and not so long that it must be a mistake.

    >>> [is_count(text) for text in ("64", "0", "-1", "1e3", "²", "9" * 5000)]
    [True, False, False, False, False, False]
    """
    return text.isdecimal() and len(text) <= MOST_DIGITS and int(text) > 0
