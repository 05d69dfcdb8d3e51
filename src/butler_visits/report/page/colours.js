// Colours, lines and symbols: of bands as Rubin draws them. They are the same whatever is filtered.

const prefersDark = matchMedia("(prefers-color-scheme: dark)");
let isPrinting = false;
const themeName = () => prefersDark.matches && !isPrinting ? "dark" : "light";
const theme = () => data.colours[themeName()];
// A variable of the style sheet; to ask for it takes long after each change of the page.
const styles = { light: new Map(), dark: new Map() };
function style(name) {
  const known = styles[themeName()];
  if (!known.has(name)) known.set(name, getComputedStyle(document.documentElement).getPropertyValue(name).trim());
  return known.get(name);
}

// Of each filter its band, or a number of a free colour: several filters of a band do not share its colour.
const filterStyles = (() => {
  const bandOf = new Map(), found = new Map(), used = new Set();
  columns.filter.codes.forEach((code, k) => bandOf.set(code, labelOf("band", k)));
  let free = 0;
  for (const code of [...bandOf.keys()].sort((a, b) => bandRank(bandOf.get(a)) - bandRank(bandOf.get(b)) || a - b)) {
    const band = bandOf.get(code), own = BAND_ORDER.includes(band) && !used.has(band);
    used.add(band);
    found.set(columns.filter.labels[code], own ? { band } : { free: free++ });
  }
  return found;
})();

const FREE_LINES = [[], [6, 2], [2, 2], [8, 2, 2, 2]];

// How the visits of a filter are drawn: colour and, if it needs one, the outline's; dashes in widths of the line; symbol.
function filterStyle({ band, free }) {
  if (band) return { ...theme().bands[band], dash: data.lines_of_bands[band], symbol: data.symbols_of_bands[band] };
  const colours = theme().free;
  return { ...colours[free % colours.length], dash: FREE_LINES[Math.floor(free / colours.length) % FREE_LINES.length], symbol: "D" };
}

const PLAIN = { dash: [], symbol: "o" };

// The classes that visits or cells are drawn in, each with a key, a name, how it is drawn, and its members.
function classesBy(colour, items, depth) {
  if (colour === "depth") {
    const classes = theme().depth, numbers = grouped(items.keys(), at => classes.findLastIndex(one => one.first <= depth[at]));
    return classes.map((one, number) => ({ ...PLAIN, ...one, key: one.label, name: one.label, members: (numbers.get(number) || []).map(at => items[at]) }))
      .filter(one => one.members.length);
  }
  const groups = grouped(items, k => labelOf(colour, k));
  const styles = colour === "action" ? Object.entries(theme().actions).map(([name, one]) => [name, { ...PLAIN, ...one }])
    : [...filterStyles].map(([name, one]) => [name, filterStyle(one)]);
  return styles.filter(([name]) => groups.has(name)).map(([name, one]) => ({ ...one, key: name, name, members: groups.get(name) }));
}
