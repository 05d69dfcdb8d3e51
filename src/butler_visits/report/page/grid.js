"use strict";
// Meridians and parallels with their names, as far apart as the map's scale asks for.

const GRID_STEPS = [.01, .02, .05, .1, .2, .5, 1, 2, 5, 10];
const WHOLE_SKY = 30;

// The steps in right ascension and declination, and what is in the middle of the map, rounded to them.
function gridPlace({ rotation, scale }) {
  const step = size => GRID_STEPS.find(one => one >= size) || WHOLE_SKY;
  const decStep = step(20 / scale), raStep = step(20 / scale / Math.max(Math.cos(rotation.lat * DEGREE), .01));
  if (decStep === WHOLE_SKY) return { decStep, raStep: WHOLE_SKY, ra: 0, dec: 0 };
  return { decStep, raStep, ra: Math.round(-rotation.lon / raStep) * raStep, dec: Math.round(rotation.lat / decStep) * decStep };
}

function around(middle, step, most) {
  const found = [];
  for (let k = -most; k <= most; k++) found.push(middle + k * step);
  return found;
}

function degrees(angle, step) {
  return `${Math.abs(angle).toFixed(step < .1 ? 2 : step < 1 ? 1 : 0)}°`;
}

function gridTraces(turned) {
  const { decStep, raStep, ra, dec } = gridPlace(turned), whole = decStep === WHOLE_SKY;
  const meridians = around(ra, raStep, Math.min(8, 180 / raStep)).slice(raStep === WHOLE_SKY ? 1 : 0);
  const parallels = around(dec, decStep, whole ? 2 : 8).filter(one => Math.abs(one) < 90);
  const south = whole ? -90 : parallels[0], north = whole ? 90 : parallels[parallels.length - 1];
  const lon = [], lat = [];
  const add = points => {
    for (const [a, d] of points) { lon.push(-a); lat.push(d); }
    lon.push(null); lat.push(null);
  };
  for (const a of meridians) add([0, .25, .5, .75, 1].map(part => [a, south + part * (north - south)]));
  const first = meridians[0] - (raStep === WHOLE_SKY ? raStep : 0), last = meridians[meridians.length - 1];
  // A line between two points is a great circle, which a parallel is not.
  for (const d of parallels) add(Array.from({ length: 121 }, (_, k) => [first + k / 120 * (last - first), d]));
  const names = [];
  for (const a of meridians) names.push([a, dec, `RA ${degrees((a % 360 + 360) % 360, raStep)}`]);
  for (const d of parallels) if (d !== dec)
    for (const a of whole ? [0, 90, 180, 270] : [ra]) names.push([a, d, `Dec ${d < 0 ? "−" : "+"}${degrees(d, decStep)}`]);
  if (whole) names.push([0, 90, "north pole"], [0, -90, "south pole"]);
  const kind = { type: "scattergeo", name: "grid", hoverinfo: "skip", showlegend: false };
  return {
    lines: { ...kind, mode: "lines", lon, lat, uid: "gridlines", line: { color: style("--grid"), width: 1 } },
    labels: { ...kind, mode: "text", lon: names.map(([a]) => -a), lat: names.map(([, d]) => d), uid: "gridlabels",
      text: names.map(([, , name]) => name), textfont: { color: style("--quiet"), size: 10 } },
  };
}
