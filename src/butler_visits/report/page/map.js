// The sky map: a canvas with the scene, and one over it with the graticule, symbols and names.

const map = byId("map"), overlay = byId("overlay").getContext("2d");
let picture = byId("picture"), painter = webglPainter(picture) || canvasPainter(picture);
let scene = null, names = [], isStale = true, isWaiting = false;

function invalidate() {
  isStale = true;
  redraw();
}

function redraw() {
  if (isWaiting) return;
  isWaiting = true;
  requestAnimationFrame(() => { isWaiting = false; drawNow(); });
}

function drawNow() {
  const ratio = fitCanvases();
  if (isStale || !covers(scene)) {
    isStale = false;
    scene = makeScene(state.shown, controls.colour.value, state.off, state.selected);
    fillLegend();
  }
  if (!isPrinting) painter.draw(scene, ratio);
  overlay.setTransform(ratio, 0, 0, ratio, 0, 0);
  overlay.clearRect(0, 0, size.width, size.height);
  if (isPrinting) drawLayers(overlay, scene);
  const project = projection();
  for (const group of [...scene.groups].sort((a, b) => symbolRank(a) - symbolRank(b)))
    drawSymbols(overlay, group, group.members.map(k => project(centres[k])).filter(place => place[2] >= 0));
  const detectors = state.selected?.visit === undefined ? [] : drawDetectorsOnMap(project, state.selected.visit);
  names = drawGraticule(overlay, state.hours);
  placeDetectorNames(detectors, names);
  byId("seen").textContent = whatIsSeen();
}

// Asked for with each drawing this would lay out the whole page.
function measureMap() {
  size.width = Math.max(map.clientWidth, 1);
  size.height = Math.max(map.clientHeight, 1);
}

// Give canvases the size of the map; return how many of their pixels are one of the page's.
function fitCanvases() {
  const ratio = Math.min(devicePixelRatio || 1, 2);
  for (const canvas of [picture, overlay.canvas]) {
    const width = Math.round(size.width * ratio), height = Math.round(size.height * ratio);
    if (canvas.width !== width || canvas.height !== height) { canvas.width = width; canvas.height = height; }
  }
  return ratio;
}

// A device that is lost draws no more.
picture.addEventListener("webglcontextlost", () => {
  const other = picture.cloneNode();
  picture.replaceWith(other);
  picture = other;
  painter = canvasPainter(picture);
  redraw();
});

// Say what is not in view, as it may be behind the globe.
function whatIsSeen() {
  const [east, north, towards] = frame(view.ra, view.dec), width = size.width / 2 / globe(), height = size.height / 2 / globe();
  let seen = 0, behind = 0, placed = 0;
  for (const k of state.shown) {
    const centre = centres[k];
    if (!centre) continue;
    placed++;
    if (dot(centre, towards) < 0) behind++;
    else if (Math.abs(dot(centre, east)) <= width && Math.abs(dot(centre, north)) <= height) seen++;
  }
  const parts = [];
  if (seen < placed) parts.push(`${countText(seen)} of ${plural(placed, "visit")} in view`);
  if (behind) parts.push(`${countText(behind)} behind the globe`);
  if (scene.counts) parts.push(scene.drawn.length ? `outlines of ${countText(scene.drawn.length)} of the ${countText(scene.near)} in and around the view`
    : "outlines are drawn of fewer visits: zoom in, or choose a night or a band");
  return parts.length ? `${parts.join("; ")}.` : "";
}

function drawDetectorsOnMap(project, k) {
  if (!visits.places[k]) return [];
  const { outlines, axes } = detectorsOf(k);
  const drawn = outlines.map(({ name, vertices }) => ({ name, points: lifted(vertices, axes).map(project) }))
    .filter(({ points }) => points.every(([, , towards]) => towards > 0));
  overlay.strokeStyle = theme().chosen.colour;
  overlay.lineWidth = .8;
  overlay.setLineDash([]);
  overlay.beginPath();
  for (const { points } of drawn) {
    points.forEach(([x, y], at) => at ? overlay.lineTo(x, y) : overlay.moveTo(x, y));
    overlay.closePath();
  }
  overlay.stroke();
  return drawn;
}

// Write the names of detectors, all as large as the smallest may be, where nothing else is written.
function placeDetectorNames(detectors, written) {
  const inside = detectors.map(({ name, points }) => [name, ...nameInside(name, points)]);
  const font = Math.min(...inside.map(one => one[3]));
  if (!(font >= 6)) return;
  overlay.fillStyle = style("--text");
  overlay.textAlign = "center";
  overlay.textBaseline = "middle";
  overlay.font = `${font}px system-ui, sans-serif`;
  for (const [name, x, y] of inside) {
    const half = overlay.measureText(name).width / 2;
    if (written.some(box => x + half > box.left && x - half < box.right && y + font / 2 > box.top && y - font / 2 < box.bottom)) continue;
    overlay.fillText(name, x, y);
  }
}

// What is at a place on the map: the cell; or the visit whose centre is nearest to it on the map, if the visit has it inside
// or is near. With a visit those whose centres lie on its own on the map.
function itemsAt(x, y) {
  const vector = directionAt(x, y);
  if (!vector) return [];
  if (isStale) drawNow();
  if (scene.counts) {
    const on = new Set(scene.classes.filter(one => !state.off.has(one.key)).flatMap(one => one.members));
    const cell = cellAt(vector, on);
    return cell === null ? [] : [{ cell }];
  }
  const project = projection(), members = scene.groups.flatMap(one => one.members);
  const places = members.map(k => [k, ...project(centres[k])]).filter(([, , , towards]) => towards >= 0);
  let best = null, least = Infinity;
  for (const place of places) {
    const distance = Math.hypot(place[1] - x, place[2] - y);
    if (distance < least && (distance < 25 || isInside(vector, place[0]))) { best = place; least = distance; }
  }
  return best ? places.filter(one => Math.hypot(one[1] - best[1], one[2] - best[2]) < 3).map(([visit]) => ({ visit })).sort((a, b) => a.visit - b.visit) : [];
}
