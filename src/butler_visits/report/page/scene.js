// What is to be drawn: layers of lines or of filled polygons. They are made for what is around the view only, and again
// where it leaves that.

const MOST_OUTLINES = data.most_outlines, LONGEST_EDGE = 2 * DEGREE, CELL_PIXELS = 40;

// Polygons as pieces x, y, z, x, y, z of lines that are short enough to be straight, as seen from `origin`: differences from
// it keep their digits in 32 bits. And of each piece the angle from the polygon's first corner to it, along the outline.
function segmentsOf(polygons, origin) {
  const points = [], starts = [];
  for (const corners of polygons) {
    let along = 0;
    corners.forEach((from, k) => {
      const to = corners[(k + 1) % corners.length], step = to.map((x, axis) => x - from[axis]);
      const pieces = Math.max(1, Math.ceil(Math.hypot(...step) / LONGEST_EDGE));
      let last = from;
      for (let piece = 1; piece <= pieces; piece++) {
        const next = piece === pieces ? to : unit(from.map((x, axis) => x + piece / pieces * step[axis]));
        for (const end of [last, next]) points.push(end[0] - origin[0], end[1] - origin[1], end[2] - origin[2]);
        starts.push(along);
        along += Math.hypot(next[0] - last[0], next[1] - last[1], next[2] - last[2]);
        last = next;
      }
    });
  }
  return { points: Float32Array.from(points), starts: Float32Array.from(starts) };
}

// Polygons of four corners as triangles, as seen from `origin`.
function trianglesOf(polygons, origin) {
  const found = new Float32Array(18 * polygons.length);
  let at = 0;
  for (const corners of polygons) for (const k of [0, 1, 2, 0, 2, 3]) for (let axis = 0; axis < 3; axis++)
    found[at++] = corners[k][axis] - origin[axis];
  return found;
}

// How much of a line is there, and not left out by its dashes.
function inkOf({ dash }) {
  const sum = lengths => lengths.reduce((total, length) => total + length, 0);
  return dash.length ? sum(dash.filter((_, at) => at % 2 === 0)) / sum(dash) : 1;
}

// What is drawn of some visits, for the view as it is.
function makeScene(shown, colour, off, selected) {
  const origin = direction(view.ra, view.dec), whole = viewRadius() > 30;
  let radius = whole ? 180 : 2 * viewRadius(), near = visitsNear(shown, origin, radius);
  if (!whole && near.length > MOST_OUTLINES) {
    radius = 1.2 * viewRadius();
    near = visitsNear(near, origin, radius);
  }
  const scene = { origin, radius, scale: view.scale, near: near.length, layers: [], classes: [], cells: null };
  const line = (name, polygons, one, settings) =>
    scene.layers.push({ kind: "lines", name, count: polygons.length, ...segmentsOf(polygons, origin), width: 1.2, ...one, ...settings });
  scene.counts = Boolean(coverage) && near.length > MOST_OUTLINES;
  if (scene.counts) {
    const depth = cellDepths(shown), filled = [...depth.keys()].filter(cell => depth[cell]);
    scene.cells = { depth, filled };
    scene.classes = classesBy("depth", filled, filled.map(cell => depth[cell]));
    for (const one of scene.classes) if (!off.has(one.key))
      scene.layers.push({ kind: "fills", name: one.name, count: one.members.length, points: trianglesOf(one.members.map(k => cells.corners[k]), origin), colour: one.colour });
    if (selected?.cell !== undefined) line("chosen", [cells.corners[selected.cell]], { colour: theme().chosen.colour }, { width: 3, dash: [] });
  }
  const isClose = scene.counts && cells.side * DEGREE * globe() > CELL_PIXELS, step = Math.ceil(near.length / MOST_OUTLINES);
  // Of more than can be drawn, each so many.
  scene.drawn = !scene.counts ? near : isClose ? near.filter((_, at) => at % step === 0) : [];
  if (!scene.counts) {
    // The legend counts all, wherever they are; depths of too many are found for those only that are drawn.
    const all = coverage && colour === "depth" ? near : shown.filter(k => centres[k]);
    scene.classes = classesBy(colour, all, colour === "depth" ? depthsNear(shown, all, origin, coverage ? radius : 180) : null);
  }
  const drawn = scene.counts ? [{ ...PLAIN, key: "outlines", name: "outlines", colour: style("--text"), width: .8, members: scene.drawn }] : scene.classes;
  const wanted = new Set(scene.drawn);
  scene.groups = drawn.filter(one => !off.has(one.key)).map(one => ({ ...one, members: one.members.filter(k => wanted.has(k)) }));
  // Those with the fewest gaps are drawn first: what lies on them at the same place leaves them to be seen.
  for (const one of [...scene.groups].sort((a, b) => inkOf(b) - inkOf(a))) line(one.name, one.members.map(cornersOf), one);
  const stored = shown.filter(k => hasOutline(storedOf(k))).map(storedOf);
  if (stored.length) line("stored outline", stored.map(cornersOf), { ...theme().stored, dash: [5, 3] });
  if (centres[selected?.visit]) line("chosen", [cornersOf(selected.visit)], theme().chosen, { width: 3, dash: [] });
  return scene;
}

// Visits of which something is within some degrees of a place.
function visitsNear(shown, place, radius) {
  const cosines = outlines.layouts.map(({ reach }) => Math.cos(Math.min(radius + reach, 180) * DEGREE));
  return shown.filter(k => centres[k] && dot(centres[k], place) >= cosines[outlines.numbers[k]]);
}

// The depth of visits that are near a place, for which others somewhat farther away matter.
function depthsNear(shown, near, origin, radius) {
  const reach = outlines.layouts.reduce((most, { reach }) => Math.max(most, reach), 0);
  const cosine = Math.cos(Math.min(radius + 3 * reach, 180) * DEGREE);
  return depths(shown.filter(k => centres[k] && dot(centres[k], origin) >= cosine), near);
}

// Whether a scene has all that the view shows, and as it is to be drawn there.
function covers(scene) {
  const isThere = scene.radius === 180 || apart(scene.origin, direction(view.ra, view.dec)) + viewRadius() <= scene.radius;
  return isThere && view.scale < 2 * scene.scale && (!scene.counts || view.scale > scene.scale / 2);
}
