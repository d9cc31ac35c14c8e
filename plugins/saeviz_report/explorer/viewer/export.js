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
