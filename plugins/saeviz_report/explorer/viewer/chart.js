// Small figures in SVG: histograms that can be brushed, and a rating against an activation with its trend.
"use strict";

{
  const { el, svg, number } = saeviz;

  /** Smallest and largest number; null where there is none. */
  saeviz.extent = (values) => {
    let low = Infinity;
    let high = -Infinity;
    for (let i = 0; i < values.length; i++) {
      if (values[i] < low) low = values[i];
      if (values[i] > high) high = values[i];
    }
    return low <= high && Number.isFinite(low) && Number.isFinite(high) ? [low, high] : null;
  };

  /** Round numbers between two others, about as many as asked for. */
  saeviz.ticks = (low, high, about = 5) => {
    const rough = (high - low) / about || 1;
    const power = 10 ** Math.floor(Math.log10(rough));
    const step = [1, 2, 5, 10].map((times) => times * power).find((size) => size >= rough);
    const found = [];
    const first = Math.ceil(low / step - 1e-9);
    for (let i = 0; i <= 2 * about && (first + i) * step <= high + step * 1e-9; i++) found.push((first + i) * step);
    return [...new Set(found)]; // numbers whose distance is lost in their size are one number
  };

  saeviz.bins = (values, low, high, n = 32) => {
    const counts = new Uint32Array(n);
    const scale = n / (high - low || 1);
    for (let i = 0; i < values.length; i++) {
      if (values[i] >= low && values[i] <= high) counts[Math.min(n - 1, Math.floor((values[i] - low) * scale))]++;
    }
    return counts;
  };

  /** What a histogram of these numbers shows, `{ends, counts}`; null where there is none. */
  saeviz.binned = (values, bars = 32) => {
    const ends = saeviz.extent(values);
    return ends && { ends, counts: saeviz.bins(values, ...ends, bars) };
  };

  /** A histogram of numbers, or of what `binned` made of them. With `onrange` a drag over it chooses a range, and a click without a drag takes the choice back. */
  saeviz.histogram = ({ values = null, bars = 32, binned = values && saeviz.binned(values, bars), label, range = null, onrange = null, width = 200, height = 44, mark = null }) => {
    if (!binned) return el("p", { class: "note" }, "No values.");
    const { ends: [low, high], counts } = binned;
    const tallest = Math.max(...counts, 1);
    const picture = svg("svg", { viewBox: `0 0 ${width} ${height}`, class: "histogram", role: "img", "aria-label": `${label}: from ${number(low)} to ${number(high)}` });
    const span = high - low || 1;
    counts.forEach((count, bar) => {
      if (!count) return;
      const tall = Math.max(1, (Math.sqrt(count / tallest) * (height - 2)));
      const middle = low + ((bar + 0.5) / counts.length) * span;
      const chosen = !range || (middle >= range[0] && middle <= range[1]);
      picture.append(svg("rect", { x: (bar * width) / counts.length, y: height - tall, width: width / counts.length - 1, height: tall, class: chosen ? "bar" : "bar off" }));
    });
    if (mark !== null) picture.append(svg("line", { class: "mark", x1: ((mark - low) / span) * width, x2: ((mark - low) / span) * width, y1: 0, y2: height }));
    if (onrange) brush(picture, width, height, (from, to) => onrange(from === null ? null : [low + (from / width) * span, low + (to / width) * span]));
    return el("figure", { class: "hist" }, picture, el("figcaption", {}, el("span", {}, number(low)), el("span", {}, number(high))));
  };

  function brush(picture, width, height, chosen) {
    const shade = svg("rect", { class: "brush", y: 0, height, x: 0, width: 0 });
    let from = null;
    const at = (event) => {
      const box = picture.getBoundingClientRect();
      return Math.min(width, Math.max(0, ((event.clientX - box.left) / box.width) * width));
    };
    const show = (to) => {
      shade.setAttribute("x", Math.min(from, to));
      shade.setAttribute("width", Math.abs(to - from));
    };
    picture.append(shade);
    picture.classList.add("brushable");
    picture.addEventListener("pointerdown", (event) => {
      from = at(event);
      picture.setPointerCapture(event.pointerId);
    });
    picture.addEventListener("pointermove", (event) => from !== null && show(at(event)));
    picture.addEventListener("pointerup", (event) => {
      const to = at(event);
      const [low, high] = [Math.min(from, to), Math.max(from, to)];
      from = null;
      if (high - low < 3) chosen(null, null);
      else chosen(low, high);
    });
    picture.addEventListener("pointercancel", () => (from = null));
  }

  /** Slope and intercept of y on x by least squares; null where x does not vary. */
  saeviz.trend = (points) => {
    const n = points.length;
    const meanX = points.reduce((sum, point) => sum + point.x, 0) / n;
    const meanY = points.reduce((sum, point) => sum + point.y, 0) / n;
    let [xx, xy] = [0, 0];
    for (const { x, y } of points) {
      xx += (x - meanX) ** 2;
      xy += (x - meanX) * (y - meanY);
    }
    return xx > 0 ? { slope: xy / xx, intercept: meanY - (xy / xx) * meanX } : null;
  };

  /** Points `{x, y, name, group}` with axes and the trend. `onpick` is given the point that is clicked. */
  saeviz.pointChart = ({ points, xName, yName, label, onpick = null, colours = null, width = 340, height = 220 }) => {
    const shown = points.filter(({ x, y }) => Number.isFinite(x) && Number.isFinite(y));
    if (!shown.length) return el("p", { class: "note" }, "No image has both values.");
    const [left, bottom, top, right] = [44, 34, 8, 8];
    const padded = ([from, to]) => [from - 0.025 * (to - from), to + 0.025 * (to - from)]; // no point is cut by the edge
    const ends = saeviz.extent(shown.map((point) => point.x));
    const [xs, ys] = [padded(ends), padded(saeviz.extent(shown.map((point) => point.y)))];
    const px = (x) => left + ((x - xs[0]) / (xs[1] - xs[0] || 1)) * (width - left - right);
    const py = (y) => height - bottom - ((y - ys[0]) / (ys[1] - ys[0] || 1)) * (height - bottom - top);
    const picture = svg("svg", { viewBox: `0 0 ${width} ${height}`, class: "points", role: "img", "aria-label": label });
    for (const tick of saeviz.ticks(...ys, 6)) {
      picture.append(svg("line", { x1: left, x2: width - right, y1: py(tick), y2: py(tick), class: "grid" }));
      picture.append(svg("text", { x: left - 5, y: py(tick) + 3, class: "tick end" }, number(tick)));
    }
    for (const tick of saeviz.ticks(...xs, 5)) {
      picture.append(svg("text", { x: px(tick), y: height - bottom + 13, class: "tick middle" }, number(tick)));
    }
    picture.append(svg("text", { x: (left + width - right) / 2, y: height - 5, class: "axis middle" }, saeviz.plainly(xName, 50)));
    picture.append(svg("text", { x: 0, y: 0, class: "axis middle", transform: `translate(10 ${(height - bottom) / 2}) rotate(-90)` }, saeviz.plainly(yName, 36)));
    for (const point of shown) {
      const dot = svg("circle", { cx: px(point.x), cy: py(point.y), r: 2.6, class: "dot" });
      if (colours && point.group) dot.style.fill = colours(point.group);
      dot.append(svg("title", {}, saeviz.plainly(`${point.name}: ${number(point.x)}, ${number(point.y)}`)));
      if (onpick) dot.addEventListener("click", () => onpick(point));
      picture.append(dot);
    }
    const line = saeviz.trend(shown);
    if (line) {
      const at = (x) => py(Math.min(ys[1], Math.max(ys[0], line.intercept + line.slope * x)));
      picture.append(svg("line", { x1: px(ends[0]), x2: px(ends[1]), y1: at(ends[0]), y2: at(ends[1]), class: "trend" }));
    }
    return picture;
  };

  /** A mark for r with its interval on a line from -1 to 1. */
  saeviz.intervalMark = (r, low, high, limit = 1, width = 120) => {
    const at = (value) => width / 2 + (Math.max(-limit, Math.min(limit, value)) / limit) * (width / 2 - 4);
    const picture = svg("svg", { viewBox: `0 0 ${width} 14`, class: "interval", "aria-hidden": "true" });
    picture.append(svg("line", { x1: width / 2, x2: width / 2, y1: 0, y2: 14, class: "zero" }));
    if (Number.isFinite(low) && Number.isFinite(high)) picture.append(svg("line", { x1: at(low), x2: at(high), y1: 7, y2: 7, class: r < 0 ? "ci minus" : "ci plus" }));
    if (Number.isFinite(r)) picture.append(svg("circle", { cx: at(r), cy: 7, r: 3.4, class: r < 0 ? "minus" : "plus" }));
    return picture;
  };

  /** A value on a line, with the mean of a null and two of its standard deviations to either side. */
  saeviz.nullMark = (value, mean, sd, width = 320, height = 46) => {
    const ends = saeviz.extent([value, mean - 2.5 * sd, mean + 2.5 * sd, 0, 1].filter(Number.isFinite));
    const at = (place) => 8 + ((place - ends[0]) / (ends[1] - ends[0] || 1)) * (width - 16);
    const picture = svg("svg", { viewBox: `0 0 ${width} ${height}`, class: "points null", role: "img", "aria-label": `${number(value, 2)}; of random images ${number(mean, 2)}` });
    picture.append(svg("line", { x1: 8, x2: width - 8, y1: 26, y2: 26, class: "grid" }));
    for (const tick of saeviz.ticks(...ends, 5)) picture.append(svg("text", { x: at(tick), y: 42, class: "tick middle" }, number(tick)));
    if (Number.isFinite(sd)) picture.append(svg("line", { x1: at(mean - 2 * sd), x2: at(mean + 2 * sd), y1: 26, y2: 26, class: "spread" }));
    picture.append(svg("line", { x1: at(mean), x2: at(mean), y1: 19, y2: 33, class: "mean" }), svg("text", { x: at(mean), y: 12, class: "tick middle" }, "random images"));
    picture.append(svg("circle", { cx: at(value), cy: 26, r: 5, class: "value" }));
    return picture;
  };
}
