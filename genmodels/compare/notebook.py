"""The comparison as a part of a notebook: tables, notes, and samples."""

from __future__ import annotations

from xml.etree.ElementTree import Element, tostring

from genmodels.compare.html import Content, node, picture
from genmodels.compare.results import Results, sentences
from genmodels.compare.tables import Table, all_tables, caption, pretty

SAMPLES = "samples/final.png"
ROW = "display: flex; flex-wrap: wrap; gap: 1em"


def shown(results: Results) -> str:
    """HTML without style and script of its own, in which all text is escaped."""
    found = all_tables(results)
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
    """The samples of a run of each group."""
    shown = [each for data in results.data for each in results.pictured(data)]
    return node("div", *(picture(run.path / SAMPLES, group.title, "picture") for group, run in shown), style=ROW)
