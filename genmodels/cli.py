"""The console script: the grammar of its line, of training and of the commands on run folders after it."""

from __future__ import annotations

import os
import shlex
import sys
from argparse import ArgumentParser, ArgumentTypeError
from collections.abc import Callable
from dataclasses import dataclass
from typing import NoReturn

from genmodels import commands
from genmodels.commands import Options
from genmodels.errors import UserError, nearest, require
from genmodels.launch import one_sentence_errors, train
from genmodels.trust import use

NOTE = """Options may also be written without dashes, as in run=FOLDER.
Any other word overrides the run's config in the grammar of train.py: key=value, group=option, +key=value, ~key.
With --config-dir FOLDER options of your own are found, and the classes that they name may be built."""

TRAIN = "Train and evaluate a model, or with -m several, into folders below ./runs; genmodels train --help tells more."
COMPLETION = 'Tab completion: eval "$(genmodels -sc install=bash)", or genmodels -sc install=fish | source'

CONFIG_DIR = ("--config-dir", "-cd")


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


RUN = "the run folder, wandb:ENTITY/PROJECT/ARTIFACT:ALIAS or hf://USER/NAME"
COMMANDS = {
    "evaluate": Command(
        commands.evaluate,
        "run=FOLDER [metrics=[likelihood,fd]] [weights=ema|raw] [checkpoint=best.ckpt] [samples=x.npz] [key=value ...]",
        "Score the run's model again, or samples drawn before, and add the scores to its run.json.",
        {
            "run": RUN,
            "checkpoint": "best.ckpt or last.ckpt",
            "samples": "archive of samples to score in place of new ones",
        },
    ),
    "sample": Command(
        commands.sample,
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
        commands.score,
        "samples=FOLDER_OR_NPZ name=NAME [data=cifar10] [metrics=[fid,kid,prdc,memorization]] [run_dir=FOLDER]",
        "Score samples that were made elsewhere, in a run folder that compare sets beside trained models.",
        {"samples": "folder of images, or archive of images or vectors", "name": "name of the model that made them"},
    ),
    "extractor": Command(
        commands.extractor,
        "data=image_folder data.source.path=FOLDER data.name=NAME [epochs=20] [features=64] [seed=0]",
        "Train a classifier of your own labelled data, in whose features fd, kd, prdc and recognized then compare.",
        {
            "epochs": "passes over the training data (half a million examples, in 10 to 100 passes)",
            "features": "width of the features (192, or 64 for fewer than 2000 test examples)",
        },
    ),
    "export": Command(
        commands.export,
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
        commands.resume,
        "run=FOLDER [budget.max_batches=20000] [key=value ...]",
        "Continue training from the run's last checkpoint, then evaluate.",
        {"run": RUN},
    ),
    "check": Command(
        commands.check,
        "run=FOLDER [experiment=vae_digits]",
        "Compare the run with what its recipe expects; the exit status is 1 if it falls short.",
        {"run": RUN},
    ),
    "compare": Command(
        commands.compare,
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
