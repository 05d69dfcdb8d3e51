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

// A small circle around directions, given as x, y, z, x, y, z: its centre, and its radius. By moving towards the farthest
// again and again (Badoiu and Clarkson 2003).
function circleAround(flat) {
  const farthest = centre => {
    let least = 2, at = 0;
    for (let k = 0; k < flat.length; k += 3) {
      const cosine = flat[k] * centre[0] + flat[k + 1] * centre[1] + flat[k + 2] * centre[2];
      if (cosine < least) { least = cosine; at = k; }
    }
    const vector = [flat[at], flat[at + 1], flat[at + 2]];
    return { centre, vector, radius: apart(vector, centre) };
  };
  const sum = [0, 0, 0];
  for (let k = 0; k < flat.length; k++) sum[k % 3] += flat[k];
  let now = farthest(unit(sum)), best = now;
  // Around most of the sky there is none that is small.
  for (let step = 1; step <= 30 && best.radius < 90; step++) {
    now = farthest(unit(now.centre.map((x, axis) => x + (now.vector[axis] - x) / (step + 1))));
    if (now.radius < best.radius) best = now;
  }
  return best;
}
