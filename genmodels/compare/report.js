"use strict";
// A click on a heading sorts its table by that column; a second click reverses the order. Empty cells come last.
for (const button of document.querySelectorAll("th button")) {
  button.addEventListener("click", () => {
    const heading = button.parentElement, body = heading.closest("table").tBodies[0];
    const descending = heading.getAttribute("aria-sort") === "ascending";
    const key = (row) => {
      const cell = row.cells[heading.cellIndex];
      return cell.dataset.number === undefined ? cell.textContent : Number(cell.dataset.number);
    };
    const compare = (a, b) => {
      if ((a === "-") !== (b === "-")) return a === "-" ? 1 : -1;
      const order = typeof a === "number" && typeof b === "number" ? a - b : String(a).localeCompare(String(b));
      return descending ? -order : order;
    };
    for (const other of heading.parentElement.cells) other.setAttribute("aria-sort", "none");
    heading.setAttribute("aria-sort", descending ? "descending" : "ascending");
    body.append(...[...body.rows].sort((a, b) => compare(key(a), key(b))));
  });
}
