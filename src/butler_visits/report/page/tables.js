// The counts, and the list of visits: sorted by any column, to be copied and saved.

const PAGE = 100;
let listed = 0, nightsListed = 0, listNightsTo = null;

// Say how many of a list's rows are there, if not all are.
function sayListed(id, more, count, all, what) {
  byId(id).textContent = count < all ? `${countText(count)} of ${plural(all, what)} are listed` : "";
  byId(more).hidden = count === all;
}

const angleOf = axis => k => centres[k] ? angles(centres[k])[axis] : null;
const LIST = [
  { name: "Visit", key: "visit", of: k => visits.fields.id[k] },
  { name: "Name", key: "name", of: k => visits.fields.name[k] },
  { name: "Night", key: "night", of: k => labelOf("night", k) },
  { name: "Filter", key: "filter", of: k => labelOf("filter", k) },
  { name: "Target", key: "target", of: k => fieldOf("target_name", k) },
  { name: "Begin (TAI)", key: "begin", of: k => visits.begin[k] },
  { name: "Exposure time (s)", key: "exposure_time", of: k => fieldOf("exposure_time", k), isNumber: true, shown: value => String(+value.toFixed(3)) },
  { name: "RA", key: "ra", of: angleOf(0), isNumber: true, shown: value => raShown(value, 4) },
  { name: "Dec", key: "dec", of: angleOf(1), isNumber: true, shown: value => `${value.toFixed(4)}°` },
  { name: "Exposures", key: "exposures", of: k => visits.exposures[k].join(", "), isLong: true },
  ...(columns.action ? [{ name: "Action", key: "action", of: k => labelOf("action", k) }, { name: "Why", key: "why", of: k => visits.reason[k], isLong: true }] : []),
];

// All visits in the order of the list; `null` is the order in which they are there.
let sorting = null, order = Array.from({ length: data.count }, (_, k) => k);

// Texts are sorted by the numbers in them, also ids that are too large for numbers and so are text here.
const TEXTS = new Intl.Collator("en", { numeric: true });
const compare = (a, b) => typeof a === "number" && typeof b === "number" ? a - b : TEXTS.compare(a, b);

function sortBy(key, isDown) {
  const column = LIST.find(one => one.key === key);
  sorting = column ? { key, isDown } : null;
  order = Array.from({ length: data.count }, (_, k) => k);
  if (!column) return;
  const values = order.map(column.of), sign = isDown ? -1 : 1;
  // What is not there comes last either way.
  order.sort((a, b) => (values[a] === null) - (values[b] === null) || (values[a] === null ? 0 : sign * compare(values[a], values[b])) || a - b);
}

function fillCounts() {
  const filters = [...filterStyles.keys()], numbers = columns.filter.labels.map(name => filters.indexOf(name));
  const counts = new Map(), totals = new Array(filters.length).fill(0);
  for (const k of state.shown) {
    const night = columns.night.codes[k], at = numbers[columns.filter.codes[k]];
    if (!counts.has(night)) counts.set(night, new Array(filters.length).fill(0));
    counts.get(night)[at]++;
    totals[at]++;
  }
  const sum = values => values.reduce((total, value) => total + value, 0), cell = value => value ? countText(value) : "";
  const rows = [...counts].map(([night, values]) => [columns.night.labels[night], values]).sort(([a], [b]) => a < b ? -1 : 1);
  const table = byId("counts"), all = row(["th"], ["all", ...totals.map(cell), countText(state.shown.length)], { numbers: 1 });
  fillTable(table, ["Night", ...filters, "all"], [all], { numbers: 1 });
  nightsListed = 0;
  listNightsTo = count => {
    all.before(...rows.slice(nightsListed, count).map(([night, values]) => row(["th", "td"], [night, ...values.map(cell), cell(sum(values))], { numbers: 1 })));
    nightsListed = between(nightsListed, count, rows.length);
    sayListed("listed-nights", "more-nights", nightsListed, rows.length, "night");
  };
  listNightsTo(PAGE);
}

function listRow(k) {
  const choose = button(visits.fields.id[k], () => { select({ visit: k }, true); byId("sky").scrollIntoView({ block: "nearest" }); });
  const made = row(["td"], LIST.map((column, at) => {
    const value = column.of(k);
    return at === 0 ? choose : value === null || value === "" ? "–" : column.shown && typeof value === "number" ? column.shown(value) : value;
  }));
  [...made.cells].forEach((cell, at) => { cell.className = LIST[at].isNumber ? "number" : LIST[at].isLong ? "long" : ""; });
  made.dataset.visit = k;
  return made;
}

function listTo(count) {
  const [rows, far] = byId("list").tBodies;
  far.replaceChildren();
  rows.append(...state.shown.slice(listed, count).map(listRow));
  listed = between(listed, count, state.shown.length);
  sayListed("listed", "more", listed, state.shown.length, "visit");
  markInList();
}

function fillList() {
  const heads = LIST.map(({ name, key }) => button(name, () => {
    sortBy(key, sorting?.key === key && !sorting.isDown);
    apply({ isSorted: true });
    byId("list").querySelectorAll("thead button")[LIST.findIndex(one => one.key === key)].focus();
  }));
  fillTable(byId("list"), heads, []);
  byId("list").querySelectorAll("thead th").forEach((cell, at) => {
    const isSorted = sorting?.key === LIST[at].key;
    if (isSorted) cell.setAttribute("aria-sort", sorting.isDown ? "descending" : "ascending");
    if (LIST[at].isNumber) cell.className = "number";
  });
  byId("list").append(element("tbody"));
  listed = 0;
  listTo(PAGE);
}

// Mark the chosen visit; what is farther down than the list goes stands alone below it.
function markInList() {
  const list = byId("list"), far = list.tBodies[1], chosen = state.selected?.visit, rowOf = () => list.querySelector(`tr[data-visit="${chosen}"]`);
  for (const one of list.querySelectorAll("tr[aria-current]")) one.removeAttribute("aria-current");
  if (rowOf()?.parentNode !== far) {
    const skipped = state.shown.indexOf(chosen) - listed, gap = element("tr");
    gap.append(element("td", `… ${plural(skipped, "visit")} between …`, { colSpan: LIST.length }));
    far.replaceChildren(...skipped < 0 ? [] : skipped ? [gap, listRow(chosen)] : [listRow(chosen)]);
  }
  rowOf()?.setAttribute("aria-current", "true");
}

const COLUMNS_OF_FILE = ["visit", "name", "night", "filter", "band", "target", "begin_tai", "exposure_time", "ra", "dec", "exposures"];

// The visits that are shown, a line each; angles in degrees.
function asText(separator) {
  const quoted = value => {
    const text = value === null || value === undefined ? "" : String(value);
    return text.includes(separator) || /["\r\n]/.test(text) ? `"${text.replace(/"/g, '""')}"` : text;
  };
  const digits = value => value === null ? null : value.toFixed(6);
  const lines = state.shown.map(k => [visits.fields.id[k], visits.fields.name[k], labelOf("night", k), labelOf("filter", k), labelOf("band", k), fieldOf("target_name", k),
    visits.begin[k], fieldOf("exposure_time", k), digits(angleOf(0)(k)), digits(angleOf(1)(k)), visits.exposures[k].join(" "),
    ...(columns.action ? [labelOf("action", k), visits.reason[k]] : [])]);
  return [[...COLUMNS_OF_FILE, ...(columns.action ? ["action", "why"] : [])], ...lines].map(line => line.map(quoted).join(separator)).join("\r\n") + "\r\n";
}

async function copyList() {
  const text = asText("\t");
  try {
    await navigator.clipboard.writeText(text);
  } catch {
    // Where the browser forbids that.
    const area = element("textarea", null, { value: text });
    document.body.append(area);
    area.select();
    document.execCommand("copy");
    area.remove();
  }
  byId("copied").textContent = `${plural(state.shown.length, "visit")} copied`;
}

byId("more").addEventListener("click", () => listTo(listed + PAGE));
byId("more-nights").addEventListener("click", () => listNightsTo(nightsListed + PAGE));
byId("copy").addEventListener("click", copyList);
byId("save-csv").addEventListener("click", () => save("visits.csv", new Blob([asText(",")], { type: "text/csv" })));
