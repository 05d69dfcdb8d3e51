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

// Of each filter its band, or a number of a free style: several filters of a band do not share its style. The first of each
// band are numbered first, as where a picture knows bands only.
const filterStyles = (() => {
  const bandOf = new Map();
  columns.filter.codes.forEach((code, k) => bandOf.set(code, labelOf("band", k).replace(/^none$/, "")));
  const codes = [...bandOf.keys()].sort((a, b) => {
    const [one, other] = [bandOf.get(a), bandOf.get(b)];
    return bandRank(one) - bandRank(other) || (one === other ? a - b : one < other ? -1 : 1);
  });
  const isFirst = code => codes.find(other => bandOf.get(other) === bandOf.get(code)) === code;
  const hasOwn = code => BAND_ORDER.includes(bandOf.get(code)) && isFirst(code);
  const free = [...codes.filter(code => isFirst(code) && !hasOwn(code)), ...codes.filter(code => !isFirst(code))];
  return new Map(codes.map(code => [columns.filter.labels[code], hasOwn(code) ? { band: bandOf.get(code) } : { free: free.indexOf(code) }]));
})();

// Not as many as there are lines, so that those of which line and colour are the same have another.
const FREE_SYMBOLS = ["D", "s", "^", "v", "*"];

// How the visits of a filter are drawn: colour and, if it needs one, the outline's; dashes in widths of the line; symbol.
function filterStyle({ band, free }) {
  if (band) return { ...theme().bands[band], dash: data.lines_of_bands[band], symbol: data.symbols_of_bands[band] };
  const at = items => items[free % items.length];
  return { ...at(theme().free), dash: at(data.free_lines), symbol: at(FREE_SYMBOLS) };
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
