"""The comparison as a part of a notebook: tables, notes, and samples."""

from __future__ import annotations

from xml.etree.ElementTree import Element, tostring

from genmodels.compare.html import Content, node, picture
from genmodels.compare.results import Results, sentences
from genmodels.compare.tables import Table, caption, pretty, tables_of

SAMPLES = "samples/final.png"
ROW = "display: flex; flex-wrap: wrap; gap: 1em"


def shown(results: Results) -> str:
    """HTML without style and script of its own, in which all text is escaped."""
    found = [table for data in results.data for table in tables_of(results, data)]
    notes = [
        *(f"{data}: {sentence}" for data in results.data for sentence in sentences(results, data)),
        pretty(caption(found)),
        *results.remarks,
        *(": ".join(each) for each in (*results.refusals, *results.told)),
    ]
    parts: list[Content] = [node("p", node("b", results.summary)), *map(plain_table, found), grids(results)]
    whole = node("div", *parts, *(node("p", note) for note in notes if note))
    return tostring(whole, encoding="unicode", method="html")


def plain_table(table: Table) -> Element:
    """A table below its title."""
    head = node("tr", *(node("th", " ".join(lines)) for lines in table.headings))
    rows = [node("tr", *(node("td", pretty(entry.text)) for entry in row)) for row in table.rows]
    return node("table", node("caption", table.title), node("thead", head), node("tbody", *rows))


def grids(results: Results) -> Element:
    """The samples of the first run of each group."""
    first = [(group.title, group.runs[0]) for group in results.ordered]
    return node("div", *(picture(run.path / SAMPLES, title, "picture") for title, run in first), style=ROW)
