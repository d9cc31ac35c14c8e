// Figures as files: SVG that needs no page, and PNG made of it. Always on white, whatever the page looks like.
"use strict";

{
  const { el, svg } = saeviz;
  const SHAPES = ["fill", "fill-opacity", "stroke", "stroke-width", "stroke-dasharray", "stroke-opacity", "opacity"];
  const WORDS = ["fill", "font-size", "font-weight", "text-anchor", "opacity"];
  const USUAL = new Map(Object.entries({ "fill-opacity": "1", "stroke-opacity": "1", opacity: "1", "stroke-dasharray": "none", "font-weight": "400", "text-anchor": "start" }));
  const SHARPNESS = 3;
  const LINE = 16; // height of a line of the key

  /** A copy of a picture with the looks that the page gives it as attributes, and the key below. */
  saeviz.standalone = (picture, key = []) => {
    const root = document.documentElement;
    const stays = picture.isConnected;
    if (!stays) document.body.append(picture);
    root.classList.add("paper"); // the light colours, only while they are read
    const copy = picture.cloneNode(true);
    const [from, to] = [[picture, ...picture.querySelectorAll("*")], [copy, ...copy.querySelectorAll("*")]];
    from.forEach((one, place) => dress(to[place], getComputedStyle(one)));
    root.classList.remove("paper");
    if (!stays) picture.remove();
    for (const extra of copy.querySelectorAll(".brush")) extra.remove();
    const [x, y, width, height] = copy.getAttribute("viewBox").split(" ").map(Number);
    const tall = height + keyed(copy, key, x + 8, y + height, width);
    copy.setAttribute("viewBox", `${x} ${y} ${width} ${tall}`);
    for (const [name, value] of Object.entries({ width, height: tall, "font-family": "Helvetica, Arial, sans-serif" })) copy.setAttribute(name, value);
    copy.prepend(svg("rect", { x, y, width, height: tall, fill: "#ffffff" }));
    return copy;
  };

  function dress(element, looks) {
    for (const name of ["class", "style", "role", "tabindex", "aria-label"]) element.removeAttribute(name);
    if (["svg", "g", "title"].includes(element.tagName)) return;
    for (const name of element.tagName === "text" ? WORDS : SHAPES) {
      const value = looks.getPropertyValue(name);
      if (name.startsWith("stroke") && looks.getPropertyValue("stroke") === "none") continue;
      if (value && value !== USUAL.get(name)) element.setAttribute(name, value);
    }
  }

  /** Writes what the colours mean below a picture, and returns how tall that is. */
  function keyed(picture, key, left, top, width) {
    let [x, y] = [left, top + 4];
    for (const [word, colour] of key) {
      const text = saeviz.plainly(word, 40);
      const wide = 20 + 6.2 * text.length;
      if (x > left && x + wide > left + width - 16) [x, y] = [left, y + LINE];
      picture.append(svg("circle", { cx: x + 4, cy: y + 4, r: 4, fill: colour }), svg("text", { x: x + 12, y: y + 8, "font-size": "11px", fill: "#1d2125" }, text));
      x += wide;
    }
    return key.length ? y - top + LINE : 0;
  }

  const MOST_SHAPES = 5000;
  const shade = ([red, green, blue]) => `rgb(${red},${green},${blue})`;

  /** What a plot of many points shows at the moment; of very many the points are one picture within it. */
  saeviz.scatterSvg = ({ xs, ys, colour, large, order, box, canvas, xName, yName, guides, margin, width, height }) => {
    const [wide, tall] = [width - margin.left - margin.right, height - margin.top - margin.bottom];
    const toX = (x) => margin.left + ((x - box.x0) / (box.x1 - box.x0)) * wide;
    const toY = (y) => margin.top + ((box.y1 - y) / (box.y1 - box.y0)) * tall;
    const round = (value) => Number(value.toFixed(2));
    const picture = svg("svg", { viewBox: `0 0 ${width} ${height}`, class: "points big" });
    const line = (name, x1, x2, y1, y2) => picture.append(svg("line", { class: name, x1: round(x1), x2: round(x2), y1: round(y1), y2: round(y2) }));
    const text = (name, x, y, words, more = {}) => picture.append(svg("text", { class: name, x: round(x), y: round(y), ...more }, words));
    for (const tick of xName ? saeviz.ticks(box.x0, box.x1, Math.max(2, width / 110)) : []) text("tick middle", toX(tick), height - margin.bottom + 16, saeviz.number(tick));
    for (const tick of yName ? saeviz.ticks(box.y0, box.y1, Math.max(2, height / 60)) : []) {
      line("grid", margin.left, width - margin.right, toY(tick), toY(tick));
      text("tick end", margin.left - 6, toY(tick) + 4, saeviz.number(tick));
    }
    text("axis middle", margin.left + wide / 2, height - 6, saeviz.plainly(xName, 80));
    text("axis middle", 0, 0, saeviz.plainly(yName, 60), { transform: `translate(12 ${round(margin.top + tall / 2)}) rotate(-90)` });
    const inside = order.filter((i) => xs[i] >= box.x0 && xs[i] <= box.x1 && ys[i] >= box.y0 && ys[i] <= box.y1);
    if (inside.length > MOST_SHAPES) picture.append(svg("image", { x: margin.left, y: margin.top, width: wide, height: tall, preserveAspectRatio: "none", href: canvas.toDataURL("image/png") }));
    else for (const i of inside) picture.append(svg("circle", { cx: round(toX(xs[i])), cy: round(toY(ys[i])), r: large(i) ? 3.5 : 2, fill: shade(colour(i)), "fill-opacity": 0.85 }));
    for (const guide of guides) {
      for (const [[ax, ay], [bx, by]] of saeviz.seen(guide, box)) {
        line("guide", toX(ax), toX(bx), toY(ay), toY(by));
        if (guide.name && ay === by) text(bx > ax ? "tick end" : "tick", toX(bx) + (bx > ax ? -4 : 4), toY(by) - 4, guide.name);
      }
    }
    return picture;
  };

  const fileName = (name) => name.replace(/[^\p{L}\p{N}.-]+/gu, "-").replace(/^[-.]+|-+$/g, "") || "figure";

  saeviz.asSvg = (picture) => `<?xml version="1.0" encoding="UTF-8"?>\n${new XMLSerializer().serializeToString(picture)}\n`;

  /** The picture as PNG, a `Blob`. */
  saeviz.asPng = async (picture) => {
    const image = new Image();
    const address = URL.createObjectURL(new Blob([saeviz.asSvg(picture)], { type: "image/svg+xml" }));
    try {
      image.src = address;
      await image.decode();
      const canvas = el("canvas", { width: SHARPNESS * picture.getAttribute("width"), height: SHARPNESS * picture.getAttribute("height") });
      canvas.getContext("2d").drawImage(image, 0, 0, canvas.width, canvas.height);
      return await new Promise((done) => canvas.toBlob(done, "image/png"));
    } finally {
      URL.revokeObjectURL(address);
    }
  };

  /** A figure with buttons that save it. `draw` makes its SVG where the figure itself is none; `key` is `[word, colour]`. */
  saeviz.savable = (figure, name, key = [], draw = null) => {
    if (!draw && figure.tagName !== "svg" && !figure.querySelector("svg")) return figure; // nothing was drawn
    const made = () => saeviz.standalone(draw ? draw() : figure.tagName === "svg" ? figure : figure.querySelector("svg"), key);
    const button = (word, save) => el("button", { type: "button", class: "quiet", "aria-label": `Save as ${word}: ${name}`, onclick: save }, word);
    return el("div", { class: "savable" }, figure, el("div", { class: "saves" },
      button("SVG", () => saeviz.save(`${fileName(name)}.svg`, "image/svg+xml", saeviz.asSvg(made()))),
      button("PNG", async () => saeviz.save(`${fileName(name)}.png`, "image/png", await saeviz.asPng(made())))));
  };
}
