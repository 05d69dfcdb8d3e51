// The map as a file, with what its colours mean below it.

// The legend's title, and what is drawn.
function pictureEntries() {
  const entries = legendEntries().filter(one => !state.off.has(one.key));
  return entries.length ? [{ text: byId("legend-title").textContent }, ...entries] : [];
}

function savePicture() {
  drawNow();
  const ratio = picture.width / size.width, entries = pictureEntries(), line = 20, perRow = Math.max(1, Math.floor(size.width / 220));
  const height = size.height + line * (Math.ceil(entries.length / perRow) + 1), canvas = element("canvas", null, { width: picture.width, height: height * ratio });
  const context = canvas.getContext("2d");
  context.fillStyle = style("--panel");
  context.fillRect(0, 0, canvas.width, canvas.height);
  for (const one of [picture, overlay.canvas]) context.drawImage(one, 0, 0);
  context.scale(ratio, ratio);
  context.font = "12px system-ui, sans-serif";
  context.textBaseline = "middle";
  entries.forEach((entry, k) => {
    const x = 8 + 220 * (k % perRow), y = size.height + line * (Math.floor(k / perRow) + .8);
    if (entry.isFilled) { context.fillStyle = entry.colour; context.fillRect(x + 4, y - 6, 22, 12); }
    else if (entry.colour) for (const { colour, width, dash } of strokesOf({ width: 1.6, ...entry })) {
      context.strokeStyle = colour;
      context.lineWidth = width;
      context.setLineDash(dash);
      context.beginPath();
      context.moveTo(x, y);
      context.lineTo(x + 30, y);
      context.stroke();
    }
    if (!entry.isFilled && entry.symbol) drawSymbols(context, entry, [[x + 15, y]]);
    context.fillStyle = style(entry.colour ? "--text" : "--quiet");
    context.fillText(entry.text, entry.colour ? x + 36 : x, y);
  });
  canvas.toBlob(blob => save("visits.png", blob));
}

byId("save-picture").addEventListener("click", savePicture);

// What the filters and the legend leave, in words.
function filtersText() {
  const filters = ["night", "band", "action", "text"].filter(name => controls[name].value)
    .map(name => `${name} ${name === "text" ? `“${controls.text.value}”` : controls[name].value}`).join(", ");
  const off = scene.classes.filter(one => state.off.has(one.key)).map(one => one.name).join(", ");
  const parts = [filters, off && `not on the map: ${off}`].filter(Boolean);
  return parts.length ? `${byId("count").textContent}: ${parts.join("; ")}.` : "";
}

// On paper all is light, there is nothing of WebGL, and nobody can ask for more.
for (const [name, isOn] of [["beforeprint", true], ["afterprint", false]]) addEventListener(name, () => {
  isPrinting = isOn;
  document.documentElement.classList.toggle("printing", isOn);
  if (isOn) map.style.setProperty("--aspect", size.width / size.height);
  isStale = true;
  drawNow();
  showDetails();
  byId("filtered").textContent = filtersText();
  byId("filtered").hidden = !isOn || !filtersText();
  if (isOn) { listTo(MOST_OUTLINES); listNightsTo(MOST_OUTLINES); }
});
