"use strict";
// What the page knows of its visits. A visit is a number here, its place in all columns.

const byId = id => document.getElementById(id);

function bytesOf(text) {
  const binary = atob(text), bytes = new Uint8Array(binary.length);
  for (let k = 0; k < binary.length; k++) bytes[k] = binary.charCodeAt(k);
  return bytes;
}

const decoded = (text, Type) => new Type(bytesOf(text).buffer);

async function unpacked(text) {
  if (typeof DecompressionStream === "undefined") {
    byId("lines").textContent = "This browser is too old for the page; take one of 2023 or later.";
    throw new Error("There is no DecompressionStream.");
  }
  const stream = new Blob([bytesOf(text)]).stream().pipeThrough(new DecompressionStream("gzip"));
  return JSON.parse(await new Response(stream).text());
}

const data = await unpacked(byId("data").textContent);
const { visits, coverage } = data;

function coded(column) {
  return column && { labels: column.labels, codes: decoded(column.codes, Uint16Array) };
}

const columns = { night: coded(data.night), filter: coded(data.filter), band: coded(data.band), action: coded(data.action) };
const labelOf = (name, visit) => columns[name].labels[columns[name].codes[visit]];
const fieldOf = (name, visit) => (visits.fields[name] || [])[visit] ?? null;

const BAND_ORDER = [..."ugrizy"];
const bandRank = band => (BAND_ORDER.indexOf(band) + 99) % 99;
const NUMBERS = new Intl.NumberFormat("en");
const countText = number => NUMBERS.format(number);
const plural = (number, what) => `${countText(number)} ${what}${number === 1 ? "" : "s"}`;

// The text that is searched for, of each visit.
const searched = visits.fields.id.map((id, k) =>
  [id, visits.fields.name[k], fieldOf("target_name", k) ?? "", labelOf("filter", k)].join("\n").toLowerCase());

// Those of some visits that are wanted: a label (or "" for all) of night, band and action, and words.
function matching(wanted, order) {
  const tests = Object.keys(columns).filter(name => wanted[name])
    .map(name => [columns[name].codes, columns[name].labels.indexOf(wanted[name])]);
  const words = wanted.text.toLowerCase().split(/\s+/).filter(Boolean);
  const found = [];
  for (const k of order)
    if (tests.every(([codes, code]) => codes[k] === code) && words.every(word => searched[k].includes(word))) found.push(k);
  return found;
}

function grouped(items, classOf) {
  const groups = new Map();
  for (const item of items) {
    const key = classOf(item);
    if (!groups.has(key)) groups.set(key, []);
    groups.get(key).push(item);
  }
  return groups;
}
