// The view in the page's address, so that a link shows what its sender saw.

let isRemembering = null, isReading = false;

function rememberAddress() {
  if (isReading) return;
  clearTimeout(isRemembering);
  isRemembering = setTimeout(writeAddress, 200);
}

function writeAddress() {
  const parts = new URLSearchParams();
  for (const [name, control] of Object.entries(controls)) if (control.value !== defaultOf(name)) parts.set(name, control.value);
  if (state.selected?.visit !== undefined) parts.set("visit", visits.fields.id[state.selected.visit]);
  // Where it is: on a page of other visits its number is another cell's.
  if (state.selected?.cell !== undefined) parts.set("cell", angles(cells.centres[state.selected.cell]).map(angle => angle.toFixed(5)).join(","));
  if (sorting) parts.set("sort", `${sorting.isDown ? "-" : ""}${sorting.key}`);
  if (state.hours) parts.set("hours", "1");
  for (const key of state.off) parts.append("off", key);
  if (wasMoved || parts.toString()) parts.set("at", [view.ra.toFixed(6), view.dec.toFixed(6), view.scale.toPrecision(6)].join(","));
  const hash = parts.toString();
  if (`#${hash}` !== location.hash) history.replaceState(null, "", hash ? `#${hash}` : location.pathname + location.search);
}

// Make the page as the address says; what it does not know is left out.
function readAddress() {
  isReading = true;
  const parts = new URLSearchParams(location.hash.slice(1));
  for (const [name, control] of Object.entries(controls)) {
    const value = parts.get(name) ?? defaultOf(name);
    control.value = name === "text" || [...control.options].some(one => one.value === value) ? value : defaultOf(name);
  }
  const sort = parts.get("sort") || "";
  sortBy(sort.replace(/^-/, ""), sort.startsWith("-"));
  setHours(parts.get("hours") === "1");
  state.off = new Set(parts.getAll("off"));
  const visit = parts.has("visit") ? visits.fields.id.findIndex(id => String(id) === parts.get("visit")) : -1;
  const cell = cells && cellAt(direction(...(parts.get("cell") || "").split(",").map(Number)), cells.centres.keys());
  state.selected = visit >= 0 ? { visit } : cell === null ? null : { cell };
  const [ra, dec, scale] = (parts.get("at") || "").split(",").map(Number);
  const isPlaced = [ra, dec, scale].every(Number.isFinite) && scale > 0;
  apply({ isFirst: true });
  if (isPlaced) setView({ ra, dec, scale });
  wasMoved = isPlaced;
  isReading = false;
  invalidate();
}

addEventListener("hashchange", readAddress);
