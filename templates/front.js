// Sorts incidents, filters them by typing, and remembers what was chosen; a link to an incident shows it whatever was. Everything else works without.
"use strict";
const select = [...document.querySelectorAll(".filters select")];
const words = document.getElementById("by-words"), matching = document.getElementById("matching"), all = document.getElementById("show-all");
const memory = "nightshift front page";
const text = (row, key) => row.querySelector("summary ." + key)?.textContent.trim() ?? "";
const rank = { high: 0, medium: 1, low: 2, unknown: 3 };
const keys = { rank: (row) => String(rank[text(row, "severity")]) };

// by its words, since the marks of a site differ from night to night
const chosen = (one) => (one.options ? one.selectedOptions[0].text : one.value);

function filter() {
  const asked = words.value.toLowerCase().split(/\s+/).filter(Boolean);
  let shown = 0, rows = 0;
  for (const row of document.querySelectorAll(".rows > li")) {
    const about = row.textContent.toLowerCase();
    row.hidden = !asked.every((one) => about.includes(one));
    rows += 1;
    shown += getComputedStyle(row).display !== "none";
  }
  matching.textContent = shown < rows ? `${shown} of ${rows} match` : "";
  all.hidden = shown === rows;
  for (const fold of document.querySelectorAll("details:has(> .rows)")) {
    const matches = [...fold.querySelectorAll(":scope > .rows > li")].some((row) => getComputedStyle(row).display !== "none");
    fold.open = shown < rows ? matches : fold.open && fold.dataset.opened !== "by filter";
    fold.dataset.opened = shown < rows && matches ? "by filter" : "";
  }
}

function choose() {
  filter();
  try {
    localStorage.setItem(memory, JSON.stringify(Object.fromEntries([...select, words].map((one) => [one.id, chosen(one)]))));
  } catch { /* no memory here */ }
}

function showAll() {
  for (const one of [...select, words]) one.value = "";
}

function linked() {
  const there = document.getElementById(location.hash.slice(1))?.closest(".rows > li");
  return there && getComputedStyle(there).display === "none";
}

function sort(by, button) {
  const upwards = button.getAttribute("aria-sort") !== "ascending";
  for (const other of document.querySelectorAll(".head button")) other.removeAttribute("aria-sort");
  for (const same of document.querySelectorAll(`.head [data-by="${by}"] button`)) same.setAttribute("aria-sort", upwards ? "ascending" : "descending");
  const key = keys[by] ?? ((row) => text(row, by).toLowerCase());
  for (const list of document.querySelectorAll(".rows")) {
    const rows = [...list.children].map((row) => [key(row), row]);
    rows.sort(([a], [b]) => a.localeCompare(b, "en", { numeric: true }) * (upwards ? 1 : -1));
    list.append(...rows.map(([, row]) => row));
  }
}

if (words) {
  for (const one of document.querySelectorAll(".scripted")) one.hidden = false;
  for (const head of document.querySelectorAll(".head")) head.removeAttribute("aria-hidden");
  for (const head of document.querySelectorAll(".head [data-by]")) {
    const button = document.createElement("button");
    button.type = "button";
    button.textContent = head.textContent;
    button.title = `Sort by ${head.textContent}`;
    button.addEventListener("click", () => sort(head.dataset.by, button));
    head.replaceChildren(button);
  }
  try {
    for (const [id, value] of Object.entries(JSON.parse(localStorage.getItem(memory) ?? "{}"))) {
      const one = document.getElementById(id);
      if (one === words) one.value = value;
      for (const option of one?.options ?? []) option.selected = option.text === value;
    }
  } catch { /* no memory here */ }
  for (const one of select) one.addEventListener("change", choose);
  words.addEventListener("input", choose);
  all.addEventListener("click", () => { showAll(); choose(); });
  filter();
  const show = () => { if (linked()) { showAll(); filter(); } };
  addEventListener("hashchange", show);
  show();
}
