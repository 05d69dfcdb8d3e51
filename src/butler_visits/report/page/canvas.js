// Draws layers on a plain canvas, where there is no WebGL.

// Pieces of a path: many short ones are drawn much sooner than a long one.
const AT_ONCE = 60;

function canvasPainter(canvas) {
  const context = canvas.getContext("2d");
  return {
    kind: "canvas",
    draw(scene, ratio) {
      context.setTransform(ratio, 0, 0, ratio, 0, 0);
      context.clearRect(0, 0, size.width, size.height);
      drawLayers(context, scene);
    },
  };
}

function drawLayers(context, scene) {
  context.lineJoin = "round";
  for (const layer of scene.layers) {
    const points = project(layer.points, scene.origin), isLine = layer.kind === "lines";
    const paths = isLine ? linePaths(points) : fillPaths(points);
    context.fillStyle = layer.colour;
    if (!isLine) for (const path of paths) context.fill(path);
    // Half a pixel around cells hides the seams between them.
    for (const { colour, width, dash } of isLine ? strokesOf(layer) : [{ colour: layer.colour, width: .5, dash: [] }]) {
      context.strokeStyle = colour;
      context.lineWidth = width;
      context.setLineDash(dash);
      for (const path of paths) context.stroke(path);
    }
  }
}

// The projected points of a layer: x, y and how far towards the observer.
function project(points, origin) {
  const axes = frame(view.ra, view.dec), offset = axes.map(axis => dot(axis, origin)), radius = globe();
  const [east, north, towards] = axes, found = new Float64Array(points.length);
  for (let at = 0; at < points.length; at += 3) {
    const x = points[at], y = points[at + 1], z = points[at + 2];
    found[at] = size.width / 2 - radius * (east[0] * x + east[1] * y + east[2] * z + offset[0]);
    found[at + 1] = size.height / 2 - radius * (north[0] * x + north[1] * y + north[2] * z + offset[1]);
    found[at + 2] = towards[0] * x + towards[1] * y + towards[2] * z + offset[2];
  }
  return found;
}

function linePaths(points) {
  const paths = [];
  let path, endX = NaN, endY = NaN;
  for (let at = 0; at < points.length; at += 6) {
    if (at % (6 * AT_ONCE) === 0) { paths.push(path = new Path2D()); endX = NaN; }
    let [x, y, z, toX, toY, toZ] = points.subarray(at, at + 6);
    if (z < 0 && toZ < 0) continue;
    // What is behind the globe ends at its edge.
    const part = z / (z - toZ), cutX = x + part * (toX - x), cutY = y + part * (toY - y);
    if (z < 0) { x = cutX; y = cutY; } else if (toZ < 0) { toX = cutX; toY = cutY; }
    if (x !== endX || y !== endY) path.moveTo(x, y);
    path.lineTo(toX, toY);
    endX = toX; endY = toY;
  }
  return paths;
}

function fillPaths(points) {
  const paths = [];
  let path;
  for (let at = 0; at < points.length; at += 18) {
    if (at % (18 * AT_ONCE) === 0) paths.push(path = new Path2D());
    const [a, b, c, , , f] = [0, 3, 6, 9, 12, 15].map(k => points.subarray(at + k, at + k + 3));
    if (Math.min(a[2], b[2], c[2], f[2]) < 0) continue;
    path.moveTo(a[0], a[1]);
    for (const [x, y] of [b, c, f]) path.lineTo(x, y);
    path.closePath();
  }
  return paths;
}
