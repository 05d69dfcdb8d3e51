"use strict";
// What a click shows, and tables. All text goes into the page as text, never as HTML.

const details = document.getElementById("details");

function element(name, text, settings) {
  const made = document.createElement(name);
  if (text !== undefined && text !== null) made.textContent = text;
  return Object.assign(made, settings);
}

function row(cellNames, values, settings = {}) {
  const made = document.createElement("tr");
  values.forEach((value, k) => {
    const cell = element(cellNames[k] || cellNames[cellNames.length - 1], value instanceof Node ? null : value);
    if (value instanceof Node) cell.append(value);
    if (settings.numbers && k >= settings.numbers) cell.className = "number";
    made.append(cell);
  });
  return made;
}

function fillTable(table, heads, rows, settings = {}) {
  const head = element("thead"), body = element("tbody");
  head.append(row(["th"], heads, settings));
  for (const cell of head.querySelectorAll("th")) cell.scope = "col";
  body.append(...rows);
  table.replaceChildren(head, body);
}

function atlasLink(vector, width) {
  const [ra, dec] = angles(vector);
  const target = `${ra.toFixed(6)} ${dec < 0 ? "" : "+"}${dec.toFixed(6)}`;
  const link = element("a", "Open this field in Aladin Lite", { target: "_blank", rel: "noopener noreferrer" });
  link.href = `https://aladin.cds.unistra.fr/AladinLite/?target=${encodeURIComponent(target)}&fov=${width.toFixed(3)}`;
  return link;
}

const place = vector => angles(vector).map((angle, k) => `${k ? "Dec" : "RA"} ${angle.toFixed(5)}°`).join(", ");
const shownValue = value => value === null ? "–" : String(value);

function showHint() {
  details.replaceChildren(element("h2", coverage ? "No cell chosen" : "No visit chosen"),
    element("p", coverage ? "Choose a cell of the map to see the visits that cover it."
      : "Choose a visit on the map, or in the list below, to see its detectors and the fields of its record.", { className: "note" }));
}

function showVisit(k) {
  const parts = [element("h2", `Visit ${visits.fields.id[k]}`)];
  const outline = visits.outline[k];
  if (outline) {
    const vertices = corners(outline), reach = Math.min(...vertices.map(vertex => dot(vertex, centres[k])));
    const line = element("p", `Centre ${place(centres[k])}. `);
    line.append(atlasLink(centres[k], 2.4 * Math.acos(reach) / DEGREE));
    parts.push(line);
  } else parts.push(element("p", "It has no region that is a polygon, so it is not on the map.", { className: "note" }));
  if (columns.action) parts.push(element("p", [labelOf("action", k), visits.reason[k]].filter(Boolean).join(": ")));
  const plot = element("div", null, { id: "detectors" });
  const drawn = Boolean(visits.places[k]) || Boolean(outline);
  if (drawn) parts.push(plot);
  if (!visits.places[k]) parts.push(element("p", visits.without_space ? "There was no space for its detectors in this page; make one with fewer visits." : "It has no detectors with regions.", { className: "note" }));
  const table = element("table", null, { id: "fields" });
  const stored = visits.stored ? visits.stored[k] : {};
  const changed = Object.keys(stored).length > 0;
  const rows = Object.entries(visits.fields).map(([name, values]) => {
    const one = row(["th", "td"], [name, shownValue(values[k]), ...(changed ? [name in stored ? shownValue(stored[name]) : ""] : [])]);
    if (name in stored) for (const cell of one.querySelectorAll("td")) cell.className = "changed";
    return one;
  });
  rows.push(row(["th", "td"], ["band", labelOf("band", k)]), row(["th", "td"], ["exposures", visits.exposures[k].join(", ") || "none"]),
    row(["th", "td"], ["region", outline ? `polygon with ${outline.length / 2} vertices` : "–"]));
  fillTable(table, ["Field", columns.action ? "Computed" : "Value", ...(changed ? ["Stored"] : [])], rows);
  details.replaceChildren(...parts, element("h3", "Record"), table);
  if (drawn) drawDetectors(plot, k);
}

// Points on the plane that touches the sky at a direction: degrees to the east and to the north.
function onPlane(outline, centre) {
  const [ra, dec] = angles(centre), a = ra * DEGREE, d = dec * DEGREE;
  const east = [-Math.sin(a), Math.cos(a), 0];
  const north = [-Math.sin(d) * Math.cos(a), -Math.sin(d) * Math.sin(a), Math.cos(d)];
  return corners(outline).map(vector => [east, north].map(axis => dot(vector, axis) / dot(vector, centre) / DEGREE));
}

// The detectors of a visit, on the plane around the middle of its detectors, and that middle.
function detectorOutlines(k) {
  const [number, ra, dec, angle] = visits.places[k], layout = visits.layouts[number], kind = visits.kinds[layout.kind];
  const points = decoded(layout.points, Int16Array), c = Math.cos(angle * DEGREE), s = Math.sin(angle * DEGREE);
  let at = 0;
  const outlines = kind.counts.map((count, j) => {
    const vertices = [];
    for (let v = 0; v < count; v++, at += 2) {
      const x = points[at] * layout.step, y = points[at + 1] * layout.step;
      vertices.push([c * x - s * y, s * x + c * y]);
    }
    return { name: kind.names[j], vertices };
  });
  return { outlines, centre: direction(ra, dec) };
}

function closedLines(polygons) {
  const x = [], y = [];
  for (const polygon of polygons) {
    for (const [east, north] of [...polygon, polygon[0]]) { x.push(east); y.push(north); }
    x.push(null); y.push(null);
  }
  return { x, y };
}

function drawDetectors(plot, k) {
  const { outlines, centre } = visits.places[k] ? detectorOutlines(k) : { outlines: [], centre: centres[k] };
  const kind = { type: "scatter", mode: "lines", hoverinfo: "skip", showlegend: false };
  const found = [{ ...kind, name: "detectors", ...closedLines(outlines.map(one => one.vertices)), fill: "toself",
    fillcolor: "rgba(91,127,192,.16)", line: { color: "#5b7fc0", width: 1 } }];
  if (visits.outline[k]) found.push({ ...kind, name: "visit", showlegend: true, ...closedLines([onPlane(visits.outline[k], centre)]), line: { color: style("--mark"), width: 1.5 } });
  const old = visits.stored_outline && visits.stored_outline[k];
  if (old) found.push({ ...kind, name: "stored", showlegend: true, ...closedLines([onPlane(old, centre)]), line: { color: style("--old"), width: 1.5, dash: "dash" } });
  const middles = outlines.map(({ vertices }) => [0, 1].map(axis => vertices.reduce((sum, vertex) => sum + vertex[axis], 0) / vertices.length));
  const names = outlines.map(one => plain(one.name));
  found.push({ type: "scatter", mode: "text", name: "names", showlegend: false, x: middles.map(m => m[0]), y: middles.map(m => m[1]),
    text: names, hovertext: names, hoverinfo: "text", textfont: { size: 8, color: style("--text") } });
  const axis = { gridcolor: style("--grid"), zeroline: false, ticksuffix: "°", nticks: 6 };
  const drawn = Plotly.newPlot(plot, found, {
    margin: { l: 48, r: 8, t: 26, b: 40 }, paper_bgcolor: "rgba(0,0,0,0)", plot_bgcolor: "rgba(0,0,0,0)", dragmode: "pan",
    font: { color: style("--text"), family: "system-ui, sans-serif", size: 11 }, legend: { orientation: "h", x: 0, y: 1, yanchor: "bottom" },
    hoverlabel: { bgcolor: style("--panel"), bordercolor: style("--line"), font: { color: style("--text") } },
    xaxis: { ...axis, title: { text: "east" }, autorange: "reversed" },
    yaxis: { ...axis, title: { text: "north" }, scaleanchor: "x" },
    modebar: modebar(),
  }, { ...OFFLINE, modeBarButtons: [["toImage", "zoomIn2d", "zoomOut2d", "resetScale2d"]] });
  // Names as large as their detectors allow, also after zooming.
  const sizes = outlines.map(({ name, vertices }) => {
    const sides = vertices.map((v, j) => Math.hypot(...v.map((x, axis) => x - vertices[(j + 1) % vertices.length][axis])));
    return Math.max(...sides) * .75 / (.6 * Math.max(name.length, 1));
  });
  const smallest = Math.min(...sizes);
  const fit = () => {
    const { xaxis } = plot._fullLayout, pixels = xaxis._length / Math.abs(xaxis.range[1] - xaxis.range[0]);
    const size = Math.max(3, Math.min(12, smallest * pixels)), names = plot.data.length - 1;
    if (sizes.length && Math.abs(plot.data[names].textfont.size - size) > .3) Plotly.restyle(plot, { "textfont.size": size }, [names]);
  };
  drawn.then(() => { plot.on("plotly_relayout", fit); fit(); });
}

const LISTED_OF_CELL = 200;

function showCell(cell, shown) {
  const within = shown.filter(k => {
    for (let m = cells.starts[k]; m < cells.starts[k + 1]; m++) if (cells.members[m] === cell) return true;
    return false;
  });
  const table = element("table", null, { id: "fields" }), byFilter = grouped(within, k => labelOf("filter", k));
  const listed = within.slice(0, LISTED_OF_CELL).map(k => row(["td"], [String(cells.ids[k]), labelOf("night", k), labelOf("filter", k)]));
  fillTable(table, ["Visit", "Night", "Filter"], listed);
  const line = element("p", `Centre ${place(cells.centres[cell])}. `);
  line.append(atlasLink(cells.centres[cell], 2 * CELL / DEGREE));
  const counts = [...filterColours.keys()].filter(name => byFilter.has(name)).map(name => `${byFilter.get(name).length} ${name}`);
  details.replaceChildren(element("h2", `${plural(within.length, "visit")} here`), line, element("p", counts.join(", ")), table);
  if (within.length > LISTED_OF_CELL) details.append(element("p", `The first ${LISTED_OF_CELL} are listed.`, { className: "note" }));
}
