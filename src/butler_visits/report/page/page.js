"use strict";
// Controls, tables and what happens when something is chosen.

const byId = id => document.getElementById(id);
const controls = ["night", "band", "action", "text", "colour"].reduce((all, id) => ({ ...all, [id]: byId(id) }), {});
let shown = [], selected = null, listed = 0;
const PAGE = 100;

for (const text of data.lines) byId("lines").append(element("p", text));
if (data.without_outline) byId("lines").append(element("p", `${plural(data.without_outline, "visit")} without a polygon as region, not on the map.`));
if (coverage) byId("lines").append(element("p", `These are too many visits for an outline each: the map counts them in ${plural(coverage.cells, "cell")} (HEALPix order ${coverage.order}), without a search for text, a list and detectors. A page of fewer, such as of one night, has those.`));
if (visits && visits.without_space) byId("lines").append(element("p", `${plural(visits.without_space, "visit")} without detectors, for which there was no space.`));
if (data.undefined.length) {
  const line = element("p");
  line.append(element("a", "What was not defined, and why", { href: "#undefined-section" }));
  byId("lines").append(line);
}
document.querySelector("footer").textContent = `Made by butler-visits, ${data.made}. Times are TAI, coordinates ICRS. This page loads nothing from the network.`;
byId("click-help").textContent = coverage ? "A click lists the visits that cover a cell." : "A click on a visit shows its detectors and its record; where there are several, each click shows the next.";
byId("depth-help").textContent = coverage
  ? "A cell counts the visits whose outline has the cell's centre inside; one that has none counts in the cell it is in."
  : "Depth is the number of visits, of those on the map, that have a visit's centre inside.";

const BANDS = [...BAND_ORDER];
const bandRank = band => (BANDS.indexOf(band) + 99) % 99;
function addOptions(select, labels, all) {
  select.append(new Option(all, ""), ...labels.map(label => new Option(label, label)));
}
addOptions(controls.night, [...columns.night.labels].sort(), "all nights");
addOptions(controls.band, [...columns.band.labels].sort((a, b) => bandRank(a) - bandRank(b) || (a < b ? -1 : 1)), "all bands");
if (columns.action) addOptions(controls.action, columns.action.labels, "all actions");
byId("action-label").hidden = !columns.action;
byId("text-label").hidden = byId("list-section").hidden = !visits;
for (const [value, name] of [["action", "action"], ["filter", "filter"], ["depth", "depth"]])
  if (value === "depth" || (visits && (value !== "action" || columns.action))) controls.colour.append(new Option(name, value));
byId("colour-label").hidden = controls.colour.options.length < 2;

function fillCounts() {
  const filters = [...filterColours.keys()].filter(name => columns.filter.labels.includes(name));
  const counts = new Map();
  for (const k of shown) {
    const night = labelOf("night", k);
    if (!counts.has(night)) counts.set(night, new Map());
    const ofNight = counts.get(night), filter = labelOf("filter", k);
    ofNight.set(filter, (ofNight.get(filter) || 0) + 1);
  }
  const sum = values => values.reduce((total, value) => total + value, 0);
  const cell = value => value ? value.toLocaleString("en") : "";
  const nights = [...counts.keys()].sort();
  const rows = nights.map(night => {
    const values = filters.map(filter => counts.get(night).get(filter) || 0);
    return row(["th", "td"], [night, ...values.map(cell), cell(sum(values))], { numbers: 1 });
  });
  const totals = filters.map(filter => sum(nights.map(night => counts.get(night).get(filter) || 0)));
  rows.push(row(["th"], ["all", ...totals.map(cell), shown.length.toLocaleString("en")], { numbers: 1 }));
  fillTable(byId("counts"), ["Night", ...filters, "all"], rows, { numbers: 1 });
}

function listRow(k) {
  const button = element("button", visits.fields.id[k], { type: "button" });
  button.addEventListener("click", () => {
    select(k, true);
    document.querySelector("main").scrollIntoView();
  });
  const target = (visits.fields.target_name || [])[k];
  return row(["td"], [button, visits.fields.name[k], labelOf("night", k), labelOf("filter", k), shownValue(target ?? null),
    visits.begin[k] || "–", visits.exposures[k].join(", "), ...(columns.action ? [labelOf("action", k), visits.reason[k]] : [])]);
}

function listMore() {
  byId("list").querySelector("tbody").append(...shown.slice(listed, listed + PAGE).map(listRow));
  listed = Math.min(listed + PAGE, shown.length);
  byId("more").hidden = listed === shown.length;
}

function fillList() {
  fillTable(byId("list"), ["Visit", "Name", "Night", "Filter", "Target", "Begin (TAI)", "Exposures", ...(columns.action ? ["Action", "Why"] : [])], []);
  listed = 0;
  listMore();
}

function draw(centre) {
  return drawMap(shown, controls.colour.value, selected, centre);
}

function apply() {
  const wanted = Object.fromEntries(Object.entries(controls).map(([name, control]) => [name, control.value]));
  shown = matching(wanted);
  byId("count").textContent = `${shown.length.toLocaleString("en")} of ${plural(data.count, "visit")}`;
  fillCounts();
  if (visits) fillList();
  if (coverage && selected !== null) showCell(selected, shown);
  return draw();
}

function select(k, turn) {
  selected = k;
  if (visits) showVisit(k); else showCell(k, shown);
  return draw(turn && visits ? centres[k] : null);
}

for (const id of ["night", "band", "action"]) controls[id].addEventListener("change", apply);
controls.colour.addEventListener("change", () => draw());
let waiting;
controls.text.addEventListener("input", () => { clearTimeout(waiting); waiting = setTimeout(apply, 150); });
byId("controls").addEventListener("submit", event => event.preventDefault());
byId("more").addEventListener("click", listMore);
matchMedia("(prefers-color-scheme: dark)").addEventListener("change", () => {
  draw();
  if (selected !== null && visits) showVisit(selected);
});

byId("undefined-section").hidden = !data.undefined.length;
byId("undefined-title").textContent = `What was not defined, and why (${plural(data.undefined_count, "exposure")})`;
fillTable(byId("undefined"), ["Why", "Exposures", "Which"], data.undefined.map(({ reason, count, exposures }) =>
  row(["td"], [reason, count.toLocaleString("en"), exposures.join(", ") + (exposures.length && exposures.length < count ? ", …" : "")])));
if (data.more_reasons) byId("undefined-section").append(element("p", `and ${plural(data.more_reasons, "more reason")}.`, { className: "note" }));

// What is at a place in the window.
function itemsAt(event) {
  const vector = event.target.closest(".legend, .modebar") ? null : directionAt(event.clientX, event.clientY);
  return vector ? nearest(vector) : [];
}

// Choose what is there; the next of it, if one is chosen already.
function choose(items) {
  if (items.length) select(items[(items.indexOf(selected) + 1) % items.length], false);
}

const tip = byId("tip");
function showTip(event) {
  const items = event.buttons ? [] : itemsAt(event);
  tip.hidden = !items.length;
  if (tip.hidden) return;
  const at = Math.max(items.indexOf(selected), 0), one = items[at];
  tip.textContent = coverage ? `${plural(depthOf(shown)[one], "visit")}\n${place(cells.centres[one])}` : hoverText(one);
  if (items.length > 1) tip.textContent += `\n${at + 1} of ${items.length} visits here${one === selected ? "; a click shows the next" : ""}`;
  const box = byId("sky").getBoundingClientRect();
  tip.style.left = `${Math.max(Math.min(event.clientX - box.left + 14, box.width - tip.offsetWidth - 4), 4)}px`;
  tip.style.top = `${event.clientY - box.top + 14}px`;
}

// A press and release at one place is a click; plotly tells of those on its points only.
let pressed = null;
map.addEventListener("mousedown", event => { pressed = [event.clientX, event.clientY]; }, true);
map.addEventListener("mouseup", event => {
  if (!pressed || Math.hypot(event.clientX - pressed[0], event.clientY - pressed[1]) >= 4) return;
  choose(itemsAt(event));
  showTip(event);
}, true);
map.addEventListener("mousemove", showTip);
map.addEventListener("mouseleave", () => { tip.hidden = true; });
map.addEventListener("keydown", event => {
  const { rotation } = view();
  if (event.key === "Enter") choose(nearest(direction(-rotation.lon, rotation.lat)));
});

showHint();
apply().then(() => {
  // The grid is for the middle of the map, and for its scale.
  let grid = JSON.stringify(gridPlace(view()));
  map.on("plotly_relayout", () => {
    const now = JSON.stringify(gridPlace(view()));
    if (now !== grid) { grid = now; draw(); }
  });
  document.documentElement.dataset.ready = "yes";
});
