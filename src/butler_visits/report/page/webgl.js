// Draws layers with WebGL.

const LINE_VERTICES = `#version 300 es
uniform mat3 turn; uniform vec3 offset; uniform vec2 size; uniform float radius, width, period;
in vec3 from, to;
in float start;
out vec2 place;
void main() {
  vec3 a = turn * from + offset, b = turn * to + offset;
  gl_Position = vec4(2.0, 2.0, 2.0, 1.0);
  if (a.z < 0.0 && b.z < 0.0) return;
  // What is behind the globe ends at its edge.
  if (a.z < 0.0) a = mix(a, b, a.z / (a.z - b.z));
  else if (b.z < 0.0) b = mix(b, a, b.z / (b.z - a.z));
  vec2 p = a.xy * radius, q = b.xy * radius;
  float whole = length(q - p);
  vec2 along = whole > 0.0 ? (q - p) / whole : vec2(1.0, 0.0);
  // Half a pixel more on each side, over which a line fades.
  // Two triangles with the corners 0, 1, 2 and 2, 1, 3: even ones are on one side, those below 2 at the start.
  int vertex = gl_VertexID % 6, corner = vertex < 3 ? vertex : vertex == 5 ? 3 : 5 - vertex;
  float half_width = width / 2.0 + 0.5, side = corner % 2 == 0 ? -half_width : half_width;
  place = vec2(corner < 2 ? -width / 2.0 : whole + width / 2.0, side);
  vec2 at = p + along * place.x + vec2(-along.y, along.x) * side;
  // Dashes go on where those of the piece before end.
  if (period > 0.0) place.x += mod(start * radius, period);
  gl_Position = vec4(-2.0 * at.x / size.x, 2.0 * at.y / size.y, 0.0, 1.0);
}`;

const LINE_FRAGMENTS = `#version 300 es
precision highp float;
uniform vec3 colour; uniform float width, period; uniform float dash[6]; uniform int dashes;
in vec2 place;
out vec4 drawn;
void main() {
  float seen = width / 2.0 + 0.5 - abs(place.y);
  if (dashes > 0) {
    float start = 0.0;
    float at = mod(place.x, period);
    bool gap = false;
    for (int k = 0; k < dashes; k++) {
      if (at >= start && at < start + dash[k]) gap = k % 2 == 1;
      start += dash[k];
    }
    if (gap) discard;
  }
  drawn = vec4(colour, 1.0) * clamp(seen, 0.0, 1.0);
}`;

const FILL_VERTICES = `#version 300 es
uniform mat3 turn; uniform vec3 offset; uniform vec2 size; uniform float radius;
in vec3 from;
out float towards;
void main() {
  vec3 a = turn * from + offset;
  towards = a.z;
  gl_Position = vec4(-2.0 * radius * a.x / size.x, 2.0 * radius * a.y / size.y, 0.0, 1.0);
}`;

const FILL_FRAGMENTS = `#version 300 es
precision highp float;
uniform vec3 colour;
in float towards;
out vec4 drawn;
void main() {
  if (towards < 0.0) discard;
  drawn = vec4(colour, 1.0);
}`;

const rgb = colour => [1, 3, 5].map(at => parseInt(colour.slice(at, at + 2), 16) / 255);

// Return something that draws scenes on a canvas; `null` where there is no WebGL.
function webglPainter(canvas) {
  const gl = canvas.getContext("webgl2", { antialias: false, preserveDrawingBuffer: true });
  if (!gl) return null;
  const programs = { lines: program(gl, LINE_VERTICES, LINE_FRAGMENTS), fills: program(gl, FILL_VERTICES, FILL_FRAGMENTS) };
  gl.enable(gl.BLEND);
  gl.blendFunc(gl.ONE, gl.ONE_MINUS_SRC_ALPHA);
  let of = null, buffers = [];

  function upload(scene) {
    for (const { array, held } of buffers) { gl.deleteVertexArray(array); held.forEach(one => gl.deleteBuffer(one)); }
    buffers = scene.layers.map(layer => {
      const array = gl.createVertexArray(), held = [];
      // Numbers of which each vertex has `size` for each of the names, one after the other.
      const give = (numbers, names, size) => {
        held.push(gl.createBuffer());
        gl.bindBuffer(gl.ARRAY_BUFFER, held.at(-1));
        gl.bufferData(gl.ARRAY_BUFFER, numbers, gl.STATIC_DRAW);
        names.forEach((name, number) => {
          const at = gl.getAttribLocation(programs[layer.kind], name);
          gl.enableVertexAttribArray(at);
          gl.vertexAttribPointer(at, size, gl.FLOAT, false, 4 * size * names.length, 4 * size * number);
        });
      };
      gl.bindVertexArray(array);
      if (layer.kind === "fills") give(layer.points, ["from"], 3);
      else give(sixTimes(layer.points, 6), ["from", "to"], 3);
      if (layer.dash?.length) give(sixTimes(layer.starts, 1), ["start"], 1);
      return { array, held };
    });
    of = scene;
  }

  function draw(scene, ratio) {
    if (scene !== of) upload(scene);
    const axes = frame(view.ra, view.dec);
    gl.viewport(0, 0, canvas.width, canvas.height);
    gl.clearColor(0, 0, 0, 0);
    gl.clear(gl.COLOR_BUFFER_BIT);
    scene.layers.forEach((layer, number) => {
      const used = programs[layer.kind], uniform = name => gl.getUniformLocation(used, name);
      gl.useProgram(used);
      gl.bindVertexArray(buffers[number].array);
      gl.uniformMatrix3fv(uniform("turn"), false, [0, 1, 2].flatMap(k => axes.map(axis => axis[k])));
      gl.uniform3fv(uniform("offset"), axes.map(axis => dot(axis, scene.origin)));
      gl.uniform2f(uniform("size"), canvas.width, canvas.height);
      gl.uniform1f(uniform("radius"), globe() * ratio);
      if (layer.kind === "fills") {
        gl.uniform3fv(uniform("colour"), rgb(layer.colour));
        gl.drawArrays(gl.TRIANGLES, 0, layer.points.length / 3);
        return;
      }
      for (const { colour, width, dash } of strokesOf(layer)) {
        gl.uniform3fv(uniform("colour"), rgb(colour));
        gl.uniform1f(uniform("width"), width * ratio);
        gl.uniform1fv(uniform("dash"), Float32Array.from({ length: 6 }, (_, k) => (dash[k] || 0) * ratio));
        gl.uniform1i(uniform("dashes"), dash.length);
        gl.uniform1f(uniform("period"), ratio * dash.reduce((sum, length) => sum + length, 0));
        gl.drawArrays(gl.TRIANGLES, 0, layer.points.length);
      }
    });
  }
  return { kind: "WebGL", draw };
}

// The numbers of each line for each of its six vertices. Instances would do without that, but take ten times as long without a
// graphics card.
function sixTimes(numbers, size) {
  const found = new Float32Array(6 * numbers.length);
  for (let at = 0; at < numbers.length; at += size) {
    const line = numbers.subarray(at, at + size);
    for (let k = 0; k < 6; k++) found.set(line, 6 * at + size * k);
  }
  return found;
}

function program(gl, vertices, fragments) {
  const made = gl.createProgram();
  for (const [kind, source] of [[gl.VERTEX_SHADER, vertices], [gl.FRAGMENT_SHADER, fragments]]) {
    const shader = gl.createShader(kind);
    gl.shaderSource(shader, source);
    gl.compileShader(shader);
    gl.attachShader(made, shader);
  }
  gl.linkProgram(made);
  if (!gl.getProgramParameter(made, gl.LINK_STATUS)) throw new Error(gl.getProgramInfoLog(made));
  return made;
}

// The strokes of a layer of lines: a wider one below that outlines it, if its colour needs that.
function strokesOf({ colour, outline, width, dash }) {
  const dashes = dash.map(length => length * Math.max(width, 1.2));
  const own = { colour, width, dash: dashes };
  return outline ? [{ colour: outline, width: width + 1.2, dash: dashes }, own] : [own];
}
