"""The console script: training, and commands on run folders after it."""

from __future__ import annotations

import os
import re
import shlex
import sys
from argparse import ArgumentParser, ArgumentTypeError
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, NoReturn

from genmodels.api import draw, draw_completions, evaluate_again, go_on, scored, trained_extractor
from genmodels.composition import compose
from genmodels.errors import UserError, nearest, require
from genmodels.launch import one_sentence_errors, train
from genmodels.places import located
from genmodels.settings import plain
from genmodels.tree import options as options_of
from genmodels.trust import use

if TYPE_CHECKING:
    from genmodels.api import Drawn
    from genmodels.core.score import Score
    from genmodels.experiment import Experiment

NOTE = """Options may also be written without dashes, as in run=FOLDER.
Any other word overrides the run's config in the grammar of train.py: key=value, group=option, +key=value, ~key.
With --config-dir FOLDER options of your own are found, and the classes that they name may be built."""

TRAIN = "Train and evaluate a model, or with -m several, into folders below ./runs; genmodels train --help tells more."
COMPLETION = 'Tab completion: eval "$(genmodels -sc install=bash)", or genmodels -sc install=fish | source'

CONFIG_DIR = ("--config-dir", "-cd")

FRAMES = 40  # of an animation of samples
MOST_DIGITS = 15  # of a number of samples
ADM = "adm"  # layout of an archive, of guided-diffusion
SHORTEST = 0.1  # seconds between two looks of a watch
OF_NO_RECIPE = ("experiment=", "seed=", "data.root=", "run_dir=", "hydra.", "logger")  # what no recipe decides

Options = dict[str, str | None]


@dataclass(frozen=True)
class Command:
    """A subcommand.

    Attributes:
        run: function of the options and the other words.
        usage: its arguments, as the help shows them.
        summary: its effect, in one sentence.
        options: help text of each option.
    """

    run: Callable[[Options, list[str]], None]
    usage: str
    summary: str
    options: dict[str, str]


class Parser(ArgumentParser):
    """A parser whose errors are :class:`UserError`."""

    def error(self, message: str) -> NoReturn:
        """Raise instead of printing the usage.

        Raises:
            UserError: always.
        """
        raise UserError(f"{message}; see {self.prog} --help.")


def main(arguments: list[str] | None = None) -> None:
    """Entry point of the console script."""
    words = sys.argv[1:] if arguments is None else arguments
    with one_sentence_errors():
        words = heeded(words)
        if words[:1] == ["train"]:  # Hydra reads the other words
            return train(words[1:])
        if is_completion(words):
            return complete(words)
        command, options, rest = parse(words if words and words != ["help"] else ["--help"])
        command.run(options, rest)


def heeded(words: list[str]) -> list[str]:
    """The words without ``--config-dir FOLDER``, a folder of options of one's own, which is used from here on.

    Raises:
        UserError: if there is no such folder.
    """
    rest, waiting = [], iter(words)
    for word in waiting:
        name, equals, value = word.partition("=")
        if name in CONFIG_DIR:
            use(value if equals else next(waiting, ""))
        else:
            rest.append(word)
    return rest


def parse(words: list[str]) -> tuple[Command, Options, list[str]]:
    """The command, its options, and the other words.

    Raises:
        UserError: for an unknown command or option, or an option without a value.
    """
    name, after = words[0], ["--help"] if words[1:] == ["help"] else words[1:]
    every = [*COMMANDS, "train"]
    training = "=" in name or name in ("-m", "--multirun", "--cfg")
    require(not training, f"a command comes first, as in: genmodels train {shlex.join(words)}")
    require(name.startswith("-") or name in every, f"unknown command '{name}'; {nearest(name, every)}")
    known = COMMANDS[name].options if name in COMMANDS else {}
    dashed = [f"--{word}" if word.partition("=")[0] in known and "=" in word else word for word in after]
    given, rest = parser().parse_known_args([name, *dashed])
    for word in rest:
        require(not word.startswith("-"), f"unknown option '{word}'; {nearest(word.lstrip('-').split('=')[0], known)}")
    options = vars(given)
    return COMMANDS[options.pop("command")], options, rest


def parser() -> Parser:
    """The parser of the command line without overrides, which ``parse_known_args`` leaves over."""
    about = "Train generative models, and score, sample and compare them afterwards."
    whole = Parser("genmodels", description=about, epilog=COMPLETION, allow_abbrev=False)
    subparsers = whole.add_subparsers(dest="command", required=True, metavar="COMMAND")
    subparsers.add_parser("train", help=TRAIN, add_help=False)
    for name, command in COMMANDS.items():
        usage, note = f"genmodels {name} {command.usage}", NOTE if "run" in command.options else None
        part = subparsers.add_parser(
            name, usage=usage, help=command.summary, description=command.summary, epilog=note, allow_abbrev=False
        )
        for option, text in command.options.items():
            part.add_argument(f"--{option}", help=text, metavar="...", type=not_empty)
    return whole


def is_completion(words: list[str]) -> bool:
    """Whether a shell asks for its completion script, or for the words that may come next."""
    return bool(words) and words[0].partition("=")[0] in ("-sc", "--shell-completion")


def complete(words: list[str]) -> None:
    """Print what a shell asks for: Hydra's script, or what may come next, of which the groups and keys are Hydra's."""
    line = os.environ.get("COMP_LINE", "")
    typed = line.split()[1:] + [""] * line.endswith(" ")  # ends in the word to be completed
    if "query=" not in words[-1] or (typed[:1] == ["train"] and len(typed) > 1):
        os.environ["COMP_LINE"] = line.replace(" train ", " ", 1)
        return train(words)
    names = [*COMMANDS, "train"] if len(typed) < 2 else [f"{name}=" for name in options_named(typed[0])]
    print("\n".join(sorted(name for name in names if name.startswith(typed[-1] if typed else ""))))


def options_named(command: str) -> list[str]:
    """Names of the options of a command; none for one that does not exist."""
    return list(COMMANDS[command].options) if command in COMMANDS else []


def not_empty(value: str) -> str:
    """The value of an option.

    Raises:
        ArgumentTypeError: if it is empty.
    """
    if not value:
        raise ArgumentTypeError("expected a value")
    return value


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
    n, out = options["n"] or ("7" if completes else "64"), Path(options["out"] or "samples.png").expanduser()
    require(is_count(n), f"n must be a positive integer, got {n}.")
    form = options["format"]
    require(out.suffix in (".png", ".npz", ""), f"out must end in .png or .npz, or be a folder, got {out}.")
    require(
        form in (None, ADM) and (form is None or out.suffix == ".npz"), f"format must be {ADM}, and out an .npz file."
    )
    require(out.parent.is_dir(), f"out={out} lies in a folder that does not exist; make {out.parent} first.")

    if completes:
        write_completions(folder, int(n), out, options, overrides)
        return
    drawn = draw(folder, int(n), overrides, label_of(options))

    if out.suffix != ".png":
        return sampled(drawn, out, form)

    from genmodels import plots
    from genmodels.callbacks.sample_grid import paths
    from genmodels.core.randomness import SAMPLING, stream
    from genmodels.hardware import require_memory

    model = drawn.model
    require_memory(FRAMES * plots.picture_bytes(int(n), model.spec), f"an animation of n={n} samples")
    plots.save(drawn.picture, out)
    print(out)
    y = drawn.sets.labels(int(n))
    with stream(drawn.sets.seed, SAMPLING, device=model.device), model.given(y):
        for title, path in paths(model, int(n), FRAMES).items():
            file = out.with_name(f"{out.stem}_{title}.gif")
            plots.animation(path, model.spec, file)
            print(file)


def write_completions(folder: Path, n: int, out: Path, options: Options, overrides: list[str]) -> None:
    """Draw ``n`` completions of each example that is ``given`` where ``mask`` leaves it unknown."""
    given, mask, candidates = options["given"], options["mask"], options["candidates"] or "8"
    if not given or not mask:
        raise UserError("name what is known: given=FILE mask=FILE, a picture, .npy or .npz file each; white is known.")
    require(
        out.suffix in (".png", ".npz"), f"completions are a picture or an archive: end out in .png or .npz, got {out}."
    )
    require(is_count(candidates), f"candidates must be a positive integer, got {candidates}.")
    completed = draw_completions(
        folder, Path(given).expanduser(), Path(mask).expanduser(), n, int(candidates), overrides, label_of(options)
    )

    from genmodels import plots
    from genmodels.metrics.sample_sets import write

    if out.suffix == ".npz":
        write(out, completed.x, {"completions": n, "candidates": int(candidates)})
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


def is_count(text: str) -> bool:
    """Whether ``text`` is a positive integer, and not so long that it must be a mistake.

    >>> [is_count(text) for text in ("64", "0", "-1", "1e3", "²", "9" * 5000)]
    [True, False, False, False, False, False]
    """
    return text.isdecimal() and len(text) <= MOST_DIGITS and int(text) > 0


def score(options: Options, overrides: list[str]) -> None:
    """Score samples that were made elsewhere."""
    samples, name = options["samples"], options["name"]
    require(bool(samples), "name the samples: samples=FOLDER_OR_NPZ")
    require(bool(name), "name the model that made them: name=NAME")
    scored(Path(str(samples)).expanduser(), str(name), overrides)


def extractor(options: Options, overrides: list[str]) -> None:
    """Train a classifier of labelled data."""
    numbers = {}
    for name in ("epochs", "features"):
        value = options[name]
        require(value is None or is_count(value), f"{name} must be a positive integer, got {value}.")
        numbers[name] = None if value is None else int(value)
    trained_extractor(overrides, **numbers)


def export(options: Options, overrides: list[str]) -> None:
    """Write a trained model to a folder."""
    folder, out, weights = run_folder(options), options["out"], options["weights"]
    require(bool(out), "name the folder to write: out=FOLDER")
    require(not overrides, f"export takes no overrides, got {' '.join(overrides)}.")
    require(weights in (None, "ema", "raw"), f"weights must be ema or raw, got {weights}.")

    from genmodels.publish import write

    print(write(folder, Path(str(out)), weights, options["format"]))


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
    unreadable = "; ".join(f"{name}: {reason}" for name, reason in results.unreadable)
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
    require(bool(options["run"]), "name a run folder: run=FOLDER")
    return located(str(options["run"]))


RUN = "the run folder, wandb:ENTITY/PROJECT/ARTIFACT:ALIAS or hf://USER/NAME"
COMMANDS = {
    "evaluate": Command(
        evaluate,
        "run=FOLDER [metrics=[likelihood,fd]] [weights=ema|raw] [checkpoint=best.ckpt] [samples=x.npz] [key=value ...]",
        "Score the run's model again, or samples drawn before, and add the scores to its run.json.",
        {
            "run": RUN,
            "checkpoint": "best.ckpt or last.ckpt",
            "samples": "archive of samples to score in place of new ones",
        },
    ),
    "sample": Command(
        sample,
        "run=FOLDER [n=64] [label=3] [out=samples.png] [format=adm] [given=x.png mask=known.png [candidates=8]] "
        "[key=value ...]",
        "Draw samples into a picture, with GIFs of denoising or interpolation, an archive, out=x.npz, or a folder; or "
        "completions of examples of which a part is given.",
        {
            "run": RUN,
            "n": "number of samples (64), or of completions of each given example (7)",
            "label": "label of all samples, of a model trained with data.labels=true (labels as in its data)",
            "out": "picture of all, .png (samples.png); archive, .npz; or a folder, for one PNG each",
            "format": "adm: the archive has 8-bit color images [n, H, W, 3] as arr_0",
            "given": "picture, .npy or .npz file of examples to complete",
            "mask": "picture, .npy or .npz file of what is known of them: white, or 1",
            "candidates": "number of weighted candidates from which each completion is chosen (8)",
        },
    ),
    "score": Command(
        score,
        "samples=FOLDER_OR_NPZ name=NAME [data=cifar10] [metrics=[fid,kid,prdc,memorization]] [run_dir=FOLDER]",
        "Score samples that were made elsewhere, in a run folder that compare sets beside trained models.",
        {"samples": "folder of images, or archive of images or vectors", "name": "name of the model that made them"},
    ),
    "extractor": Command(
        extractor,
        "data=image_folder data.source.path=FOLDER data.name=NAME [epochs=20] [features=64] [seed=0]",
        "Train a classifier of your own labelled data, in whose features fd, kd, prdc and recognized then compare.",
        {
            "epochs": "passes over the training data (half a million examples, in 10 to 100 passes)",
            "features": "width of the features (192, or 64 for fewer than 2000 test examples)",
        },
    ),
    "export": Command(
        export,
        "run=FOLDER out=FOLDER [weights=ema|raw] [format=torch.export]",
        "Write the model as safetensors with its config, scores and a model card, a folder that takes the run's place.",
        {
            "run": RUN,
            "out": "folder to write",
            "weights": "ema (averaged) or raw",
            "format": "torch.export: also write programs that run with torch alone, such as decoder.pt2",
        },
    ),
    "resume": Command(
        resume,
        "run=FOLDER [budget.max_batches=20000] [key=value ...]",
        "Continue training from the run's last checkpoint, then evaluate.",
        {"run": RUN},
    ),
    "check": Command(
        check,
        "run=FOLDER [experiment=vae_digits]",
        "Compare the run with what its recipe expects; the exit status is 1 if it falls short.",
        {"run": RUN},
    ),
    "compare": Command(
        compare,
        "FOLDER [FOLDER ...] [format=md|csv|latex|json] [html=report.html] [watch=true] [wandb=true]",
        "Show all runs under the folders in tables, averaged over seeds.",
        {
            "format": "md, csv, latex or json, for tables to paste",
            "html": "file for a page with tables, curves and samples",
            "wandb": "true: log the comparison of a sweep's folder on Weights & Biases again",
            "watch": "true: show them again as jobs finish, until none runs any more",
            "interval": "seconds between two looks of watch=true (5)",
        },
    ),
}


if __name__ == "__main__":
    main()
