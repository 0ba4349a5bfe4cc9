"""The comparison as one self-contained HTML page."""

from __future__ import annotations

import json
import shlex
import sys
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple
from xml.etree.ElementTree import Element

from genmodels.compare import charts
from genmodels.compare.charts import Chart
from genmodels.compare.configs import LACKING, differing
from genmodels.compare.html import (
    Content,
    drawing,
    facts,
    folder,
    keys,
    marked,
    node,
    page,
    picture,
    sortable,
)
from genmodels.compare.records import Run
from genmodels.compare.results import Group, Results, by_family, commit, listed, sentences
from genmodels.compare.tables import Table, pretty, signs, tables_of
from genmodels.errors import UserError
from genmodels.runs import write_whole
from genmodels.runs.packages import git_state

DECLARED = ("protocol", "quantity", "incidental", "baselines", "distance")  # fields of a score that are not shown
ABOUT_COSTS = (
    "Means over seeds; a number in the column seeds leads to the folder of that run. Train s are the seconds of "
    "training batches, data loading included; peak MiB are those of the whole process; samples/s are measured in calls "
    "of as many samples as the heading says; passes per sample are evaluations of the network."
)
ABOUT_BARS = "Bars are two standard errors; an arrow points to the side of a bound on which the true value lies."
ABOUT_SEEDS = f"A small dot per seed, and beside it their mean. {ABOUT_BARS}"
ABOUT_COST = (
    "Cost rises to the right; lower is better, except for nats. Small dots are seeds, large marks their means. "
    f"{ABOUT_BARS} The dashed line is the Pareto front of the means."
)
ABOUT_TRAINING = (
    "Every line is one seed. Lower is better. Seconds are batches times the run's mean time per batch. Losses are "
    "those of training batches, as each model defines its own: they do not compare between models."
)
ABOUT_DIFFUSION = "The bound's terms, and distortion against rate."
ABOUT_CONFIGS = "Keys of config.yaml whose values differ, of the first seed of each row; seeds and paths are left out."


class Gallery(NamedTuple):
    """A picture of every group, under a title.

    Attributes:
        file: path of the picture in a run folder.
        title: the title.
        words: the caption.
        class_: class of the figures.
        data: path of a picture of the data, which is shown first; ``""`` for none.
        data_title: the words below it.
        about_data: what the caption adds if there is one.
    """

    file: str
    title: str
    words: str
    class_: str
    data: str = ""
    data_title: str = ""
    about_data: str = ""


PLANES = Gallery(
    "samples/plane.png", "Samples and density",
    "Points of the data and of each model, above their densities: the same axes, and the same colors.",
    "plane", "samples/plane_data.png", "data",
)  # fmt: skip
SAMPLES = Gallery(
    "samples/final.png", "Samples", "Samples of the finished models, from the same random numbers.",
    "picture", "samples/data.png", "test data", " The first picture has real test data, at the same scale.",
)  # fmt: skip
RECONSTRUCTIONS = Gallery(
    "samples/reconstructions.png", "Reconstructions", "Examples and their reconstructions.", "picture"
)
DETAILS = (
    Gallery("samples/denoising.png", "Denoising", "From noise (left) to a sample (right).", "strip"),
    Gallery("samples/interpolation.png", "Interpolation", "Decoded straight lines between two codes.", "strip"),
    Gallery(
        "evaluation/neighbors.png", "Nearest neighbors",
        "First column: the samples nearest to the training data; in each row, their nearest training examples.",
        "picture",
    ),
)  # fmt: skip


@dataclass(frozen=True)
class Section:
    """A section of the report that its caller adds, before those of the data sets.

    Attributes:
        title: its heading.
        words: the caption, which explains every sign in it.
        charts: charts, whose SVG is trusted.
        tables: tables, below the charts.
    """

    title: str
    words: str
    charts: Sequence[Chart] = ()
    tables: Sequence[Table] = ()


def write_report(
    results: Results,
    path: Path,
    title: str = "Comparison of generative models",
    command: str | None = None,
    sections: Iterable[Section] = (),
) -> None:
    """Write the page.

    Args:
        results: the comparison.
        path: the file; links to run folders are relative to its folder.
        title: title of the page.
        command: the command that made the comparison; by default that of this process.
        sections: further sections.

    Raises:
        UserError: if it cannot be written.
    """
    command = command or shlex.join([Path(sys.argv[0]).name, *sys.argv[1:]])
    try:
        write_whole(path, report(results, title, command, path.parent, sections))
    except OSError as error:
        raise UserError(f"the report {path} cannot be written: {error.strerror}.") from error


def report(results: Results, title: str, command: str, base: Path, sections: Iterable[Section]) -> str:
    """The page as HTML text; ``base`` is the folder that it will be in."""
    links = [node("a", data, href=f"#data-{i}") for i, data in enumerate(results.data)]
    return page(
        title,
        node("h1", title),
        origin(results, command),
        node("nav", *links, node("a", "Protocols", href="#protocols")),
        unfinished(results),
        *map(added, sections),
        *(section(results, data, f"data-{i}", base) for i, data in enumerate(results.data)),
        listing("Scores that do not exist", results.refusals),
        node("h2", "Protocols", id="protocols"),
        *(node("p", remark) for remark in results.remarks),
        *(protocol(group, run, base) for group in results.ordered for run in group.runs),
    )


def origin(results: Results, command: str) -> Element:
    """What made the page and when, and the commits of the runs."""
    state = git_state() or {}
    changed = " with changes" * bool(state.get("modified"))
    here = f", by genmodels at commit {state['commit'][:8]}{changed}" if state else ""
    commits = sorted({commit(run) for run in results.runs})
    runs = f"{results.summary}. " + (f"The runs are of commit {listed(commits)}." if commits else "")
    return node(
        "div",
        node("p", node("code", command)),
        node("p", f"{time.strftime('%Y-%m-%d %H:%M:%S %Z')}{here}. {runs}", class_="soft"),
        class_="origin",
    )


def unfinished(results: Results) -> Element | None:
    """The runs that are not compared since they did not finish, by their status, each reason once."""
    by_status: dict[str, list[tuple[str, str]]] = {}
    for names, status, reason in results.told:
        by_status.setdefault(status, []).append((names, reason))
    counts = results.statuses
    parts = [
        node("details", node("summary", f"{counts[status]} {status}"), items(entries), **opened(status != "pruned"))
        for status, entries in by_status.items()
    ]
    return node("section", node("h2", "Not finished"), *parts) if parts else None


def opened(whether: bool) -> dict[str, str]:
    """The attribute of a box that is open."""
    return {"open": ""} if whether else {}


def listing(title: str, entries: Iterable[tuple[str, str]]) -> Element | None:
    """Names and reasons under a title, if there are any."""
    found = list(entries)
    return node("section", node("h2", title), items(found)) if found else None


def items(entries: Iterable[tuple[str, str]]) -> Element:
    """A list of names and reasons."""
    return node("ul", *(node("li", node("b", name), f": {reason}") for name, reason in entries))


def added(own: Section) -> Element:
    """A section that the caller adds."""
    drawn = [drawing(*chart) for chart in own.charts]
    return node(
        "section",
        node("h2", own.title),
        node("p", own.words, class_="soft"),
        node("div", *drawn, class_="charts") if drawn else None,
        *(part for table in own.tables for part in titled(table, table.title)),
    )


def section(results: Results, data: str, anchor: str, base: Path) -> Element:
    """Tables, pictures and charts of one data set."""
    groups, columns, tables = results.of(data), results.columns_of(data), tables_of(results, data)
    shown = results.pictured(data)
    logs = charts.logs_of(groups)
    planes = gallery(shown, PLANES)

    def link(run: Run) -> Content:
        return folder(run, base, run.seed or run.name)

    return node(
        "section",
        node("h2", data, id=anchor),
        keys([group.label for group in groups], families(groups)),
        *(part for table in tables for part in titled(table, words_of(table, data), link)),
        explained(tables),
        *(node("p", sentence, class_="soft") for sentence in sentences(results, data)),
        *([planes] if planes is not None else [gallery(shown, SAMPLES), gallery(shown, RECONSTRUCTIONS)]),
        plotted("Scores by seed", ABOUT_SEEDS, charts.by_seed(columns, groups)),
        plotted("Quality against cost", ABOUT_COST, charts.pareto(columns, groups)),
        plotted("Training", ABOUT_TRAINING, [*charts.validation(logs), *charts.losses(logs)]),
        plotted("Diffusion, step by step", ABOUT_DIFFUSION, charts.diffusion(shown)),
        *(gallery(shown, each) for each in DETAILS),
        configs(groups),
    )


def families(groups: Sequence[Group]) -> dict[str, list[int]]:
    """Indices of the groups by family, without the names of families if there is but one."""
    found = by_family(groups)
    return found if len(found) > 1 else {"": list(range(len(groups)))}


def words_of(table: Table, data: str) -> str:
    """The title of a table below the heading of its data set."""
    return table.title.removeprefix(f"{data}: ").capitalize()


def titled(table: Table, title: str, link: Callable[[Run], Content] = lambda run: run.seed) -> list[Element]:
    """A table under its title, and the words that a table of costs needs."""
    words = [node("p", ABOUT_COSTS, class_="soft")] if any(entry.runs for row in table.rows for entry in row) else []
    return [node("h3", title), sortable(table, link), *words]


def explained(tables: Sequence[Table]) -> Element | None:
    """The signs of the tables, and what each says."""
    found = [node("li", node("b", pretty(f"{sign} ")), words) for sign, words in signs(tables)]
    return node("ul", *found, class_="signs soft", aria_label="signs in the tables") if found else None


def gallery(shown: Sequence[tuple[Group, Run]], own: Gallery) -> Element | None:
    """The pictures of those groups that have one, those of a family side by side.

    Args:
        shown: the groups, and the run of each whose picture is shown. That of the data is the first run's that has it.
        own: what is shown of them.
    """
    pictures = [
        picture(run.path / own.file, f"{group.label}, seed {run.seed}", own.class_, i)
        for i, (group, run) in enumerate(shown)
    ]
    order = [i for members in by_family([group for group, _ in shown]).values() for i in members]
    found = [each for i in order if (each := pictures[i]) is not None]
    if not found:
        return None
    of_data = (picture(run.path / own.data, own.data_title, own.class_) for _, run in shown) if own.data else iter(())
    data = next((each for each in of_data if each is not None), None)
    if data is None:
        return side_by_side(own.title, own.words, found, "row")
    return side_by_side(own.title, own.words + own.about_data, [data, *found], "row")


def side_by_side(title: str, words: str, figures: Sequence[Element], class_: str) -> Element | None:
    """Figures under a title, if there are any."""
    if not figures:
        return None
    return node("section", node("h3", title), node("p", words, class_="soft"), node("div", *figures, class_=class_))


def plotted(title: str, words: str, drawn: Sequence[Chart]) -> Element | None:
    """Charts under a title, if there are any."""
    return side_by_side(title, words, [drawing(*chart) for chart in drawn], "charts")


def configs(groups: Sequence[Group]) -> Element | None:
    """A table of the settings in which the groups differ, with a column for each; the script compares two of them."""
    names, settings = differing(groups)
    if not names:
        return None
    known = [i for i, own in enumerate(settings) if own is not None]
    lacking = listed([groups[i].label for i, own in enumerate(settings) if own is None] or [""])
    head = node("tr", node("th", "key", scope="col"))
    head.extend(node("th", *marked(groups[i].label, i), scope="col", data_series=str(i)) for i in known)
    rows = []
    for name in names:
        row = node("tr", node("th", name, scope="row"))
        row.extend(node("td", (settings[i] or {}).get(name, LACKING), data_series=str(i)) for i in known)
        rows.append(row)
    words = f"{ABOUT_CONFIGS} A - is a key that a config does not have." + (
        f" The config of {lacking} cannot be read." if lacking else ""
    )
    table = node("table", node("thead", head), node("tbody", *rows))
    whole = node("div", table, class_="scroll", tabindex="0", role="region", aria_label="differences of configs")
    title = node("summary", f"Differences of configs ({len(names)} keys)")
    return node("details", title, node("p", words, class_="soft"), whole, class_="configs")


def protocol(group: Group, run: Run, base: Path) -> Element:
    """Provenance of one run, and the protocol of each of its scores."""
    known = {key: value for key, value in run.record.items() if key not in ("metrics", "model", "data", "refusals")}
    scores = []
    for score in run.scores.values():
        entries = {key: value for key, value in score.to_dict().items() if key not in DECLARED}
        conditions = {"comparable if equal": ", ".join(key for key, _ in score.conditions)}
        details = facts(flat(entries | dict(score.protocol) | conditions))
        scores.append(node("details", node("summary", pretty(score.line)), details))
    title = f"{group.label} on {group.data}, seed {run.seed}"
    own = [("folder", folder(run, base, run.name)), *flat(known)]
    return node("details", node("summary", title), facts(own), *scores)


def flat(entries: Mapping[str, Any]) -> list[tuple[str, Content]]:
    """Names and values as text, with one level of nesting flattened."""
    found: list[tuple[str, Content]] = []
    for name, value in entries.items():
        if isinstance(value, Mapping):
            found += [(f"{name}: {key}", format_value(inner)) for key, inner in value.items()]
        else:
            found.append((str(name), format_value(value)))
    return found


def format_value(value: Any) -> str:
    """A value as text: strings unchanged, lists separated by spaces, anything else as JSON."""
    if isinstance(value, list):
        return " ".join(map(format_value, value))
    return value if isinstance(value, str) else json.dumps(value)
