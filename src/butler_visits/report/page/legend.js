// What the colours mean; each class can be switched off.

const LEGEND_TITLES = { cells: "Visits in a cell", depth: "Visits at one place", filter: "Filter", action: "Action" };

// The entries: what stands there, and whether it is filled. Colours that nothing can be switched off of have no key.
function legendEntries() {
  const entries = scene.classes.map(one => ({ ...one, text: scene.counts ? one.name : `${one.name} (${countText(one.members.length)})`, isFilled: scene.counts }));
  const stored = scene.layers.find(layer => layer.name === "stored outline");
  if (stored) entries.push({ ...stored, key: null, text: `stored outline (${countText(stored.count)})` });
  return entries;
}

function fillLegend() {
  const entries = legendEntries();
  byId("legend-title").textContent = entries.length ? LEGEND_TITLES[scene.counts ? "cells" : controls.colour.value] : "";
  byId("legend").replaceChildren(...entries.map(entry => {
    const item = element("li"), on = !state.off.has(entry.key);
    const made = entry.key === null ? element("span") : element("button", null, { type: "button" });
    made.append(swatch(entry, entry.isFilled), entry.text);
    if (entry.key !== null) {
      made.setAttribute("aria-pressed", on);
      made.dataset.key = entry.key;
      made.addEventListener("click", () => {
        if (on) state.off.add(entry.key); else state.off.delete(entry.key);
        isStale = true;
        drawNow();
        byId("legend").querySelector(`[data-key="${CSS.escape(entry.key)}"]`)?.focus();
        rememberAddress();
      });
    }
    item.append(made);
    return item;
  }));
}
