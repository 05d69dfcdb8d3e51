// What the reader has chosen.

const state = {
  shown: [],                // the visits that the filters leave, in the order of the list
  selected: null,           // { visit } or { cell }
  off: new Set(),           // classes that are switched off in the legend
  hours: false,             // right ascensions in hours
};
const controls = Object.fromEntries(["night", "band", "action", "text", "colour"].map(id => [id, byId(id)]));
