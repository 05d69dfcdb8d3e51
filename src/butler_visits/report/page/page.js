// Filters, what is chosen, and what is said above and below the map.

function say(text) { byId("lines").append(element("p", text)); }
data.lines.forEach(say);
if (data.without_outline) say(`${plural(data.without_outline, "visit")} without a polygon as region, or with one of half the sky, not on the map.`);
if (coverage) say(`Far out the map counts visits in ${plural(coverage.cells, "cell")} (HEALPix order ${coverage.order}); zoom in for their outlines. Detectors are on pages of fewer visits, such as of one night.`);
if (visits.without_space) say(`${plural(visits.without_space, "visit")} without detectors, for which there was no space.`);
if (data.undefined.length) {
  const line = element("p"), link = element("a", "What was not defined, and why", { href: "#undefined-section" });
  // The address is the view's.
  link.addEventListener("click", event => { event.preventDefault(); byId("undefined-section").scrollIntoView(); });
  line.append(link);
  byId("lines").append(line);
}
document.querySelector("footer").textContent = `Made by butler-visits, ${data.made}. Times are TAI, coordinates ICRS. This page loads nothing from the network.`;
byId("click-help").textContent = coverage ? "A click lists the visits that cover a cell." : "A click on a visit shows its detectors and its record; where there are several, each click shows the next.";
byId("depth-help").textContent = coverage
  ? "A cell counts the visits whose outline has the cell's centre inside; one that has none counts in the cell it is in."
  : "Depth is the number of visits, of those on the map, that have a visit's centre inside.";

function addOptions(select, labels, all) {
  select.append(new Option(all, ""), ...labels.map(label => new Option(label, label)));
}
addOptions(controls.night, [...columns.night.labels].sort(), "all nights");
addOptions(controls.band, [...columns.band.labels].sort((a, b) => bandRank(a) - bandRank(b) || (a < b ? -1 : 1)), "all bands");
if (columns.action) addOptions(controls.action, columns.action.labels, "all actions");
byId("action-label").hidden = !columns.action;
for (const [value, name] of [["action", "action"], ["filter", "filter"], ["depth", "depth"]])
  if (value !== "action" || columns.action) controls.colour.append(new Option(name, value));
const defaultOf = name => name === "colour" ? controls.colour.options[0].value : "";

// Where the map was before a filter turned it.
let viewBefore = null;

// Turn the map to what is shown, if that is not in view or small there; back, if nobody has moved it since.
function turnToShown() {
  if (viewBefore && !wasMoved) setView(viewBefore.view);
  if (viewBefore && !wasMoved) wasMoved = viewBefore.wasMoved;
  viewBefore = null;
  const placed = state.shown.filter(k => centres[k]);
  if (!placed.length) return;
  const wanted = viewOf(placed), towards = direction(view.ra, view.dec), cosine = Math.cos(viewRadius() * DEGREE);
  const seen = placed.filter(k => dot(centres[k], towards) > cosine).length;
  if (seen === placed.length ? wanted.scale < (wasMoved ? 4 : 1.5) * view.scale : seen > 0 && wasMoved) return;
  viewBefore = { view: { ...view }, wasMoved };
  setView(wanted);
  wasMoved = false;
}

function apply({ isFirst = false, isSorted = false } = {}) {
  const wanted = Object.fromEntries(Object.entries(controls).map(([name, control]) => [name, control.value]));
  state.shown = matching(wanted, order);
  byId("count").textContent = `${countText(state.shown.length)} of ${plural(data.count, "visit")}`;
  const { selected } = state;
  const isLost = selected?.visit === undefined ? selected && !visitsOfCell(selected.cell, state.shown).length : !state.shown.includes(selected.visit);
  if (isLost) state.selected = null;
  if (!isSorted) fillCounts();
  fillList();
  showDetails();
  if (isFirst) { viewBefore = null; setView(viewOf(state.selected?.visit === undefined ? state.shown : [state.selected.visit])); }
  else if (!isSorted) turnToShown();
  byId("nothing").hidden = state.shown.length > 0;
  rememberAddress();
  invalidate();
}

function clearFilters() {
  for (const name of ["night", "band", "action", "text"]) controls[name].value = "";
  apply();
}

function select(item, turn) {
  state.selected = item;
  showDetails();
  markInList();
  if (turn && item.visit !== undefined && centres[item.visit]) {
    setView(viewOf([item.visit]));
    viewBefore = null;
    wasMoved = false;
  }
  rememberAddress();
  invalidate();
}

// Choose what is there; the next of it, if one is chosen already.
function choose(items) {
  if (!items.length) return;
  const at = items.findIndex(one => one.visit === state.selected?.visit && one.cell === state.selected?.cell);
  select(items[(at + 1) % items.length], false);
}

function setHours(isOn) {
  state.hours = byId("hours").checked = isOn;
}

for (const id of ["night", "band", "action"]) controls[id].addEventListener("change", () => apply());
controls.colour.addEventListener("change", () => { state.off.clear(); rememberAddress(); invalidate(); });
byId("hours").addEventListener("change", event => { setHours(event.target.checked); fillList(); showDetails(); redraw(); rememberAddress(); });
let waiting;
controls.text.addEventListener("input", () => { clearTimeout(waiting); waiting = setTimeout(apply, 150); });
byId("controls").addEventListener("submit", event => event.preventDefault());
prefersDark.addEventListener("change", () => { invalidate(); showDetails(); });

byId("undefined-section").hidden = !data.undefined.length;
byId("undefined-title").textContent = `What was not defined, and why (${plural(data.undefined_count, "exposure")})`;
fillTable(byId("undefined"), ["Why", "Exposures", "Which"], data.undefined.map(({ reason, count, exposures }) =>
  row(["td"], [reason, countText(count), exposures.join(", ") + (exposures.length && exposures.length < count ? ", …" : "")])));
if (data.more_reasons) byId("undefined-section").append(element("p", `and ${plural(data.more_reasons, "more reason")}.`, { className: "note" }));
byId("nothing").textContent = data.count ? "No visit matches the filters." : "There are no visits.";

measureMap();
readAddress();
drawNow();
// For the browser's console, and for tests.
globalThis.visitsPage = { state, view, size, painter: () => painter.kind, scene: () => scene, names: () => names, setView, moved, drawNow, select, readAddress, depths, projection };
document.documentElement.dataset.ready = "yes";
