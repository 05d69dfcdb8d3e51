// The detectors of a visit, and a picture of them.

const detectorLayouts = layoutsOf(visits, Int16Array);

// The outlines of a visit's detectors on the plane around their middle, and the directions of its axes.
function detectorsOf(k) {
  const [number, ra, dec, angle] = visits.places[k], layout = detectorLayouts[number];
  let at = 0;
  const outlines = layout.counts.map((count, j) => {
    at += count;
    return { name: layout.names[j], vertices: layout.corners.slice(at - count, at) };
  });
  return { outlines, axes: axesAt(ra, dec, angle) };
}

// Where a name stands in a polygon on the screen, and how large it may be.
function nameInside(name, points) {
  const x = points.reduce((sum, one) => sum + one[0], 0) / points.length, y = points.reduce((sum, one) => sum + one[1], 0) / points.length;
  const width = Math.max(...points.map((one, k) => Math.hypot(one[0] - points[(k + 1) % points.length][0], one[1] - points[(k + 1) % points.length][1])));
  return [x, y, Math.min(.75 * width / (.6 * Math.max(name.length, 1)), 13)];
}

const PICTURE = 400, PICTURE_MARGIN = 40;
// None is more than 2.5 times the one before, so that there are not many ticks where there are three.
const TICK_STEPS = [...[.1, .2, .5, 1, 2, 5, 10, 20, 30].map(seconds => seconds / 3600), ...[1, 2, 5, 10, 20, 30].map(minutes => minutes / 60), 1, 2, 5, 10, 20, 45];

// North is up and east to the left; lengths are degrees on the plane around the middle.
function detectorPicture(k) {
  const { outlines, axes } = visits.places[k] ? detectorsOf(k) : { outlines: [], axes: [null, null, centres[k]] };
  const [east, north, centre] = frame(...angles(axes[2]));
  const plane = vectors => vectors.map(vector => [east, north].map(axis => dot(vector, axis) / dot(vector, centre) / DEGREE));
  const detectors = outlines.map(({ name, vertices }) => ({ name, points: plane(lifted(vertices, axes)) }));
  const lines = [["visit", k, theme().chosen], ["stored", storedOf(k), { ...theme().stored, dash: [5, 3] }]].filter(([, one]) => hasOutline(one))
    .map(([name, one, look]) => ({ name, look, points: plane(cornersOf(one)) }));
  const all = [...detectors, ...lines].flatMap(({ points }) => points);
  const ends = [0, 1].map(axis => [Math.min(...all.map(one => one[axis])), Math.max(...all.map(one => one[axis]))]);
  const middle = ends.map(([low, high]) => (low + high) / 2), span = Math.max(...ends.map(([low, high]) => high - low)) || 1;
  const pixels = (PICTURE - 2 * PICTURE_MARGIN) / span;
  const at = ([x, y]) => [PICTURE / 2 - (x - middle[0]) * pixels, PICTURE / 2 - (y - middle[1]) * pixels];
  const polygon = (points, settings) => svg("polygon", { points: points.map(at).map(one => one.map(x => x.toFixed(2))).join(" "), fill: "none", ...settings });
  const made = svg("svg", { viewBox: `0 0 ${PICTURE} ${PICTURE}`, role: "img", "aria-label": `${plural(detectors.length, "detector")}; north is up, east to the left` });
  made.append(...ticks(middle, span, pixels, at));
  const names = detectors.map(({ name, points }) => nameInside(name, points.map(at))), font = Math.min(...names.map(one => one[2]));
  detectors.forEach(({ name, points }, number) => {
    const one = polygon(points, { class: "detector" }), [x, y] = names[number];
    one.append(svg("title", {}, name));
    made.append(one, svg("text", { x, y, class: "name", "font-size": font.toFixed(2) }, name));
  });
  for (const { name, look, points } of lines)
    made.append(polygon(points, { class: name, stroke: look.colour, "stroke-width": 1.5, "stroke-dasharray": (look.dash || []).join(" ") }));
  return made;
}

// A scale along the lower and the left edge.
function ticks(middle, span, pixels, at) {
  const step = TICK_STEPS.findLast(one => one <= span / 3) || TICK_STEPS[0], unit = step < 1 / 60 ? ["″", 3600] : step < .5 ? ["′", 60] : ["°", 1], made = [];
  for (let value = -20 * step; value <= 20 * step; value += step) {
    const text = `${+(value * unit[1]).toFixed(2)}${unit[0]}`.replace("-", "−"), [x] = at([value, 0]), [, y] = at([0, value]);
    if (x > PICTURE_MARGIN && x < PICTURE - PICTURE_MARGIN / 2)
      made.push(svg("line", { class: "tick", x1: x, x2: x, y1: 6, y2: PICTURE - 32 }), svg("text", { class: "tick", x, y: PICTURE - 24 }, text));
    if (y > 8 && y < PICTURE - PICTURE_MARGIN)
      made.push(svg("line", { class: "tick", x1: 34, x2: PICTURE - 6, y1: y, y2: y }), svg("text", { class: "tick", x: 22, y }, text));
  }
  return [...made, svg("text", { class: "tick", x: PICTURE / 2, y: PICTURE - 8 }, "east"),
    svg("text", { class: "tick", transform: `translate(6 ${PICTURE / 2}) rotate(-90)` }, "north")];
}
