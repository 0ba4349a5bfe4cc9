"""HTML built as a tree, so that the serializer escapes all text, wherever it comes from."""

from __future__ import annotations

import base64
from hashlib import sha256
from pathlib import Path
from xml.etree.ElementTree import Element, SubElement, fromstring, tostring

from genmodels.compare.tables import Table, pretty
from genmodels.errors import UserError
from genmodels.untrusted import read_bytes

HERE = Path(__file__).parent
PNG = b"\x89PNG\r\n\x1a\n"
SMALL = 300  # pixels; pictures of a smaller width are enlarged without smoothing
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


def picture(path: Path, caption: str, class_: str) -> Element | None:
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
    return node("figure", node("figcaption", caption), image, class_=class_)


def drawing(svg: str, caption: str) -> Element:
    """A figure with an embedded chart, given the SVG of :func:`genmodels.plots.chart`."""
    root = fromstring(svg)  # trusted: genmodels.plots has escaped the labels
    for element in list(root.iter()):
        element.tag = element.tag.rpartition("}")[2]
        element.attrib = {key.rpartition("}")[2]: value for key, value in element.attrib.items()}
        if element.tag == "g":
            element.attrib.pop("id", None)  # not unique among the charts of a page
    for part in root.findall("metadata"):
        root.remove(part)
    for size in ("width", "height"):
        root.attrib.pop(size)
    root.attrib |= {"role": "img", "aria-label": caption}
    return node("figure", root, node("figcaption", caption))


def sortable(table: Table) -> Element:
    """A table that is sorted by a column when its heading is clicked."""
    headings, rows = node("tr"), node("tbody")
    sides = ["number" if table.numeric(i) else "" for i in range(len(table.headings))]
    for lines, side in zip(table.headings, sides, strict=True):
        button = node("button", "\n".join(lines), type="button")
        headings.append(node("th", button, scope="col", aria_sort="none", class_=side))
    for name, *entries in table.rows:
        line = SubElement(rows, "tr")
        line.append(node("th", name.text, scope="row"))
        for entry, side in zip(entries, sides[1:], strict=True):
            key = {} if entry.number is None else {"data_number": repr(float(entry.number))}
            line.append(node("td", pretty(entry.text), class_=side, **key))
    whole = node("table", node("thead", headings), rows)
    return node("div", whole, class_="scroll", tabindex="0", role="region", aria_label=table.title)


def facts(entries: list[tuple[str, str]]) -> Element:
    """A table of names and values."""
    rows = [node("tr", node("th", name, scope="row"), node("td", value)) for name, value in entries]
    return node("table", node("tbody", *rows))
