// What is said of the visit or cell that is chosen.

const details = byId("details"), NAMED = 5, LISTED_OF_CELL = 200;

function hoverText(k) {
  const exposures = visits.exposures[k];
  const lines = [`${visits.fields.id[k]} ${visits.fields.name[k]}`, `${fieldOf("target_name", k) ?? "no target"}, ${labelOf("filter", k)}`,
    visits.begin[k] ? `${visits.begin[k]} TAI` : "no time"];
  if (columns.action) lines.push(labelOf("action", k));
  const more = exposures.length > NAMED ? ` and ${exposures.length - NAMED} more` : "";
  lines.push(`${exposures.length > 1 ? "exposures" : "exposure"} ${exposures.slice(0, NAMED).join(", ") || "none"}${more}`);
  return lines.join("\n");
}

function atlasLink(vector, width) {
  const [ra, dec] = angles(vector);
  const target = `${ra.toFixed(6)} ${dec < 0 ? "" : "+"}${dec.toFixed(6)}`;
  const link = element("a", "Open this field in Aladin Lite", { target: "_blank", rel: "noopener noreferrer" });
  link.href = `https://aladin.cds.unistra.fr/AladinLite/?target=${encodeURIComponent(target)}&fov=${width.toFixed(3)}`;
  return link;
}

function showDetails() {
  const { selected, shown } = state;
  details.classList.toggle("empty", !selected);
  if (selected?.visit !== undefined) showVisit(selected.visit);
  else if (selected) showCell(selected.cell, shown);
  else if (!shown.length) details.replaceChildren(...emptyText());
  else details.replaceChildren(element("h2", "No visit chosen"), element("p", coverage
    ? "Choose a cell of the map to see the visits that cover it, or a visit in the list below."
    : "Choose a visit on the map, or in the list below, to see its detectors and the fields of its record.", { className: "note" }));
}

function emptyText() {
  if (data.count) return [element("h2", "No visit matches"), element("p", "The filters leave nothing. ", { className: "note" }), button("Show all visits", clearFilters)];
  return [element("h2", "There are no visits"), ...data.next.map(text => text.startsWith("$ ") ? element("pre", text.slice(2)) : element("p", text))];
}

function showVisit(k) {
  const parts = [element("h2", `Visit ${visits.fields.id[k]}`)], hasPlace = hasOutline(k);
  if (hasPlace) {
    const line = element("p", `Centre ${placeText(centres[k])}. `);
    line.append(atlasLink(centres[k], 2.4 * layoutOf(k).reach));
    parts.push(line);
  } else parts.push(element("p", "It has no region that is a polygon of less than half the sky, so it is not on the map.", { className: "note" }));
  if (columns.action) parts.push(element("p", [labelOf("action", k), visits.reason[k]].filter(Boolean).join(": ")));
  if (visits.places[k] || hasPlace) {
    const picture = element("div", null, { id: "detectors" });
    picture.append(detectorPicture(k));
    parts.push(picture);
  }
  if (coverage) parts.push(element("p", "A page of so many visits has no detectors; make one of fewer, such as of one night.", { className: "note" }));
  else if (!visits.places[k]) parts.push(element("p", visits.without_space ? "There was no space for its detectors in this page; make one with fewer visits." : "It has no detectors with regions.", { className: "note" }));
  const table = element("table", null, { id: "fields" }), stored = visits.stored ? visits.stored[k] : {};
  const changed = Object.keys(stored).length > 0;
  const rows = Object.keys(visits.fields).map(name => {
    const one = row(["th", "td"], [name, shownValue(fieldOf(name, k)), ...(changed ? [name in stored ? shownValue(stored[name]) : ""] : [])]);
    if (name in stored) for (const cell of one.querySelectorAll("td")) cell.className = "changed";
    return one;
  });
  rows.push(row(["th", "td"], ["band", labelOf("band", k)]), row(["th", "td"], ["exposures", visits.exposures[k].join(", ") || "none"]),
    row(["th", "td"], ["region", hasPlace ? `polygon with ${layoutOf(k).corners.length} vertices` : "–"]));
  fillTable(table, ["Field", columns.action ? "Computed" : "Value", ...(changed ? ["Stored"] : [])], rows);
  details.replaceChildren(...parts, element("h3", "Record"), table);
}

function showCell(cell, shown) {
  const within = visitsOfCell(cell, shown), byFilter = grouped(within, k => labelOf("filter", k));
  const table = element("table", null, { id: "fields" });
  fillTable(table, ["Visit", "Night", "Filter"], within.slice(0, LISTED_OF_CELL).map(k =>
    row(["td"], [button(String(visits.fields.id[k]), () => select({ visit: k }, true)), labelOf("night", k), labelOf("filter", k)])));
  const line = element("p", `Centre ${placeText(cells.centres[cell])}. `);
  line.append(atlasLink(cells.centres[cell], 2 * cells.side));
  const counts = [...filterStyles.keys()].filter(name => byFilter.has(name)).map(name => `${countText(byFilter.get(name).length)} ${name}`);
  details.replaceChildren(element("h2", `${plural(within.length, "visit")} here`), line, element("p", counts.join(", ")), table);
  if (within.length > LISTED_OF_CELL) details.append(element("p", `The first ${LISTED_OF_CELL} are listed.`, { className: "note" }));
}

// What is said beside the pointer.
function showTip(x, y) {
  const tip = byId("tip"), items = itemsAt(x, y), isSelected = one => one.visit === state.selected?.visit && one.cell === state.selected?.cell;
  tip.hidden = !items.length;
  if (tip.hidden) return;
  const at = Math.max(items.findIndex(isSelected), 0), one = items[at];
  tip.textContent = one.cell !== undefined ? `${plural(scene.cells.depth[one.cell], "visit")}\n${placeText(cells.centres[one.cell])}` : hoverText(one.visit);
  if (items.length > 1) tip.textContent += `\n${at + 1} of ${items.length} visits here${isSelected(one) ? "; a click shows the next" : ""}`;
  tip.style.left = `${between(4, x + 14, Math.max(size.width - tip.offsetWidth - 4, 4))}px`;
  tip.style.top = `${between(4, y + 14, Math.max(size.height - tip.offsetHeight - 4, 4))}px`;
}
