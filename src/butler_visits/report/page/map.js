"use strict";
// The sky map: a globe seen from inside, so longitude is minus the right ascension.

const BAND_COLOURS = { u: "#6f5bd6", g: "#2f9e68", r: "#d64f4f", i: "#d98a1f", z: "#b657a8", y: "#8c6d4a" };
const FREE_COLOURS = ["#3d85c6", "#5f8f3e", "#b5651d", "#8a63b0", "#2a9aa5", "#c24d78", "#7d7d2f", "#6b7f99"];
const DEPTH_COLOURS = ["#5b7fc0", "#3d9fa8", "#66b35a", "#cfae2c", "#e07f35", "#cf3f55"];
const ACTION_COLOURS = { new: "#2f9e68", unchanged: "#7f8c99", update: "#d98a1f", skipped: "#8a63b0", conflict: "#d64f4f" };
const BAND_ORDER = "ugrizy";
// The side of a HEALPix cell, radians.
const CELL = coverage && Math.sqrt(Math.PI / 3) / 2 ** coverage.order;

const style = name => getComputedStyle(document.documentElement).getPropertyValue(name).trim();
const map = document.getElementById("map");

// Filters in the order of their bands, each with a colour of its own.
const filterColours = new Map();
{
  const bandOf = new Map();
  for (let k = 0; k < data.count; k++) bandOf.set(columns.filter.codes[k], labelOf("band", k));
  const rank = code => (BAND_ORDER.indexOf(bandOf.get(code)) + 9) % 9;
  const used = new Set();
  let free = 0;
  for (const code of [...bandOf.keys()].sort((a, b) => rank(a) - rank(b) || a - b)) {
    let colour = BAND_COLOURS[bandOf.get(code)];
    if (!colour || used.has(colour)) colour = FREE_COLOURS[free++ % FREE_COLOURS.length];
    used.add(colour);
    filterColours.set(columns.filter.labels[code], colour);
  }
}

// Classes of depths: each its own if they are few, else about as many visits or cells in each class.
function depthClasses(depths) {
  const sorted = Float64Array.from(depths).sort(), n = DEPTH_COLOURS.length;
  const distinct = [...new Set(sorted)];
  const ends = distinct.length <= n ? distinct
    : [...new Set(DEPTH_COLOURS.map((_, k) => sorted[Math.ceil((k + 1) * sorted.length / n) - 1]))];
  return ends.map((last, k) => {
    const first = distinct.length <= n ? last : k ? ends[k - 1] + 1 : sorted[0];
    return { last, colour: DEPTH_COLOURS[k], name: first === last ? `${last}` : `${first} to ${last}` };
  });
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

// Groups of visits, or of cells, each with a name and a colour.
function colourGroups(shown, colour) {
  if (coverage || colour === "depth") {
    const depth = depthOf(shown);
    const of = item => coverage ? depth[item] : depth.get(item);
    const items = coverage ? cells.centres.map((_, k) => k).filter(of) : shown.filter(k => centres[k]);
    const classes = depthClasses(items.map(of));
    const groups = grouped(items, item => classes.find(one => of(item) <= one.last));
    return classes.filter(one => groups.has(one)).map(one => ({ ...one, members: groups.get(one) }));
  }
  const colours = colour === "action" ? new Map(Object.entries(ACTION_COLOURS)) : filterColours;
  const groups = grouped(shown, k => labelOf(colour, k));
  return [...colours].filter(([name]) => groups.has(name))
    .map(([name, code]) => ({ name, colour: code, members: groups.get(name) }));
}

function rings(outlines) {
  const lon = [], lat = [];
  for (const outline of outlines) {
    if (lon.length) { lon.push(null); lat.push(null); }
    for (let k = 0; k < outline.length; k += 2) { lon.push(-outline[k]); lat.push(outline[k + 1]); }
    lon.push(-outline[0]); lat.push(outline[1]);
  }
  return { lon, lat };
}

// A trace is known by its name, so that what is switched off in the legend stays so. plotly wants a name without blanks.
const uids = new Map();
function uidOf(name) {
  if (!uids.has(name)) uids.set(name, `trace${uids.size}`);
  return uids.get(name);
}

function line(name, outlines, settings) {
  return { type: "scattergeo", mode: "lines", hoverinfo: "skip", name, uid: uidOf(name), ...rings(outlines), ...settings };
}

const plain = text => String(text).replace(/&/g, "&amp;").replace(/</g, "&lt;").replace(/>/g, "&gt;");

const NAMED = 5;

function hoverText(k) {
  const target = (visits.fields.target_name || [])[k], exposures = visits.exposures[k];
  const lines = [`${visits.fields.id[k]} ${visits.fields.name[k]}`, `${target ?? "no target"}, ${labelOf("filter", k)}`,
    visits.begin[k] ? `${visits.begin[k]} TAI` : "no time"];
  if (columns.action) lines.push(labelOf("action", k));
  const more = exposures.length > NAMED ? ` and ${exposures.length - NAMED} more` : "";
  lines.push(`${exposures.length > 1 ? "exposures" : "exposure"} ${exposures.slice(0, NAMED).join(", ") || "none"}${more}`);
  return lines.join("\n");
}

// The groups that are drawn: what is in them, by the uid of the trace that stands in the legend.
const drawnGroups = new Map();

// The visits, or cells, of the groups that are not switched off in the legend.
function visible() {
  const off = new Set(map._fullData.filter(trace => trace.visible !== true).map(trace => trace.uid));
  return [...drawnGroups].filter(([uid]) => !off.has(uid)).flatMap(([, members]) => members);
}

function centreMarkers(name, members, colour) {
  const drawn = members.filter(k => centres[k]), places = drawn.map(k => angles(centres[k]));
  return { type: "scattergeo", mode: "markers", name, uid: uidOf(`centres of ${name}`), legendgroup: name, showlegend: false,
    hoverinfo: "skip", lon: places.map(([ra]) => -ra), lat: places.map(([, dec]) => dec), marker: { color: colour, size: 5 } };
}

function traces(shown, colour, selected, turned) {
  const groups = colourGroups(shown, colour), grid = gridTraces(turned), found = [grid.lines];
  drawnGroups.clear();
  for (const { name, colour: code, members } of groups) {
    const outlines = coverage ? members.map(k => cells.corners[k]) : members.map(k => visits.outline[k]).filter(Boolean);
    const settings = coverage ? { fill: "toself", fillcolor: code, line: { color: code, width: .5 } }
      : { line: { color: code, width: 1.2 }, legendgroup: name };
    drawnGroups.set(uidOf(name), members);
    found.push({ ...line(name, outlines, settings), name: coverage ? name : `${plain(name)} (${members.length})` });
    if (!coverage) found.push(centreMarkers(name, members, code));
  }
  if (visits && visits.stored_outline) {
    const old = shown.map(k => visits.stored_outline[k]).filter(Boolean);
    const settings = { name: `stored outline (${old.length})`, line: { color: style("--old"), width: 1.2, dash: "dash" } };
    if (old.length) found.push(line("stored outline", old, settings));
  }
  const outline = selected === null ? null : coverage ? cells.corners[selected] : visits.outline[selected];
  if (outline) found.push(line("chosen", [outline], chosen()));
  return [...found, grid.labels];
}

const chosen = () => ({ showlegend: false, line: { color: style("--mark"), width: 3 } });

// Where the map looks at first: the middle of all visits, and as near as their outlines allow.
const firstView = (() => {
  const all = (coverage ? cells.corners : visits.outline.filter(Boolean)).flatMap(corners);
  const centre = middle(all);
  const nearness = all.reduce((least, one) => Math.min(least, dot(one, centre)), 1);
  // A tenth around them; no nearer than a hundredth of a degree, which an outline's digits allow.
  const radius = Math.max(1.1 * Math.acos(Math.max(-1, nearness)), .01 * DEGREE);
  const scale = all.length && radius < 66 * DEGREE ? .95 / Math.sin(radius) : .95;
  const [ra, dec] = angles(centre);
  return { rotation: { lon: all.length ? -ra : 0, lat: all.length ? dec : 0, roll: 0 }, scale: Math.max(scale, .95) };
})();

function mapLayout(colour, turned) {
  const titles = { depth: "Number of visits", filter: "Filter", action: "Action" };
  return {
    uirevision: "view", margin: { l: 0, r: 0, t: 0, b: 0 }, hovermode: false, dragmode: "pan",
    paper_bgcolor: "rgba(0,0,0,0)", font: { color: style("--text"), family: "system-ui, sans-serif", size: 12 },
    legend: { title: { text: titles[colour] }, x: 0, y: 1, bgcolor: "rgba(0,0,0,0)", itemsizing: "constant" }, showlegend: true,
    modebar: modebar(),
    geo: { visible: false, bgcolor: "rgba(0,0,0,0)", showframe: true, framecolor: style("--line"),
      projection: { type: "orthographic", ...turned } },
  };
}

// plotly offers by default to send a chart, with its data, to its maker's server.
const OFFLINE = { showSendToCloud: false, displaylogo: false, scrollZoom: true, responsive: true };
const modebar = () => ({ bgcolor: "rgba(0,0,0,0)", color: style("--quiet"), activecolor: style("--text") });

// Draw the map as it is turned, or with a direction in the middle.
function drawMap(shown, colour, selected, centre) {
  const [ra, dec] = centre ? angles(centre) : [];
  const turned = { ...(map._fullLayout ? view() : firstView), ...(centre && { rotation: { lon: -ra, lat: dec, roll: 0 } }) };
  return Plotly.react(map, traces(shown, colour, selected, turned), mapLayout(colour, turned),
    { ...OFFLINE, modeBarButtons: [["toImage", "zoomInGeo", "zoomOutGeo", "resetGeo"]] });
}

// How the map is turned now.
function view() {
  const { rotation, scale } = map._fullLayout.geo.projection;
  return { rotation: { ...rotation }, scale };
}

// The direction that a place in the window shows; none beside the globe.
function directionAt(x, y) {
  const box = map.getBoundingClientRect(), { rotation, scale } = view();
  const radius = scale * Math.min(box.width, box.height) / 2;
  const right = (x - box.left - box.width / 2) / radius, up = (box.top + box.height / 2 - y) / radius;
  const towards = Math.sqrt(1 - right * right - up * up);
  if (!(towards > 0)) return null;
  const centre = direction(-rotation.lon, rotation.lat), a = -rotation.lon * DEGREE, d = rotation.lat * DEGREE;
  const east = [-Math.sin(a), Math.cos(a), 0];
  const north = [-Math.sin(d) * Math.cos(a), -Math.sin(d) * Math.sin(a), Math.cos(d)];
  return [0, 1, 2].map(k => towards * centre[k] - right * east[k] + up * north[k]);
}

// The cell at a direction; or the visit whose centre is nearest to it on the map, if the visit has it inside or is near.
// With a visit those whose centres lie on its own on the map.
function nearest(vector) {
  const { rotation, scale } = view(), towards = direction(-rotation.lon, rotation.lat);
  const pixel = 2 / (scale * Math.min(map.clientWidth, map.clientHeight)), items = visible();
  const apart = (a, b) => {
    const offset = a.map((x, axis) => x - b[axis]), along = dot(offset, towards);
    return Math.sqrt(Math.max(dot(offset, offset) - (coverage ? 0 : along * along), 0));
  };
  const all = coverage ? cells.centres : centres;
  const seen = items.filter(k => all[k] && dot(all[k], towards) >= 0);
  let best = null, least = coverage ? .8 * CELL : Infinity;
  for (const k of seen) {
    const distance = apart(all[k], vector);
    if (distance < least && (coverage || distance < 25 * pixel || isInside(...vector, shapes[k]))) {
      least = distance;
      best = k;
    }
  }
  if (best === null || coverage) return best === null ? [] : [best];
  return seen.filter(k => apart(all[k], all[best]) < 3 * pixel).sort((a, b) => a - b);
}

map.addEventListener("keydown", event => {
  const { rotation, scale } = view(), step = 15 / Math.max(scale, 1);
  const changes = {
    ArrowLeft: { "geo.projection.rotation.lon": rotation.lon - step },
    ArrowRight: { "geo.projection.rotation.lon": rotation.lon + step },
    ArrowUp: { "geo.projection.rotation.lat": Math.min(rotation.lat + step, 90) },
    ArrowDown: { "geo.projection.rotation.lat": Math.max(rotation.lat - step, -90) },
    "+": { "geo.projection.scale": scale * 1.4 }, "-": { "geo.projection.scale": scale / 1.4 },
  }[event.key];
  if (changes) { event.preventDefault(); Plotly.relayout(map, changes); }
});
