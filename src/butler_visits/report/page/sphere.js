// Vectors and directions on the sky. Angles are degrees.

const DEGREE = Math.PI / 180;
const dot = (a, b) => a[0] * b[0] + a[1] * b[1] + a[2] * b[2];
const cross = (a, b) => [a[1] * b[2] - a[2] * b[1], a[2] * b[0] - a[0] * b[2], a[0] * b[1] - a[1] * b[0]];
const unit = a => { const length = Math.hypot(...a); return length > 0 ? a.map(x => x / length) : [1, 0, 0]; };
const between = (low, x, high) => Math.min(Math.max(x, low), high);

function direction(ra, dec) {
  const c = Math.cos(dec * DEGREE);
  return [c * Math.cos(ra * DEGREE), c * Math.sin(ra * DEGREE), Math.sin(dec * DEGREE)];
}

function angles(vector) {
  const ra = Math.atan2(vector[1], vector[0]) / DEGREE;
  return [(ra + 360) % 360, Math.atan2(vector[2], Math.hypot(vector[0], vector[1])) / DEGREE];
}

// The directions to the east and to the north of a place, and to the place itself.
function frame(ra, dec) {
  const a = ra * DEGREE, d = dec * DEGREE;
  return [[-Math.sin(a), Math.cos(a), 0], [-Math.sin(d) * Math.cos(a), -Math.sin(d) * Math.sin(a), Math.cos(d)], direction(ra, dec)];
}

const apart = (a, b) => 2 * Math.asin(Math.min(Math.hypot(a[0] - b[0], a[1] - b[1], a[2] - b[2]) / 2, 1)) / DEGREE;

// A small circle around directions, each of which reaches some degrees far: its centre, and its radius. By moving towards
// the farthest again and again (Badoiu and Clarkson 2003).
function circleAround(directions, reaches) {
  let centre = unit([0, 1, 2].map(axis => directions.reduce((sum, one) => sum + one[axis], 0)));
  const farthest = () => {
    let at = -1, radius = 0;
    directions.forEach((one, k) => { const far = apart(one, centre) + reaches[k]; if (far > radius) { radius = far; at = k; } });
    return { at, radius };
  };
  let best = { centre, radius: farthest().radius };
  // Around most of the sky there is none that is small.
  for (let step = 1; step <= 30 && best.radius < 90; step++) {
    const { at } = farthest();
    centre = unit(centre.map((x, axis) => x + (directions[at][axis] - x) / (step + 1)));
    const { radius } = farthest();
    if (radius < best.radius) best = { centre, radius };
  }
  return best;
}
