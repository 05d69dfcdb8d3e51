// How the globe is turned: what is in its middle, and how large it is. It is seen from inside: north up, east to the left.

const LEAST_SCALE = .5, MOST_SCALE = 1e6;
const view = { ra: 0, dec: 0, scale: .95 };
const size = { width: 1, height: 1 };

// The globe's radius in pixels; at a scale of 1 it just fits.
const globe = (scale = view.scale) => scale * Math.min(size.width, size.height) / 2;
// Up to how many degrees from its middle the map shows the sky.
const viewRadius = () => Math.asin(Math.min(Math.hypot(size.width, size.height) / 2 / globe(), 1)) / DEGREE;

function setView({ ra = view.ra, dec = view.dec, scale = view.scale }) {
  view.ra = ((ra % 360) + 360) % 360;
  view.dec = between(-90, dec, 90);
  view.scale = between(LEAST_SCALE, scale, MOST_SCALE);
}

// Pixels from the map's upper left corner, and how far towards the observer; what is behind has less than 0 of that.
function projection() {
  const [east, north, towards] = frame(view.ra, view.dec), radius = globe(), x = size.width / 2, y = size.height / 2;
  return vector => [x - radius * dot(vector, east), y - radius * dot(vector, north), dot(vector, towards)];
}

// The direction that a place on the map shows; none beside the globe.
function directionAt(x, y) {
  const [east, north, centre] = frame(view.ra, view.dec), radius = globe();
  const left = (size.width / 2 - x) / radius, up = (size.height / 2 - y) / radius, rest = 1 - left * left - up * up;
  return rest > 0 ? centre.map((z, k) => Math.sqrt(rest) * z + left * east[k] + up * north[k]) : null;
}

// Turn the globe as a hand would that moves by some pixels.
function drag(dx, dy) {
  const degrees = 1 / globe() / DEGREE;
  setView({ ra: view.ra + dx * degrees / Math.max(Math.cos(view.dec * DEGREE), .02), dec: view.dec + dy * degrees });
}

// Zoom, and leave what is at a place where it is.
function zoomAt(factor, x, y) {
  const there = directionAt(x, y);
  setView({ scale: view.scale * factor });
  if (!there) return;
  const [nowX, nowY] = projection()(there);
  drag(x - nowX, y - nowY);
}

// The view that some visits fill.
function viewOf(shown) {
  const placed = shown.filter(k => centres[k]);
  if (!placed.length) return { ra: 0, dec: 0, scale: .95 };
  const flat = new Float64Array(3 * placed.length);
  placed.forEach((k, at) => flat.set(centres[k], 3 * at));
  const { centre, radius } = circleAround(flat), [ra, dec] = angles(centre);
  // A tenth around their outlines; not nearer than a hundredth of a degree.
  const wanted = Math.max(1.1 * (radius + placed.reduce((most, k) => Math.max(most, layoutOf(k).reach), 0)), .01);
  return { ra, dec, scale: wanted < 66 ? .95 / Math.sin(wanted * DEGREE) : .95 };
}
