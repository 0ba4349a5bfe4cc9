"use strict";
const all = (selector, within = document) => [...within.querySelectorAll(selector)];
const make = (tag, properties, ...content) => {
  const element = Object.assign(document.createElement(tag), properties);
  element.append(...content);
  return element;
};

// Sorting: a click on a heading sorts its table by that column, a second one reverses the order. Empty cells come last.
function sortBy(heading) {
  const body = heading.closest("table").tBodies[0], descending = heading.ariaSort === "ascending";
  const key = (row) => {
    const cell = row.cells[heading.cellIndex];
    return cell.dataset.number === undefined ? cell.textContent : Number(cell.dataset.number);
  };
  const compare = (a, b) => {
    if ((a === "-") !== (b === "-")) return a === "-" ? 1 : -1;
    const order = typeof a === "number" && typeof b === "number" ? a - b : String(a).localeCompare(String(b));
    return descending ? -order : order;
  };
  for (const other of heading.parentElement.cells) other.ariaSort = "none";
  heading.ariaSort = descending ? "descending" : "ascending";
  body.append(...[...body.rows].sort((a, b) => compare(key(a), key(b))));
}

// Columns: a box above a table has a switch for each of its columns but the first.
function columnSwitches(table) {
  const headings = [...table.tHead.rows[0].cells].slice(1);
  const switches = headings.map((heading) => {
    const box = make("input", { type: "checkbox", checked: true });
    box.addEventListener("change", () => {
      for (const row of table.rows) row.cells[heading.cellIndex].classList.toggle("off", !box.checked);
    });
    return make("label", {}, box, heading.textContent.replace("\n", " "));
  });
  if (switches.length > 1) {
    table.closest(".scroll").before(make("details", { className: "columns" }, make("summary", {}, "Columns"), ...switches));
  }
}

// Models: the legend's switches and the filter decide which models the tables, pictures and charts of a section show.
function modelSwitches(legend) {
  const section = legend.closest("section"), keys = all("[data-key]", legend);
  const filter = make("input", { type: "search", placeholder: "filter models", ariaLabel: "filter models" });
  const pressed = (key) => key.ariaPressed !== "false";
  const apply = () => {
    const words = filter.value.toLowerCase().split(/\s+/);
    for (const key of keys) {
      const found = words.every((word) => `${key.dataset.family} ${key.textContent}`.toLowerCase().includes(word));
      key.classList.toggle("off", !found);
      for (const part of all(`[data-series="${key.dataset.key}"]`, section)) {
        part.classList.toggle("off", !(found && pressed(key)));
      }
    }
  };
  const press = (key, value) => { key.ariaPressed = String(value); };
  for (const key of keys) {
    key.disabled = false;
    press(key, true);
    key.addEventListener("click", () => { press(key, !pressed(key)); apply(); });
  }
  for (const value of [true, false]) {
    const button = make("button", { type: "button", className: "every" }, value ? "all" : "none");
    button.addEventListener("click", () => { keys.forEach((key) => press(key, value)); apply(); });
    legend.append(button);
  }
  filter.addEventListener("input", apply);
  legend.prepend(filter);
}

// Values: the point of a chart that is nearest to the pointer is ringed and told.
const NEAR = 30; // units of the chart
const tip = make("div", { className: "tip", hidden: true });
const ring = document.createElementNS("http://www.w3.org/2000/svg", "circle");
ring.classList.add("ring");
ring.setAttribute("r", 5);

function pointsOf(curve) {
  const line = curve.querySelector(":scope > path");
  const pairs = line
    ? [...line.getAttribute("d").matchAll(/[ML]\s*(\S+)\s+(\S+)/g)].map(([, x, y]) => [Number(x), Number(y)])
    : all("use", curve).map((use) => [Number(use.getAttribute("x")), Number(use.getAttribute("y"))]);
  const x = curve.dataset.x.split(" "), y = curve.dataset.y.split(" ");
  return pairs.length === x.length ? pairs.map((at, i) => ({ curve, at, x: x[i], y: y[i] })) : [];
}

function tell(svg, points, event) {
  const pointer = new DOMPoint(event.clientX, event.clientY).matrixTransform(svg.getScreenCTM().inverse());
  const far = ({ at }) => Math.hypot(at[0] - pointer.x, at[1] - pointer.y);
  const shown = points.filter((point) => !point.curve.classList.contains("off"));
  const nearest = shown.reduce((a, b) => (a && far(a) <= far(b) ? a : b), null);
  tip.hidden = !nearest || far(nearest) > NEAR;
  if (tip.hidden) return ring.remove();
  ring.setAttribute("cx", nearest.at[0]);
  ring.setAttribute("cy", nearest.at[1]);
  svg.append(ring);
  const { label, note } = nearest.curve.dataset, { xName, yName } = svg.dataset;
  const lines = [note, xName && `${xName}: ${nearest.x}`, yName && `${yName}: ${nearest.y}`].filter(Boolean);
  tip.replaceChildren(make("b", {}, label), ...lines.map((line) => make("div", {}, line)));
  const room = document.documentElement.clientWidth - tip.offsetWidth - 8;
  tip.style.left = `${scrollX + Math.max(0, Math.min(event.clientX + 14, room))}px`;
  tip.style.top = `${event.pageY + 16}px`;
}

function valuesUnderPointer(svg) {
  let points = null;
  const show = (event) => tell(svg, (points ??= all("[data-x]", svg).flatMap(pointsOf)), event);
  svg.addEventListener("pointermove", show);
  svg.addEventListener("pointerdown", show);
  svg.addEventListener("pointerleave", () => { tip.hidden = true; ring.remove(); });
}

// Configs: of two chosen columns, only the keys that differ between them are shown.
function chooseTwo(box) {
  const table = box.querySelector("table"), headings = [...table.tHead.rows[0].cells].slice(1);
  const choices = [0, 1].map(() => {
    const options = headings.map((heading) => make("option", { value: heading.cellIndex }, heading.textContent));
    return make("select", { ariaLabel: "row to compare" }, make("option", { value: "" }, "all"), ...options);
  });
  const apply = () => {
    const [a, b] = choices.map((choice) => choice.value), both = a !== "" && b !== "";
    for (const row of table.rows) {
      const same = both && row.parentElement !== table.tHead && row.cells[a].textContent === row.cells[b].textContent;
      row.classList.toggle("left-out", same);
      [...row.cells].slice(1).forEach((cell) => {
        cell.classList.toggle("left-out", both && ![a, b].includes(String(cell.cellIndex)));
      });
    }
  };
  for (const choice of choices) choice.addEventListener("change", apply);
  if (headings.length > 2) table.closest(".scroll").before(make("p", {}, "Compare ", choices[0], " with ", choices[1]));
}

document.body.append(tip);
for (const button of all("thead th button")) button.addEventListener("click", () => sortBy(button.parentElement));
for (const button of all("th[aria-sort]:first-child button")) columnSwitches(button.closest("table"));
all(".keys").forEach(modelSwitches);
all(".charts svg").forEach(valuesUnderPointer);
all(".configs").forEach(chooseTwo);
