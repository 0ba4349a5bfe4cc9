"""The console script: what one does with a run folder after training."""

from __future__ import annotations

import sys
from collections.abc import Callable, Sequence
from pathlib import Path

from omegaconf import DictConfig, OmegaConf

from genmodels.errors import UserError, nearest, require
from genmodels.launch import compose, dotted, groups, one_sentence_errors

USAGE = """genmodels COMMAND run=FOLDER [key=value ...]

  evaluate  run=FOLDER [metrics=[likelihood,fd]] [weights=ema|raw] [checkpoint=best.ckpt] [samples=FILE.npz]
            score the run's model again, or samples drawn before, and add to its run.json
  sample    run=FOLDER [n=64] [out=samples.png]
            draw from the run's model into a picture, or into an array: out=samples.npz;
            beside a picture GIFs of denoising or interpolation, where the model has them
  resume    run=FOLDER [budget.max_batches=20000 ...]
            go on training from the run's last checkpoint, then evaluate
  check     run=FOLDER
            hold the run against what its recipe expects of it; exit status 1 if it falls short
  compare   FOLDER [FOLDER ...] [format=md|csv|latex|json] [html=report.html]
            all runs under the folders in tables, seeds averaged, and in a page that shows them

Any key of the run's config can be overridden, as on the command line of train.py."""


def main(arguments: list[str] | None = None) -> None:
    """Entry point of the console script."""
    words = sys.argv[1:] if arguments is None else arguments
    if not words or words[0] in ("-h", "--help", "help"):
        print(USAGE)
        return
    with one_sentence_errors():
        require(words[0] in COMMANDS, f"unknown command '{words[0]}'; {nearest(words[0], COMMANDS)}")
        COMMANDS[words[0]](words[1:])


def evaluate(words: list[str]) -> None:
    """Score again; add to run.json without touching the rest.

    Scores of other weights, or of another checkpoint, than the run's own are named after them.
    """
    given = pairs(words)
    folder, checkpoint, samples = take_run(given), given.pop("checkpoint", None), given.pop("samples", None)

    from genmodels.experiment import Experiment, tell
    from genmodels.runs import RunFolder

    run = RunFolder.open(folder)
    own = run.config.weights
    config = overridden(run.config, given)
    config.logger = None
    experiment = Experiment.assemble(config)
    experiment.evaluate.samples_file = samples
    others = [config.weights] * (config.weights != own)
    others += [run.checkpoint(checkpoint).stem] * (run.checkpoint(checkpoint) != run.checkpoint())
    suffix = "".join(f"_{word}" for word in others)
    scores = experiment.test(checkpoint, [f"{key}={value}" for key, value in given.items()], suffix)
    if experiment.trainer.is_global_zero:
        tell(*(score.line for score in scores))
        tell(*(f"no {name}: {reason}" for name, reason in experiment.evaluate.refusals.items()))


def resume(words: list[str]) -> None:
    """Train on from the last checkpoint, then evaluate."""
    given = pairs(words)
    folder = take_run(given)

    from genmodels.experiment import Experiment, recorded
    from genmodels.runs import RunFolder, config_hash, write_whole

    run = RunFolder.open(folder)
    run.checkpoint("last.ckpt")
    config = overridden(run.config, given)
    experiment = Experiment.assemble(config)
    write_whole(run.config_file, OmegaConf.to_yaml(config, resolve=True))
    said = [*run.read().get("overrides", []), *(f"{key}={value}" for key, value in given.items())]
    run.update(status="running", error=None, overrides=said, config_hash=config_hash(config))
    with recorded(experiment):
        experiment.fit(resume=True)
        experiment.test()


def sample(words: list[str]) -> None:
    """Draw into a picture or an array."""
    given = pairs(words)
    folder = take_run(given)
    n, out = given.pop("n", "64"), Path(given.pop("out", "samples.png"))
    require(n.isdigit() and int(n) > 0, f"n must be a positive integer, got {n}.")
    require(out.suffix in (".png", ".npz"), f"out must end in .png or .npz, got {out}.")
    require(out.parent.is_dir(), f"out={out} lies in a folder that does not exist; make {out.parent} first.")

    import torch

    from genmodels import plots
    from genmodels.callbacks.sample_grid import paths
    from genmodels.core.abilities import Samples
    from genmodels.core.randomness import SAMPLING, stream
    from genmodels.metrics import SampleSets
    from genmodels.runs import RunFolder, restore

    run = RunFolder.open(folder)
    config = overridden(run.config, given)
    model = restore(run, config, config.weights)
    if not isinstance(model, Samples):
        raise UserError(f"{type(model).__name__} has no samples to draw.")
    model.to("cuda" if torch.cuda.is_available() else "cpu")
    samples = SampleSets(model, config.seed)
    x = samples.get(int(n))
    if out.suffix == ".npz":
        samples.save(out)
        print(out)
        return
    plots.picture(x, model.spec).save(out)
    print(out)
    with stream(config.seed, SAMPLING, device=model.device):
        for title, path in paths(model, int(n), frames=40).items():
            file = out.with_name(f"{out.stem}_{title}.gif")
            plots.animation(path, model.spec, file)
            print(file)


def check(words: list[str]) -> None:
    """Hold a run against its recipe's ``expected``; a number that is better than expected passes."""
    folder = take_run(pairs(words))

    from genmodels.compare import scores_by_name
    from genmodels.runs import EXPECTED, RunFolder, expectations

    record = RunFolder.open(folder).read()
    expected = expectations(record.get("expected"))
    require(bool(expected), f"the run {folder} was made without a recipe that says what to expect.")
    scores = scores_by_name(record)
    lines = []
    for metric, value, tolerance, source in ([entry[key] for key in EXPECTED] for entry in expected):
        known = ", ".join(scores) or "none"
        require(metric in scores, f"{metric}, which the recipe expects, was not measured; there is {known}.")
        found = scores[metric]
        worse = (value - found.value) if found.better == "higher" else (found.value - value)
        verdict = "reached" if worse <= tolerance else f"missed by {worse - tolerance:.3f}"
        lines.append(f"{found.line}; expected {value} with tolerance {tolerance} ({source}): {verdict}.")
    require(all(line.endswith(": reached.") for line in lines), "\n".join(lines))
    print("\n".join(lines))


def compare(words: list[str]) -> None:
    """Tables of all runs under the given folders, and a page that shows them."""
    places, given = options_apart(words, ("format", "html"))
    require(bool(places), "name one or more folders: genmodels compare FOLDER ...")

    from genmodels.compare import FORMATS, compared, find_runs, print_tables, write_report

    form, html = given.get("format"), given.get("html")
    require(form is None or form in FORMATS, f"format={form} is not known; {nearest(str(form), FORMATS)}")
    runs = find_runs(*places)
    require(bool(runs), f"there is no run.json under {', '.join(places)}.")
    results = compared(runs)
    if form is None:
        print_tables(results)
    else:
        print(FORMATS[form](results))
    if html is not None:
        write_report(results, Path(html))
        print(html, file=sys.stderr)  # apart from a format that goes into a file


def options_apart(words: list[str], names: Sequence[str]) -> tuple[list[str], dict[str, str]]:
    """Other words, and the options among them: ``name=value``, ``--name=value`` or ``--name value``."""
    rest, given, left = [], {}, iter(words)
    for word in left:
        name, separator, value = word.removeprefix("--").partition("=")
        if name in names and (separator or word.startswith("--")):
            given[name] = value if separator else next(left, "")
            require(bool(given[name]), f"{name} has no value; write {name}=...")
        else:
            require(not word.startswith("--"), f"unknown option '{word}'; {nearest(name, names)}")
            rest.append(word)
    return rest, given


COMMANDS: dict[str, Callable[[list[str]], None]] = {
    "evaluate": evaluate,
    "sample": sample,
    "resume": resume,
    "check": check,
    "compare": compare,
}


def pairs(words: list[str]) -> dict[str, str]:
    """``key=value`` words as a mapping."""
    for word in words:
        require("=" in word, f"'{word}' is not of the form key=value; see genmodels --help.")
    return {key: value for key, _, value in (word.partition("=") for word in words)}


def take_run(given: dict[str, str]) -> str:
    """The run folder named by ``run=``."""
    require("run" in given, "say which run: run=FOLDER")
    return given.pop("run")


def overridden(config: DictConfig, given: dict[str, str]) -> DictConfig:
    """The run's config with overrides: a group's option replaces the group, a key must exist."""
    for key, value in given.items():
        if key in groups():
            config[key] = compose([f"{key}={value}"]).get(key)
            continue
        known = list(dotted(OmegaConf.to_container(config)))
        require(key in known, f"unknown key '{key}'; {nearest(key, known)}")
        OmegaConf.update(config, key, OmegaConf.create(f"v: {value}").v)
    return config


if __name__ == "__main__":
    main()
