// How often the sky is covered.

// How many of some visits have the centre of each of `drawn` inside. Most pairs are looked at very shortly.
function depths(shown, drawn) {
  const counts = new Uint32Array(drawn.length), flat = new Float64Array(3 * drawn.length);
  drawn.forEach((k, at) => flat.set(centres[k], 3 * at));
  for (const k of shown) {
    if (!centres[k]) continue;
    const { near, far } = layoutOf(k), [a, b, c] = centres[k];
    for (let at = 0, m = 0; at < counts.length; at++, m += 3) {
      const cosine = a * flat[m] + b * flat[m + 1] + c * flat[m + 2];
      if (cosine > far && (cosine > near || drawn[at] === k || isInside(centres[drawn[at]], k))) counts[at]++;
    }
  }
  return counts;
}

// How many of some visits cover each cell.
function cellDepths(shown) {
  const depth = new Uint32Array(cells.centres.length), { starts, members } = cells;
  for (const k of shown) for (let m = starts[k]; m < starts[k + 1]; m++) depth[members[m]]++;
  return depth;
}

function visitsOfCell(cell, shown) {
  const { starts, members } = cells;
  return shown.filter(k => {
    for (let m = starts[k]; m < starts[k + 1]; m++) if (members[m] === cell) return true;
    return false;
  });
}
