// Sorts the tables of a report by their columns, and filters long ones by typing. Everything else works without.
"use strict";
const LONG = 8; // rows from which on a table gets a filter

const value = (cell, isNumber) => {
  const text = cell?.textContent.trim() ?? "";
  return isNumber ? parseFloat(text.replaceAll(",", "")) : text.toLowerCase();
};
const compare = (a, b) => (typeof a === "number" && typeof b === "number" ? (Number.isNaN(a) ? -1 : Number.isNaN(b) ? 1 : a - b) : String(a).localeCompare(String(b), "en", { numeric: true }));

function sort(table, head) {
  const upwards = head.getAttribute("aria-sort") !== "ascending";
  for (const other of table.tHead.rows[0].cells) other.removeAttribute("aria-sort");
  head.setAttribute("aria-sort", upwards ? "ascending" : "descending");
  const rows = [...table.tBodies[0].rows].map((row) => [value(row.cells[head.cellIndex], head.classList.contains("number")), row]);
  rows.sort(([a], [b]) => compare(a, b) * (upwards ? 1 : -1));
  table.tBodies[0].append(...rows.map(([, row]) => row));
}

function addFilter(table, region) {
  const rows = [...table.tBodies[0].rows], label = document.createElement("label");
  const words = document.createElement("input"), matching = document.createElement("output");
  words.type = "search";
  label.append("Filter ", words);
  words.addEventListener("input", () => {
    const asked = words.value.toLowerCase().split(/\s+/).filter(Boolean);
    for (const row of rows) row.hidden = !asked.every((one) => row.textContent.toLowerCase().includes(one));
    const shown = rows.filter((row) => !row.hidden).length;
    matching.textContent = shown < rows.length ? `${shown} of ${rows.length} match` : "";
  });
  const line = document.createElement("p");
  line.className = "filters";
  line.append(label, matching);
  region.before(line);
}

for (const region of document.querySelectorAll("main .scroll")) {
  const table = region.querySelector("table");
  if (table.tHead?.rows.length !== 1 || table.tBodies[0]?.rows.length < 2) continue;
  if ([...table.tBodies[0].rows].some((row) => !row.cells[0].textContent.trim())) continue; // its rows belong to the one above
  for (const head of table.tHead.rows[0].cells) {
    if (!head.textContent.trim()) continue;
    const button = document.createElement("button");
    button.type = "button";
    button.title = `Sort by ${head.textContent}`;
    button.append(...head.childNodes);
    button.addEventListener("click", () => sort(table, head));
    head.append(button);
  }
  if (table.tBodies[0].rows.length >= LONG) addFilter(table, region);
}
