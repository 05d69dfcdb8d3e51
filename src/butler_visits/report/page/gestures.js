// Turning and zooming by mouse, keyboard and two fingers; one finger scrolls the page.

let wasMoved = false;

function moved() {
  wasMoved = true;
  redraw();
  rememberAddress();
}

const placeOnMap = ({ clientX, clientY }) => { const box = map.getBoundingClientRect(); return [clientX - box.left, clientY - box.top]; };

let pressed = null, wasDragged = false;
map.addEventListener("pointerdown", event => {
  wasDragged = false;
  if (event.pointerType === "touch" || event.button !== 0) return;
  pressed = { at: placeOnMap(event), last: placeOnMap(event) };
  map.setPointerCapture(event.pointerId);
});
map.addEventListener("pointermove", event => {
  if (event.pointerType === "touch") return;
  const at = placeOnMap(event);
  if (!pressed) { showTip(...at); return; }
  wasDragged ||= Math.hypot(at[0] - pressed.at[0], at[1] - pressed.at[1]) >= 4;
  if (!wasDragged) return;
  byId("tip").hidden = true;
  drag(at[0] - pressed.last[0], at[1] - pressed.last[1]);
  pressed.last = at;
  moved();
});
map.addEventListener("pointerleave", () => { byId("tip").hidden = true; });
for (const name of ["pointerup", "pointercancel"]) map.addEventListener(name, () => { pressed = null; });
map.addEventListener("click", event => {
  if (wasDragged) return;
  const at = placeOnMap(event);
  choose(itemsAt(...at));
  if (event.pointerType !== "touch") showTip(...at);
});
map.addEventListener("wheel", event => {
  event.preventDefault();
  zoomAt(Math.exp(-between(-200, event.deltaY * (event.deltaMode ? 20 : 1), 200) / 300), ...placeOnMap(event));
  moved();
}, { passive: false });

let fingers = null;
function fingersOf({ touches }) {
  const [a, b] = [placeOnMap(touches[0]), placeOnMap(touches[1])];
  return { middle: [(a[0] + b[0]) / 2, (a[1] + b[1]) / 2], apart: Math.hypot(a[0] - b[0], a[1] - b[1]) || 1 };
}
map.addEventListener("touchstart", event => { fingers = event.touches.length === 2 ? fingersOf(event) : null; }, { passive: true });
map.addEventListener("touchmove", event => {
  if (event.touches.length !== 2) return;
  event.preventDefault();
  const now = fingersOf(event);
  if (fingers) {
    drag(now.middle[0] - fingers.middle[0], now.middle[1] - fingers.middle[1]);
    zoomAt(now.apart / fingers.apart, ...now.middle);
    moved();
  }
  fingers = now;
}, { passive: false });

map.addEventListener("keydown", event => {
  const step = 15 / Math.max(view.scale, 1), factor = 1.4;
  const changes = {
    ArrowLeft: { ra: view.ra + step }, ArrowRight: { ra: view.ra - step },
    ArrowUp: { dec: view.dec + step }, ArrowDown: { dec: view.dec - step },
    "+": { scale: view.scale * factor }, "-": { scale: view.scale / factor },
  }[event.key];
  if (event.key === "Enter") choose(itemsAt(size.width / 2, size.height / 2));
  if (!changes) return;
  event.preventDefault();
  setView(changes);
  moved();
});

for (const [id, change] of [["zoom-in", () => setView({ scale: view.scale * 1.6 })], ["zoom-out", () => setView({ scale: view.scale / 1.6 })],
  ["fit", () => setView(viewOf(state.shown))], ["whole-sky", () => setView({ scale: .95 })]])
  byId(id).addEventListener("click", () => { change(); moved(); });
new ResizeObserver(() => { measureMap(); redraw(); }).observe(map);
