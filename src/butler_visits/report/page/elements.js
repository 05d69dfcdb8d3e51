// Elements and tables. All text goes into the page as text, never as HTML.

function element(name, text, settings) {
  const made = document.createElement(name);
  if (text !== undefined && text !== null) made.textContent = text;
  return Object.assign(made, settings);
}

function row(cellNames, values, settings = {}) {
  const made = document.createElement("tr");
  values.forEach((value, k) => {
    const name = cellNames[k] || cellNames[cellNames.length - 1], cell = element(name, value instanceof Node ? null : value);
    if (value instanceof Node) cell.append(value);
    if (name === "th") cell.scope = settings.isHead ? "col" : "row";
    if (settings.numbers && k >= settings.numbers) cell.className = "number";
    made.append(cell);
  });
  return made;
}

function fillTable(table, heads, rows, settings = {}) {
  const head = element("thead"), body = element("tbody");
  head.append(row(["th"], heads, { ...settings, isHead: true }));
  body.append(...rows);
  table.replaceChildren(head, body);
}

function button(text, action) {
  const made = element("button", text, { type: "button" });
  made.addEventListener("click", action);
  return made;
}

// Give the reader a file.
function save(name, blob) {
  const link = element("a", null, { href: URL.createObjectURL(blob), download: name });
  link.click();
  setTimeout(() => URL.revokeObjectURL(link.href), 10000);
}

const shownValue = value => value === null ? "–" : String(value);
const raShown = (ra, digits = 5) => state.hours ? raText(ra, 0, true) : `${ra.toFixed(digits)}°`;
const placeText = vector => { const [ra, dec] = angles(vector); return `RA ${raShown(ra)}, Dec ${dec.toFixed(5)}°`; };
