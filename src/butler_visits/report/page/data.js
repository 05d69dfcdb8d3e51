"use strict";
// What the page knows of its visits. A visit is a number here, its place in all columns.

const data = JSON.parse(document.getElementById("data").textContent);
const visits = data.visits, coverage = data.coverage;

function decoded(text, Type) {
  const binary = atob(text), bytes = new Uint8Array(binary.length);
  for (let k = 0; k < binary.length; k++) bytes[k] = binary.charCodeAt(k);
  return new Type(bytes.buffer);
}

function coded(column) {
  return column && { labels: column.labels, codes: decoded(column.codes, Uint16Array) };
}

const columns = { night: coded(data.night), filter: coded(data.filter), band: coded(data.band), action: coded(data.action) };
const labelOf = (name, visit) => columns[name].labels[columns[name].codes[visit]];

const plural = (number, what) => `${number.toLocaleString("en")} ${what}${number === 1 ? "" : "s"}`;
const DEGREE = Math.PI / 180;

function direction(ra, dec) {
  const c = Math.cos(dec * DEGREE);
  return [c * Math.cos(ra * DEGREE), c * Math.sin(ra * DEGREE), Math.sin(dec * DEGREE)];
}
const dot = (a, b) => a[0] * b[0] + a[1] * b[1] + a[2] * b[2];
const cross = (a, b) => [a[1] * b[2] - a[2] * b[1], a[2] * b[0] - a[0] * b[2], a[0] * b[1] - a[1] * b[0]];

function angles(vector) {
  const ra = Math.atan2(vector[1], vector[0]) / DEGREE;
  return [(ra + 360) % 360, Math.atan2(vector[2], Math.hypot(vector[0], vector[1])) / DEGREE];
}

function middle(vectors) {
  const sum = [0, 1, 2].map(k => vectors.reduce((total, vector) => total + vector[k], 0));
  const length = Math.hypot(...sum);
  return length > 0 ? sum.map(x => x / length) : [1, 0, 0];
}

// Centres, and corners of polygons given as ra, dec, ra, dec, ...
function corners(outline) {
  const found = [];
  for (let k = 0; k < outline.length; k += 2) found.push(direction(outline[k], outline[k + 1]));
  return found;
}
const centres = visits ? visits.outline.map(outline => outline && middle(corners(outline))) : null;
let cells = null;
if (coverage) {
  const flat = decoded(coverage.corners, Float32Array);
  cells = { corners: [], centres: [], starts: decoded(coverage.starts, Uint32Array),
            members: decoded(coverage.members, Uint16Array), ids: decoded(coverage.ids, BigInt64Array) };
  for (let k = 0; k < coverage.cells; k++) {
    cells.corners.push(Array.from(flat.subarray(8 * k, 8 * k + 8)));
    cells.centres.push(middle(corners(cells.corners[k])));
  }
}

// The text that is searched for, of each visit.
const searched = visits && visits.fields.id.map((id, k) =>
  [id, visits.fields.name[k], (visits.fields.target_name || [])[k] ?? "", labelOf("filter", k)].join("\n").toLowerCase());

// The visits that are wanted: a label (or "" for all) of night, band and action, and words.
function matching(wanted) {
  const tests = Object.keys(columns).filter(name => wanted[name])
    .map(name => [columns[name].codes, columns[name].labels.indexOf(wanted[name])]);
  const words = visits ? wanted.text.toLowerCase().split(/\s+/).filter(Boolean) : [];
  const found = [];
  for (let k = 0; k < data.count; k++)
    if (tests.every(([codes, code]) => codes[k] === code) && words.every(word => searched[k].includes(word))) found.push(k);
  return found;
}

// What each visit has inside: all that is nearer to its centre than the nearest edge, nothing that is farther than the
// farthest corner, and between these what is on the inner side of each edge. Nearness is a cosine.
const shapes = visits && visits.outline.map((outline, k) => {
  if (!outline) return null;
  const vertices = corners(outline), centre = centres[k];
  const normals = vertices.map((vertex, j) => cross(vertex, vertices[(j + 1) % vertices.length]));
  // An edge of no length has no normal, and bounds nothing.
  const heights = normals.filter(normal => dot(normal, normal) > 0).map(normal => dot(normal, centre) / Math.hypot(...normal));
  const height = Math.max(0, Math.min(...heights));
  return { near: Math.sqrt(1 - height * height), far: Math.min(...vertices.map(vertex => dot(vertex, centre))), normals: Float64Array.from(normals.flat()) };
});

function isInside(x, y, z, { normals }) {
  for (let n = 0; n < normals.length; n += 3)
    if (normals[n] * x + normals[n + 1] * y + normals[n + 2] * z < 0) return false;
  return true;
}

// How many of some visits have the centre of each of them inside. All pairs are looked at, most of them very shortly.
function depths(shown) {
  const drawn = shown.filter(k => centres[k]), flat = Float64Array.from(drawn.map(k => centres[k]).flat());
  const counts = new Uint32Array(drawn.length);
  drawn.forEach((k, of) => {
    const shape = shapes[k], { near, far } = shape, [a, b, c] = centres[k];
    for (let at = 0, m = 0; at < counts.length; at++, m += 3) {
      const x = flat[m], y = flat[m + 1], z = flat[m + 2], cosine = a * x + b * y + c * z;
      if (cosine > far && (cosine > near || isInside(x, y, z, shape)) || at === of) counts[at]++;
    }
  });
  return new Map(drawn.map((k, at) => [k, counts[at]]));
}

// A function of some visits that is computed again only for others.
function remembered(compute) {
  let of = null, found = null;
  return shown => {
    if (of !== shown) { found = compute(shown); of = shown; }
    return found;
  };
}

// How many of some visits cover each cell.
function cellDepths(shown) {
  const depth = new Uint32Array(cells.centres.length);
  for (const k of shown) for (let m = cells.starts[k]; m < cells.starts[k + 1]; m++) depth[cells.members[m]]++;
  return depth;
}

const depthOf = remembered(coverage ? cellDepths : depths);
