// Looks words up in the index that the page bundles: whole, by their beginning, else by the letters they share.
"use strict";
const index = JSON.parse(document.getElementById("index").textContent);
const input = document.getElementById("words"), matching = document.getElementById("matching");
const results = document.getElementById("results"), all = document.getElementById("all");
const most = 100; // results that are shown
const alike = 0.45; // share of trigrams, by Dice, from which a word may be meant

const wordsOf = (text) => text.normalize("NFKD").toLowerCase().replace(/\p{M}/gu, "").split(/[^\p{L}\p{N}]+/u).filter(Boolean);

function trigramsOf(word) {
  const padded = `  ${word} `, parts = new Set();
  for (let i = 0; i + 3 <= padded.length; i += 1) parts.add(padded.slice(i, i + 3));
  return parts;
}

function likeness(one, other) {
  let common = 0;
  for (const part of one) common += other.has(part) ? 1 : 0;
  return (2 * common) / (one.size + other.size);
}

const fields = [[2, index.titles], [1, index.words]].map(([weight, words]) => [weight, Object.entries(words)]);
const trigrams = new Map(fields.flatMap(([, words]) => words.map(([word]) => [word, trigramsOf(word)])));

// {number of an entry: how well it fits one word}
function fits(asked) {
  const scores = new Map();
  const add = (numbers, score) => { for (const one of numbers) scores.set(one, Math.max(scores.get(one) ?? 0, score)); };
  for (const [weight, words] of fields) {
    for (const [word, numbers] of words) if (word.startsWith(asked)) add(numbers, weight * (1 + asked.length / word.length));
  }
  if (scores.size || asked.length < 3) return scores;
  const parts = trigramsOf(asked);
  for (const [weight, words] of fields) {
    for (const [word, numbers] of words) {
      const share = likeness(parts, trigrams.get(word));
      if (share >= alike) add(numbers, weight * share);
    }
  }
  return scores;
}

function search(text) {
  const [first, ...others] = wordsOf(text).map(fits);
  if (!first) return [];
  const scores = [...first].filter(([one]) => others.every((other) => other.has(one)));
  const total = scores.map(([one, score]) => [one, others.reduce((sum, other) => sum + other.get(one), score)]);
  return total.sort(([a, x], [b, y]) => y - x || a - b).map(([one]) => index.entries[one]);
}

function item([title, about, href]) {
  const link = document.createElement("a"), rest = document.createElement("span"), row = document.createElement("li");
  link.href = href;
  link.textContent = title;
  rest.className = "quiet";
  rest.textContent = about;
  row.append(link, " ", rest);
  return row;
}

function show() {
  const asked = wordsOf(input.value).length > 0, hits = asked ? search(input.value) : [];
  results.replaceChildren(...hits.slice(0, most).map(item));
  results.hidden = !asked;
  all.hidden = asked;
  const shown = hits.length > most ? `the first ${most} of ${hits.length} matches` : `${hits.length} match${hits.length === 1 ? "" : "es"}`;
  matching.textContent = asked ? shown : "";
  try {
    history.replaceState(null, "", asked ? `#${encodeURIComponent(input.value)}` : location.pathname);
  } catch { /* not from here */ }
}

document.getElementById("unscripted").hidden = true;
document.getElementById("search").hidden = false;
document.getElementById("search").addEventListener("submit", (event) => event.preventDefault());
input.addEventListener("input", show);
try {
  input.value = decodeURIComponent(location.hash.slice(1));
} catch { /* no words */ }
input.focus({ preventScroll: true });
show();
