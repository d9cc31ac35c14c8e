// Painting many points: pixel by pixel into a canvas, or by WebGL2.
"use strict";

{
  const VERTEX = `#version 300 es
    in vec2 place; in vec3 colour; in float size;
    uniform vec4 view; uniform float ratio;
    out vec3 tint;
    void main() {
      gl_Position = vec4((place - view.xy) * view.zw, 0.0, 1.0);
      gl_PointSize = size * ratio; tint = colour;
    }`;
  const FRAGMENT = `#version 300 es
    precision mediump float; in vec3 tint; uniform float alpha; out vec4 shown;
    void main() {
      float far = length(gl_PointCoord - 0.5);
      if (far > 0.5) discard;
      shown = vec4(tint, 1.0) * alpha * smoothstep(0.5, 0.38, far);
    }`;

  function compiled(gl) {
    const program = gl.createProgram();
    for (const [kind, source] of [[gl.VERTEX_SHADER, VERTEX], [gl.FRAGMENT_SHADER, FRAGMENT]]) {
      const shader = gl.createShader(kind);
      gl.shaderSource(shader, source);
      gl.compileShader(shader);
      gl.attachShader(program, shader);
    }
    gl.linkProgram(program);
    return gl.getProgramParameter(program, gl.LINK_STATUS) ? program : null;
  }

  /** Whether it is imitated on the main processor, which takes longer than drawing without it. */
  const imitated = (gl) => {
    const names = gl.getExtension("WEBGL_debug_renderer_info");
    return names !== null && /swiftshader|llvmpipe|software|basic render/i.test(gl.getParameter(names.UNMASKED_RENDERER_WEBGL));
  };

  /** Draws on the graphics processor; null if this browser has no WebGL2, or no such processor. */
  saeviz.webgl = (canvas) => {
    const gl = canvas.getContext("webgl2", { antialias: false, preserveDrawingBuffer: true, failIfMajorPerformanceCaveat: true });
    const release = () => gl.getExtension("WEBGL_lose_context")?.loseContext();
    const program = gl && !imitated(gl) && compiled(gl);
    if (!program) {
      if (gl) release();
      return null;
    }
    gl.useProgram(program);
    gl.enable(gl.BLEND);
    gl.blendFunc(gl.ONE, gl.ONE_MINUS_SRC_ALPHA);
    const place = (name) => gl.getUniformLocation(program, name);
    const [view, ratio, alpha] = [place("view"), place("ratio"), place("alpha")];
    const load = (name, data, size, kind = gl.FLOAT, norm = false) => {
      const at = gl.getAttribLocation(program, name);
      gl.bindBuffer(gl.ARRAY_BUFFER, gl.createBuffer());
      gl.bufferData(gl.ARRAY_BUFFER, data, gl.STATIC_DRAW);
      gl.enableVertexAttribArray(at);
      gl.vertexAttribPointer(at, size, kind, norm, 0, 0);
    };
    let n = 0;
    return {
      kind: "webgl2",
      load: (places, colours, sizes) => {
        n = sizes.length;
        load("place", places, 2);
        load("colour", colours, 3, gl.UNSIGNED_BYTE, true);
        load("size", sizes, 1);
      },
      draw: (box, pixels, opacity) => {
        gl.viewport(0, 0, canvas.width, canvas.height);
        gl.clearColor(0, 0, 0, 0);
        gl.clear(gl.COLOR_BUFFER_BIT);
        gl.uniform4f(view, (box.x0 + box.x1) / 2, (box.y0 + box.y1) / 2, 2 / (box.x1 - box.x0), 2 / (box.y1 - box.y0));
        gl.uniform1f(ratio, pixels);
        gl.uniform1f(alpha, opacity);
        gl.drawArrays(gl.POINTS, 0, n);
      },
      release,
    };
  };

  /** How much a round mark covers of each pixel of the square that it fills. */
  function mark(size) {
    const side = Math.max(1, Math.round(size));
    const middle = (side - 1) / 2;
    const covers = Float32Array.from({ length: side * side }, (_, i) => Math.min(1, Math.max(0, (0.5 - Math.hypot((i % side) - middle, Math.floor(i / side) - middle) / side) / 0.12)));
    return { side, covers };
  }

  /** Draws without a graphics processor: pixel by pixel, which is faster than shape by shape, and sooner there than WebGL. */
  saeviz.flat = (canvas) => {
    const context = canvas.getContext("2d");
    let held = null;
    return {
      kind: "canvas",
      load: (places, colours, sizes) => (held = { places, colours, sizes }),
      release: () => {},
      draw: (box, pixels, opacity) => {
        const { width, height } = canvas;
        if (width < 1 || height < 1) return;
        const image = context.createImageData(width, height);
        inked(held, box, pixels, opacity, image);
        context.putImageData(image, 0, 0);
      },
    };
  };

  function inked({ places, colours, sizes }, box, pixels, opacity, { data, width, height }) {
    const ink = new Float32Array(data.length); // red, green and blue times the share that is covered, and that share
    const [sx, sy] = [width / (box.x1 - box.x0), height / (box.y1 - box.y0)];
    const marks = new Map(Array.from(new Set(sizes), (size) => [size, mark(size * pixels)]));
    for (let i = 0; i < sizes.length; i++) {
      const { side, covers } = marks.get(sizes[i]);
      const left = Math.round((places[2 * i] - box.x0) * sx - side / 2);
      const top = Math.round(height - (places[2 * i + 1] - box.y0) * sy - side / 2);
      const [red, green, blue] = [colours[3 * i], colours[3 * i + 1], colours[3 * i + 2]];
      for (let y = Math.max(0, -top); y < side && top + y < height; y++) {
        for (let x = Math.max(0, -left); x < side && left + x < width; x++) {
          const share = covers[y * side + x] * opacity;
          const at = 4 * ((top + y) * width + left + x);
          ink[at] += (red - ink[at]) * share;
          ink[at + 1] += (green - ink[at + 1]) * share;
          ink[at + 2] += (blue - ink[at + 2]) * share;
          ink[at + 3] += (1 - ink[at + 3]) * share;
        }
      }
    }
    for (let at = 0; at < ink.length; at += 4) {
      const share = ink[at + 3];
      if (!share) continue;
      for (let part = 0; part < 3; part++) data[at + part] = ink[at + part] / share;
      data[at + 3] = 255 * share;
    }
  }
}
