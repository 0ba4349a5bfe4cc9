"""HTML built as a tree, so that the serializer escapes all text, wherever it comes from."""

from __future__ import annotations

import base64
import os
from collections.abc import Callable, Iterable, Mapping, Sequence
from hashlib import sha256
from pathlib import Path
from urllib.parse import quote
from xml.etree.ElementTree import Element, SubElement, fromstring, tostring

from genmodels.compare.records import Run
from genmodels.compare.tables import Table, pretty
from genmodels.errors import UserError
from genmodels.figures import GLYPHS, SERIES
from genmodels.untrusted import read_bytes

HERE = Path(__file__).parent
PNG = b"\x89PNG\r\n\x1a\n"
SMALL = 224  # pixels; pictures of a smaller width are enlarged without smoothing
LARGEST = 20 * 2**20  # bytes; larger files are left out of the page

Content = Element | str | None


def node(tag: str, *content: Content, **attributes: str) -> Element:
    """An element; in names of attributes a trailing underscore is dropped and others become hyphens.

    >>> tostring(node("p", "a < b", node("b", "c"), "d", class_="soft"), encoding="unicode", method="html")
    '<p class="soft">a &lt; b<b>c</b>d</p>'
    """
    element = Element(tag, {name.rstrip("_").replace("_", "-"): value for name, value in attributes.items()})
    for part in content:
        if isinstance(part, Element):
            element.append(part)
        elif part and len(element):
            element[-1].tail = (element[-1].tail or "") + part
        elif part:
            element.text = (element.text or "") + part
    return element


def page(title: str, *content: Content) -> str:
    """A document with embedded style and script, whose policy forbids loading anything or running other scripts."""
    style, script = ((HERE / f"report.{kind}").read_text() for kind in ("css", "js"))
    digest = base64.b64encode(sha256(script.encode()).digest()).decode()
    policy = f"default-src 'none'; img-src data:; style-src 'unsafe-inline'; script-src 'sha256-{digest}'"
    head = node(
        "head",
        node("meta", charset="utf-8"),
        node("meta", http_equiv="Content-Security-Policy", content=policy),
        node("meta", name="viewport", content="width=device-width, initial-scale=1"),
        node("title", title),
        node("link", rel="icon", href="data:,"),
        node("style", style),
    )
    document = node("html", head, node("body", *content, node("script", script)), lang="en")
    return "<!DOCTYPE html>\n" + tostring(document, encoding="unicode", method="html") + "\n"


def picture(path: Path, caption: str, class_: str, series: int | None = None) -> Element | None:
    """A figure with an embedded picture, or ``None`` if ``path`` is no PNG of at most ``LARGEST`` bytes."""
    try:
        data = read_bytes(path, most=LARGEST)
    except UserError:
        return None
    if not data.startswith(PNG):
        return None
    source = f"data:image/png;base64,{base64.b64encode(data).decode()}"
    enlarged = "small" if int.from_bytes(data[16:20], "big") < SMALL else ""  # the width, in a PNG's header
    image = node("img", src=source, alt=caption, class_=enlarged)
    return node("figure", node("figcaption", *marked(caption, series)), image, class_=class_, **of_series(series))


def drawing(svg: str, caption: str, series: int | None = None) -> Element:
    """A figure with an embedded chart, given its SVG, such as that of :func:`genmodels.figures.chart`.

    If all of it belongs to one group, ``series``, its curves belong to none.
    """
    root = fromstring(svg)  # trusted: genmodels.plots has escaped the labels
    for element in list(root.iter()):
        element.tag = element.tag.rpartition("}")[2]
        element.attrib = {key.rpartition("}")[2]: value for key, value in element.attrib.items()}
        if element.tag == "g":
            element.attrib.pop("id", None)  # not unique among the charts of a page
            if series is not None:
                element.attrib.pop("data-series", None)
    for part in root.findall("metadata"):
        root.remove(part)
    for size in ("width", "height"):
        root.attrib.pop(size, None)
    root.attrib |= {"role": "img", "aria-label": caption}
    return node("figure", root, node("figcaption", *marked(caption, series)), **of_series(series))


def of_series(series: int | None) -> dict[str, str]:
    """The attribute of whatever is shown or hidden with a group."""
    return {} if series is None else {"data_series": str(series)}


def marked(text: str, series: int | None) -> list[Content]:
    """Text after the marker that a group has in charts."""
    if series is None:
        return [text]
    style = f"color: {SERIES[series % len(SERIES)]}"
    return [node("span", class_="mark", data_mark=GLYPHS[series % len(GLYPHS)], style=style), text]


def keys(labels: Sequence[str], families: Mapping[str, Sequence[int]]) -> Element | None:
    """The legend of the charts of several groups; the script makes switches of it.

    Args:
        labels: names of the groups.
        families: indices of the groups, by the name of what they have in common.
    """
    if len(labels) < 2:
        return None
    parts = []
    for name, members in families.items():
        switches = [
            node("button", *marked(labels[i], i), type="button", disabled="", data_key=str(i), data_family=name)
            for i in members
        ]
        parts.append(node("span", node("span", name, class_="soft") if name else None, *switches))
    return node("div", *parts, class_="keys", role="group", aria_label="models shown")


def sortable(table: Table, link: Callable[[Run], Content] = lambda run: run.seed) -> Element:
    """A table that is sorted by a column when its heading is clicked; its rows are groups in the order of the legend.

    Args:
        table: the table.
        link: what is written for each of an entry's runs.
    """
    headings, rows = node("tr"), node("tbody")
    sides = ["number" if table.numeric(i) else "" for i in range(len(table.headings))]
    for lines, side in zip(table.headings, sides, strict=True):
        button = node("button", "\n".join(lines), type="button")
        headings.append(node("th", button, scope="col", aria_sort="none", class_=side))
    for (name, *entries), series in zip(table.rows, table.series, strict=True):
        line = SubElement(rows, "tr", {key.replace("_", "-"): value for key, value in of_series(series).items()})
        line.append(node("th", *marked(pretty(name.text), series), scope="row"))
        for entry, side in zip(entries, sides[1:], strict=True):
            key = {} if entry.number is None else {"data_number": repr(float(entry.number))}
            content = separated([link(run) for run in entry.runs]) if entry.runs else [pretty(entry.text)]
            line.append(node("td", *content, class_=side, **key))
    whole = node("table", node("thead", headings), rows)
    return node("div", whole, class_="scroll", tabindex="0", role="region", aria_label=table.title)


def separated(parts: Sequence[Content]) -> list[Content]:
    """Parts with a space between any two."""
    return [each for part in parts for each in (" ", part)][1:]


def facts(entries: Iterable[tuple[str, Content]]) -> Element:
    """A table of names and values."""
    rows = [node("tr", node("th", name, scope="row"), node("td", value)) for name, value in entries]
    return node("table", node("tbody", *rows))


def folder(run: Run, base: Path, text: str) -> Content:
    """A link to a run's folder, relative to the folder ``base`` of the page; text if there is no way to it."""
    try:
        way = os.path.relpath(run.path, base)
    except ValueError:  # on another drive
        return text
    return node("a", text, href=f"./{quote(Path(way).as_posix())}/", title=run.name)
