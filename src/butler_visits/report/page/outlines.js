// Where outlines lie. Those that are alike up to a rotation are there once, as a layout: points on the plane that touches
// the sky at its centre, degrees to the east and to the north. A place is a layout's number, its centre, and how it is turned.

function layoutsOf({ layouts, kinds }, Type) {
  return layouts.map(({ kind, step, points }) => {
    const flat = Float64Array.from(decoded(points, Type), x => x * step * DEGREE);
    const corners = [];
    for (let at = 0; at < flat.length; at += 2) corners.push([flat[at], flat[at + 1]]);
    return { corners, ...kinds[kind] };
  });
}

const outlines = (() => {
  const { places } = visits.outlines, layouts = layoutsOf(visits.outlines, Int32Array);
  for (const layout of layouts) {
    const sides = layout.corners.map((a, k) => [a, layout.corners[(k + 1) % layout.corners.length]]);
    // Twice the area to the left of each edge; of no length, it bounds nothing.
    layout.edges = sides.map(([a, b]) => [a[1] - b[1], b[0] - a[0], a[0] * b[1] - a[1] * b[0]]).filter(([a, b]) => a || b);
    const radii = layout.corners.map(([x, y]) => Math.hypot(x, y));
    layout.reach = Math.atan(Math.max(...radii)) / DEGREE;
    // Of cosines: nearer than the nearest edge all is inside, farther than the farthest corner nothing.
    layout.far = Math.cos(layout.reach * DEGREE) - 1e-15;
    const nearest = layout.edges.length ? Math.max(0, Math.min(...layout.edges.map(([a, b, c]) => c / Math.hypot(a, b)))) : 0;
    layout.near = Math.cos(Math.atan(nearest));
  }
  const numbers = decoded(places.layout, Int32Array), turned = decoded(places.turned, Int32Array);
  return { layouts, numbers, turned };
})();

// The first are those of the visits; of a plan, those that are stored follow.
const hasOutline = k => k < outlines.numbers.length && outlines.numbers[k] >= 0;
const layoutOf = k => outlines.layouts[outlines.numbers[k]];
const placeOf = k => Array.from(outlines.turned.subarray(3 * k, 3 * k + 3), x => x / 1e6);
const storedOf = k => k + data.count;

// The directions of the axes of a layout that lies at a place, and of its centre.
function axesAt(ra, dec, angle) {
  const [east, north, centre] = frame(ra, dec), c = Math.cos(angle * DEGREE), s = Math.sin(angle * DEGREE);
  return [east.map((x, k) => c * x + s * north[k]), east.map((x, k) => c * north[k] - s * x), centre];
}

function lifted(points, [first, second, centre]) {
  return points.map(([x, y]) => unit(centre.map((z, k) => z + x * first[k] + y * second[k])));
}

const cornersOf = k => lifted(layoutOf(k).corners, axesAt(...placeOf(k)));

const centres = Array.from({ length: data.count }, (_, k) => hasOutline(k) ? direction(...placeOf(k)) : null);

// Whether a visit has a direction inside.
function isInside(vector, k) {
  const layout = layoutOf(k), cosine = dot(vector, centres[k]);
  if (cosine <= layout.far || cosine > layout.near) return cosine > layout.near;
  const [first, second] = axesAt(...placeOf(k)), x = dot(vector, first) / cosine, y = dot(vector, second) / cosine;
  return layout.edges.every(([a, b, c]) => a * x + b * y + c >= 0);
}

// The cells of a map that counts visits.
const cells = coverage && (() => {
  const flat = decoded(coverage.corners, Float32Array);
  const corners = Array.from({ length: coverage.cells }, (_, k) =>
    [0, 2, 4, 6].map(at => direction(flat[8 * k + at], flat[8 * k + at + 1])));
  return {
    corners, centres: corners.map(four => unit([0, 1, 2].map(axis => four.reduce((sum, one) => sum + one[axis], 0)))),
    starts: decoded(coverage.starts, Uint32Array), members: decoded(coverage.members, Uint16Array),
    // The side of a HEALPix cell, degrees.
    side: Math.sqrt(Math.PI / 3) / 2 ** coverage.order / DEGREE,
  };
})();

// Which of some cells is nearest to a direction, if it is not beside all of them.
function cellAt(vector, candidates) {
  let best = null, least = .8 * cells.side;
  for (const k of candidates) {
    const distance = apart(cells.centres[k], vector);
    if (distance < least) { best = k; least = distance; }
  }
  return best;
}
