// Many points: hovered through a grid, chosen with a lasso.
"use strict";

{
  const { el, number } = saeviz;
  const NEAREST = 1e-4; // share of the whole that can be zoomed to; places are kept in single precision
  const MARGIN = { left: 52, right: 12, top: 12, bottom: 40 };

  /** A grid over the points: the nearest to a place is looked for in the cells around it. */
  class Near {
    constructor(xs, ys, box) {
      this.xs = xs;
      this.ys = ys;
      this.box = box;
      this.side = Math.max(1, Math.min(256, Math.ceil(Math.sqrt(xs.length / 4))));
      this.first = new Int32Array(this.side ** 2).fill(-1);
      this.next = new Int32Array(xs.length);
      for (let i = 0; i < xs.length; i++) {
        const cell = this.cell(ys[i], "y0", "y1") * this.side + this.cell(xs[i], "x0", "x1");
        this.next[i] = this.first[cell];
        this.first[cell] = i;
      }
    }
    cell(value, low, high) {
      const at = Math.floor(((value - this.box[low]) / (this.box[high] - this.box[low] || 1)) * this.side);
      return Math.min(this.side - 1, Math.max(0, at));
    }
    /** The nearest point within `reach` (of each axis); -1 if none is. */
    at(x, y, reachX, reachY) {
      let [best, least] = [-1, 1];
      for (let row = this.cell(y - reachY, "y0", "y1"); row <= this.cell(y + reachY, "y0", "y1"); row++) {
        for (let at = this.cell(x - reachX, "x0", "x1"); at <= this.cell(x + reachX, "x0", "x1"); at++) {
          for (let i = this.first[row * this.side + at]; i >= 0; i = this.next[i]) {
            const far = ((this.xs[i] - x) / reachX) ** 2 + ((this.ys[i] - y) / reachY) ** 2;
            if (far < least) [best, least] = [i, far];
          }
        }
      }
      return best;
    }
  }

  /** The rows that have a place, and their places. */
  function placed(rows, x, y) {
    const found = { kept: new Uint32Array(rows.length), xs: new Float64Array(rows.length), ys: new Float64Array(rows.length) };
    let n = 0;
    for (let i = 0; i < rows.length; i++) {
      const [across, up] = [x(rows[i]), y(rows[i])];
      if (!Number.isFinite(across) || !Number.isFinite(up)) continue;
      [found.kept[n], found.xs[n], found.ys[n]] = [rows[i], across, up];
      n++;
    }
    return Object.fromEntries(Object.entries(found).map(([name, values]) => [name, values.subarray(0, n)]));
  }

  const padded = ([low, high]) => {
    const room = (high - low) * 0.04 || Math.abs(low) * 0.1 || 1;
    return [low - room, high + room];
  };

  /** Whether a place lies inside a closed line, by the number of its sides to the right. */
  saeviz.inside = (x, y, corners) => {
    let within = false;
    for (let i = 0, j = corners.length - 1; i < corners.length; j = i++) {
      const [a, b] = [corners[i], corners[j]];
      if (a[1] > y !== b[1] > y && x < ((b[0] - a[0]) * (y - a[1])) / (b[1] - a[1]) + a[0]) within = !within;
    }
    return within;
  };

  /** The parts of a guide within the box, each `[from, to]`; its name stands at the end of a level one. */
  saeviz.seen = ({ x, y, path }, { x0, x1, y0, y1 }) => {
    const corners = path ?? (x !== undefined ? [[x, -Infinity], [x, Infinity]] : [[-Infinity, y], [Infinity, y]]);
    const held = ([px, py]) => [Math.min(x1, Math.max(x0, px)), Math.min(y1, Math.max(y0, py))];
    return corners.slice(1).map((corner, i) => [corners[i], corner])
      .filter(([[ax, ay], [bx, by]]) => (ax === bx ? ax > x0 && ax < x1 : ay > y0 && ay < y1))
      .map((ends) => ends.map(held))
      .filter(([[ax, ay], [bx, by]]) => ax !== bx || ay !== by);
  };

  /**
   * A figure of many points: `rows` with their `x`, `y` (columns of numbers), a colour `[r, g, b]` by row and whether a
   * row is large. `describe(row)` gives the elements of the text by the pointer; `onpick(row)` follows a click,
   * `onlasso(rows)` a line drawn around points; an axis without a name has no numbers. `guides` are lines `{x}`, `{y}` or `{path}` (corners) with a name.
   */
  saeviz.scatter = ({ rows, x, y, xName, yName, label, colour, large, describe, onpick, onlasso, guides = [] }) => {
    const { kept, xs, ys } = placed(rows, x, y);
    if (!kept.length) return el("p", { class: "note" }, `No feature has both ${xName} and ${yName}.`);
    const [x0, x1] = padded(saeviz.extent(xs));
    const [y0, y1] = padded(saeviz.extent(ys));
    const whole = { x0, x1, y0, y1 };
    let box = { ...whole };
    let canvas = el("canvas", { class: "dots", "aria-hidden": "true" });
    const over = el("canvas", { class: "over", tabindex: 0, role: "img", "aria-label": `${label}${xName ? `: ${xName} from ${saeviz.number(saeviz.extent(xs)[0], 2)} to ${saeviz.number(saeviz.extent(xs)[1], 2)}, ${yName} from ${saeviz.number(saeviz.extent(ys)[0], 2)} to ${saeviz.number(saeviz.extent(ys)[1], 2)}` : ""}; ${saeviz.counted(kept.length, "feature")}. The same features are in the table.` });
    const tip = el("div", { class: "tip", "aria-live": "polite", hidden: true });
    const figure = el("figure", { class: "scatter" }, canvas, over, tip);
    let painter = null; // made once the figure is on the page, since a browser has few contexts of its graphics processor
    const scale = [x1 - x0, y1 - y0];
    // Places between 0 and 1: single precision is enough for them whatever the numbers are.
    const places = new Float32Array(2 * kept.length);
    const colours = new Uint8Array(3 * kept.length);
    const sizes = new Float32Array(kept.length);
    const order = new Uint32Array(kept.length);
    let at = 0;
    for (const size of [kept.length > 20000 ? 3 : 4, 7]) {
      for (let i = 0; i < kept.length; i++) {
        if (large(kept[i]) !== (size === 7)) continue; // large ones lie above the others
        places[2 * at] = (xs[i] - x0) / scale[0];
        places[2 * at + 1] = (ys[i] - y0) / scale[1];
        colours.set(colour(kept[i]), 3 * at);
        order[at] = i;
        sizes[at++] = size;
      }
    }
    const prepare = (made) => {
      painter = made;
      painter.load(places, colours, sizes);
      figure.dataset.painter = painter.kind;
    };
    const near = new Near(xs, ys, whole);
    const unit = () => ({ x0: (box.x0 - x0) / scale[0], x1: (box.x1 - x0) / scale[0], y0: (box.y0 - y0) / scale[1], y1: (box.y1 - y0) / scale[1] });
    let [wide, high, pixels, corners, hovered] = [0, 0, 1, null, -1];
    const toX = (value) => MARGIN.left + ((value - box.x0) / (box.x1 - box.x0)) * (wide - MARGIN.left - MARGIN.right);
    const toY = (value) => high - MARGIN.bottom - ((value - box.y0) / (box.y1 - box.y0)) * (high - MARGIN.bottom - MARGIN.top);
    const fromX = (at) => box.x0 + ((at - MARGIN.left) / (wide - MARGIN.left - MARGIN.right)) * (box.x1 - box.x0);
    const fromY = (at) => box.y0 + ((high - MARGIN.bottom - at) / (high - MARGIN.bottom - MARGIN.top)) * (box.y1 - box.y0);

    const lines = () => {
      const pen = over.getContext("2d");
      const style = getComputedStyle(figure);
      pen.setTransform(pixels, 0, 0, pixels, 0, 0);
      pen.clearRect(0, 0, wide, high);
      pen.font = `12px ${style.fontFamily}`;
      pen.fillStyle = style.color;
      pen.strokeStyle = style.getPropertyValue("--line");
      pen.lineWidth = 1;
      pen.textAlign = "center";
      for (const tick of xName ? saeviz.ticks(box.x0, box.x1, Math.max(2, wide / 110)) : []) {
        const at = toX(tick);
        pen.beginPath();
        pen.moveTo(at, high - MARGIN.bottom);
        pen.lineTo(at, high - MARGIN.bottom + 4);
        pen.stroke();
        pen.fillText(number(tick), at, high - MARGIN.bottom + 16);
      }
      pen.textAlign = "right";
      for (const tick of yName ? saeviz.ticks(box.y0, box.y1, Math.max(2, high / 60)) : []) {
        const at = toY(tick);
        pen.beginPath();
        pen.moveTo(MARGIN.left, at);
        pen.lineTo(wide - MARGIN.right, at);
        pen.stroke();
        pen.fillText(number(tick), MARGIN.left - 6, at + 4);
      }
      pen.textAlign = "center";
      pen.fillText(xName, (MARGIN.left + wide - MARGIN.right) / 2, high - 6);
      pen.save();
      pen.translate(12, (high - MARGIN.bottom) / 2);
      pen.rotate(-Math.PI / 2);
      pen.fillText(yName, 0, 0);
      pen.restore();
      pen.setLineDash([5, 4]);
      pen.strokeStyle = style.getPropertyValue("--muted");
      for (const guide of guides) {
        for (const [[ax, ay], [bx, by]] of saeviz.seen(guide, box)) {
          pen.beginPath();
          pen.moveTo(toX(ax), toY(ay));
          pen.lineTo(toX(bx), toY(by));
          pen.stroke();
          if (!guide.name || ay !== by) continue;
          pen.textAlign = bx > ax ? "right" : "left";
          pen.fillText(guide.name, toX(bx) + (bx > ax ? -4 : 4), toY(by) - 4);
        }
      }
      pen.setLineDash([]);
      if (corners) {
        pen.strokeStyle = style.getPropertyValue("--accent");
        pen.beginPath();
        corners.forEach(([cx, cy], i) => (i ? pen.lineTo(cx, cy) : pen.moveTo(cx, cy)));
        pen.stroke();
      }
      if (hovered >= 0) {
        pen.strokeStyle = style.getPropertyValue("--accent");
        pen.lineWidth = 2;
        pen.beginPath();
        pen.arc(toX(xs[hovered]), toY(ys[hovered]), 6, 0, 7);
        pen.stroke();
      }
    };
    const draw = () => {
      painter.draw(unit(), pixels, kept.length > 20000 ? 0.55 : 0.85);
      lines();
    };
    /** Goes on with another painter, or the same one if that is null. */
    const repaint = (make) => {
      const next = canvas.cloneNode();
      const made = make(next);
      if (!made) return;
      painter.release();
      canvas.replaceWith(next);
      canvas = next;
      prepare(made);
    };
    /** The first picture is there sooner without WebGL, but from the second on it is faster with it. */
    let more = () => {
      more = () => {};
      repaint(saeviz.webgl);
      canvas.addEventListener("webglcontextlost", lost, { once: true });
    };
    /** The processor may be taken away, by a driver or by another page that wants it. */
    const lost = () => {
      if (!figure.isConnected) return;
      repaint(saeviz.flat);
      draw();
    };
    const fit = () => {
      if (!figure.isConnected) {
        if (!painter) return; // not on the page yet
        watch.disconnect();
        painter.release();
        return;
      }
      wide = figure.clientWidth;
      high = figure.clientHeight;
      if (!wide || !high) return;
      if (!painter) prepare(saeviz.flat(canvas));
      pixels = Math.min(2, window.devicePixelRatio || 1);
      over.width = wide * pixels;
      over.height = high * pixels;
      canvas.width = (wide - MARGIN.left - MARGIN.right) * pixels;
      canvas.height = (high - MARGIN.top - MARGIN.bottom) * pixels;
      draw();
    };
    const watch = new ResizeObserver(fit);
    watch.observe(figure);

    const place = (event) => {
      const edge = over.getBoundingClientRect();
      return [event.clientX - edge.left, event.clientY - edge.top];
    };
    /** Marks a point and says what it is; none for -1. */
    const point = (found) => {
      hovered = found;
      lines();
      tip.hidden = found < 0;
      if (found < 0) return;
      tip.replaceChildren(...[describe(kept[found])].flat());
      tip.style.left = `${Math.max(0, Math.min(toX(xs[found]) + 12, wide - 190))}px`;
      tip.style.top = `${Math.min(toY(ys[found]) + 12, high - 60)}px`;
    };
    const pick = ([px, py]) => near.at(fromX(px), fromY(py), (14 / (wide - MARGIN.left - MARGIN.right)) * (box.x1 - box.x0), (14 / (high - MARGIN.top - MARGIN.bottom)) * (box.y1 - box.y0));
    over.addEventListener("pointerdown", (event) => {
      if (event.button) return;
      corners = [place(event)];
      over.setPointerCapture(event.pointerId);
    });
    over.addEventListener("pointermove", (event) => {
      const at = place(event);
      if (corners) {
        corners.push(at);
        lines();
        return;
      }
      const found = pick(at);
      if (found !== hovered) point(found);
    });
    over.addEventListener("pointerup", (event) => {
      const drawn = corners;
      corners = null;
      if (!drawn) return;
      const [sx, sy] = drawn[0];
      const moved = Math.max(...drawn.map(([cx, cy]) => Math.hypot(cx - sx, cy - sy)));
      if (moved < 6) {
        const found = pick(place(event));
        if (found >= 0) onpick(kept[found]);
      } else if (onlasso) {
        const around = drawn.map(([cx, cy]) => [fromX(cx), fromY(cy)]);
        onlasso(kept.filter((_, i) => saeviz.inside(xs[i], ys[i], around)).sort());
      }
      lines();
    });
    over.addEventListener("pointerleave", () => point(-1));
    over.addEventListener("blur", () => point(-1));
    const zoom = (cx, cy, factor) => {
      const next = { x0: cx + (box.x0 - cx) * factor, x1: cx + (box.x1 - cx) * factor, y0: cy + (box.y0 - cy) * factor, y1: cy + (box.y1 - cy) * factor };
      if (next.x1 - next.x0 < scale[0] * NEAREST) return;
      box = next.x1 - next.x0 > scale[0] ? { ...whole } : next;
      more();
      draw();
    };
    over.addEventListener("wheel", (event) => {
      event.preventDefault();
      const [px, py] = place(event);
      zoom(fromX(px), fromY(py), Math.exp(Math.max(-1, Math.min(1, event.deltaY / 300))));
    }, { passive: false });
    /** The points in the order of an axis; made when a key first asks for it. */
    const ranks = {};
    const along = (axis) => {
      ranks[axis] ??= order.slice().sort((a, b) => (axis === "x" ? xs[a] - xs[b] : ys[a] - ys[b]));
      return ranks[axis].filter((i) => xs[i] >= box.x0 && xs[i] <= box.x1 && ys[i] >= box.y0 && ys[i] <= box.y1);
    };
    over.addEventListener("keydown", (event) => {
      const step = { ArrowRight: ["x", 1], ArrowLeft: ["x", -1], ArrowUp: ["y", 1], ArrowDown: ["y", -1] }[event.key];
      const factor = { "+": 1 / 1.5, "=": 1 / 1.5, "-": 1.5 }[event.key];
      if (event.ctrlKey || event.metaKey || event.altKey) return;
      if (step) {
        const [axis, by] = step;
        const all = along(axis);
        const at = all.indexOf(hovered);
        if (all.length) point(all[at < 0 ? (by > 0 ? 0 : all.length - 1) : Math.min(all.length - 1, Math.max(0, at + by))]);
      } else if (factor) {
        zoom(hovered < 0 ? (box.x0 + box.x1) / 2 : xs[hovered], hovered < 0 ? (box.y0 + box.y1) / 2 : ys[hovered], factor);
      } else if (event.key === "Enter" && hovered >= 0) onpick(kept[hovered]);
      else return;
      event.preventDefault();
    });
    over.addEventListener("dblclick", () => {
      box = { ...whole };
      draw();
    });
    figure.asSvg = () => saeviz.scatterSvg({ xs, ys, colour: (i) => colour(kept[i]), large: (i) => large(kept[i]), order, box, canvas, xName, yName, guides, margin: MARGIN, width: wide, height: high });
    return figure;
  };
}
