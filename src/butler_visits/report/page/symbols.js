// The symbols in the middle of visits, by matplotlib's names of them: how many corners, where the first is, and the radius.
// The largest are drawn first, so that each is seen below those that lie on it.

const CORNERS = { o: [14, 0, 4.5], s: [4, 45, 4.5], p: [5, 90, 3.5], D: [4, 0, 3.2], "^": [3, 90, 3.2], v: [3, -90, 3.2], "*": [10, 90, 3.2] };
const shapeOf = symbol => CORNERS[symbol] || CORNERS.o;
const symbolRank = ({ symbol }) => Object.keys(CORNERS).indexOf(symbol);

// The corners of a symbol around a point, of some radius.
function symbolPoints(symbol, x, y, radius) {
  const [count, first] = shapeOf(symbol);
  return Array.from({ length: count }, (_, k) => {
    const angle = (first + k * 360 / count) * DEGREE, r = symbol === "*" && k % 2 ? .45 * radius : radius;
    return [x + r * Math.cos(angle), y - r * Math.sin(angle)];
  });
}

function drawSymbols(context, { symbol, colour, outline }, places) {
  context.beginPath();
  for (const [x, y] of places) {
    symbolPoints(symbol, x, y, shapeOf(symbol)[2]).forEach(([px, py], k) => k ? context.lineTo(px, py) : context.moveTo(px, py));
    context.closePath();
  }
  context.fillStyle = colour;
  context.fill();
  if (!outline) return;
  context.strokeStyle = outline;
  context.lineWidth = 1;
  context.setLineDash([]);
  context.stroke();
}

function svg(name, settings, ...children) {
  const made = document.createElementNS("http://www.w3.org/2000/svg", name);
  for (const [key, value] of Object.entries(settings)) made.setAttribute(key, value);
  made.append(...children);
  return made;
}

// A piece of line with a symbol, or a filled box, as it stands in the legend.
function swatch(one, isFilled) {
  const made = svg("svg", { width: 30, height: 14, viewBox: "0 0 30 14", "aria-hidden": "true" });
  if (isFilled) {
    made.append(svg("rect", { x: 4, y: 1, width: 22, height: 12, fill: one.colour, stroke: one.outline || one.colour }));
    return made;
  }
  for (const { colour, width, dash } of strokesOf({ width: 1.6, ...one }))
    made.append(svg("line", { x1: 0, x2: 30, y1: 7, y2: 7, stroke: colour, "stroke-width": width, "stroke-dasharray": dash.join(" ") }));
  if (one.symbol)
    made.append(svg("polygon", { points: symbolPoints(one.symbol, 15, 7, 4).join(" "), fill: one.colour, stroke: one.outline || one.colour }));
  return made;
}
