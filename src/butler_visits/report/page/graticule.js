// Meridians and parallels, and their names: none lies on another, and none is cut off at the map's edge.

const GRID_STEPS = [1e-4, 2e-4, 5e-4, .001, .002, .005, .01, .02, .05, .1, .2, .5, 1, 2, 5, 10, 15];
const HOUR_STEPS = [1 / 240, 1 / 120, 1 / 48, 1 / 24, 1 / 12, .25, .5, 1.25, 2.5, 5, 7.5, 15];
const WHOLE_SKY = 30, GRID_PIXELS = 90;

const stepOf = (steps, least) => steps.find(one => one >= least) || WHOLE_SKY;

// A right ascension or declination in words, with the digits that a step needs.
function angleText(angle, step) {
  return `${Math.abs(angle).toFixed(step >= 1 ? 0 : between(1, Math.ceil(-Math.log10(step) - 1e-9), 5))}°`;
}
function decText(dec, step) {
  const text = angleText(dec, step);
  // What is rounded to zero is not below it.
  return `${parseFloat(text) ? (dec < 0 ? "−" : "+") : ""}${text}`;
}
function raText(ra, step, hours) {
  const positive = ((ra % 360) + 360) % 360;
  if (!hours) return angleText(positive, step);
  const seconds = Math.round(positive * 240 * 100) / 100 % 86400, minutes = Math.floor(seconds / 60);
  const two = number => String(number).padStart(2, "0");
  const digits = step < 1 / 240 ? 2 : 0;
  const rest = step < .25 ? ` ${(seconds % 60).toFixed(digits).padStart(digits ? 5 : 2, "0")}s` : "";
  return `${Math.floor(minutes / 60)}h${step < 15 ? ` ${two(minutes % 60)}m` : ""}${rest}`;
}

// The lines, each of points, and the names, each at a place.
function graticule(hours) {
  const degrees = GRID_PIXELS / globe() / DEGREE, reach = viewRadius();
  const decStep = stepOf(GRID_STEPS, degrees);
  const polar = Math.abs(view.dec) + reach > 90;
  const raStep = polar ? WHOLE_SKY : stepOf(hours ? HOUR_STEPS : GRID_STEPS, degrees / Math.cos(view.dec * DEGREE));
  const whole = reach > 60 || decStep === WHOLE_SKY;
  const low = whole ? -90 : Math.max(view.dec - reach - decStep, -90), high = whole ? 90 : Math.min(view.dec + reach + decStep, 90);
  const width = polar || whole ? 180 : Math.min(180, 1.3 * reach / Math.cos((Math.abs(view.dec) + reach) * DEGREE) + raStep);
  const raMiddle = Math.round(view.ra / raStep) * raStep, decMiddle = whole && decStep === WHOLE_SKY ? 0 : Math.round(view.dec / decStep) * decStep;
  const meridians = [], parallels = [];
  for (let k = -Math.min(Math.ceil(width / raStep), 180 / raStep - (width === 180 ? 1 : 0)); k <= Math.min(Math.ceil(width / raStep), 180 / raStep); k++) meridians.push(raMiddle + k * raStep);
  for (let dec = Math.ceil(low / decStep) * decStep; dec <= high + 1e-9; dec += decStep) if (Math.abs(dec) < 90 - 1e-9) parallels.push(dec);
  const line = (length, at) => Array.from({ length: length + 1 }, (_, k) => direction(...at(k / length)));
  const lines = [
    // Towards the poles there are too many meridians.
    ...meridians.map(ra => {
      const end = Math.round(ra / 90) * 90 === Math.round(ra * 1e6) / 1e6 ? 90 : 90 - Math.min(decStep, 10);
      const from = Math.max(low, -end), to = Math.min(high, end);
      return from < to ? line(40, part => [ra, from + part * (to - from)]) : [];
    }),
    ...parallels.map(dec => line(width === 180 ? 240 : 60, part => [width === 180 ? 360 * part : raMiddle + (2 * part - 1) * width, dec])),
  ];
  // At a pole the middle has no room for the names of meridians: they stand on a parallel.
  const ring = polar && Math.abs(view.dec) > 60 ? Math.sign(view.dec) * (90 - decStep) : decMiddle;
  const names = meridians.map(ra => [ra, ring, `RA ${raText(ra, raStep, hours)}`]);
  for (const dec of parallels) if (Math.abs(dec - ring) > 1e-9)
    for (const ra of whole ? [0, 90, 180, 270].map(turned => raMiddle + turned) : [raMiddle]) names.push([ra, dec, `Dec ${decText(dec, decStep)}`]);
  if (whole || polar) names.unshift([0, 90, "north pole"], [0, -90, "south pole"]);
  return { lines, names: names.map(([ra, dec, name]) => ({ name, place: direction(ra, dec) })) };
}

// Draw it, and return where names are.
function drawGraticule(context, hours) {
  const { lines, names } = graticule(hours), project = projection(), radius = globe();
  context.strokeStyle = style("--line");
  context.lineWidth = .5;
  context.setLineDash([]);
  context.beginPath();
  for (const points of lines) {
    let before = null;
    for (const point of points.map(project)) {
      if (point[2] < 0) { before = null; continue; }
      if (before) context.lineTo(point[0], point[1]); else context.moveTo(point[0], point[1]);
      before = point;
    }
  }
  context.stroke();
  if (radius < Math.hypot(size.width, size.height)) {
    context.lineWidth = 1;
    context.beginPath();
    context.arc(size.width / 2, size.height / 2, radius, 0, 2 * Math.PI);
    context.stroke();
  }
  return placeNames(context, names.map(({ name, place }) => ({ name, at: project(place) })).filter(({ at }) => at[2] > .1));
}

// Write names where there is room for them, the first ones first; return those that are written, with their boxes.
function placeNames(context, names) {
  const written = [], height = 14;
  context.font = "11px system-ui, sans-serif";
  context.textAlign = "center";
  context.textBaseline = "middle";
  context.lineJoin = "round";
  for (const { name, at: [x, y] } of names) {
    const half = context.measureText(name).width / 2 + 4;
    const box = { name, x, y, left: x - half, right: x + half, top: y - height / 2, bottom: y + height / 2 };
    if (box.left < 0 || box.right > size.width || box.top < 0 || box.bottom > size.height) continue;
    if (written.some(one => box.left < one.right && one.left < box.right && box.top < one.bottom && one.top < box.bottom)) continue;
    context.strokeStyle = style("--panel");
    context.lineWidth = 3;
    context.strokeText(name, x, y);
    context.fillStyle = style("--quiet");
    context.fillText(name, x, y);
    written.push(box);
  }
  return written;
}
