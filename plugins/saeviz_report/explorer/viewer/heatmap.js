// Where a feature fires on a picture: a map over it, transparent where it does not.
"use strict";

{
  const { el, need } = saeviz;
  // Every other tenth colour of matplotlib's map viridis (CC0), which people with any colour vision can read.
  const VIRIDIS = [[68, 1, 84], [67, 62, 133], [38, 130, 142], [53, 183, 121], [144, 215, 67], [253, 231, 37]];
  const STRENGTH = 0.85;

  const colour = (share) => {
    const at = share * (VIRIDIS.length - 1);
    const [low, high] = [VIRIDIS[Math.floor(at)], VIRIDIS[Math.ceil(at)]];
    return low.map((part, i) => Math.round(part + (high[i] - part) * (at % 1)));
  };

  function drawn({ columns, values, box: [left, top, right, bottom] }) {
    const steps = saeviz.unpack(values);
    const canvas = el("canvas", { class: "heat", width: columns, height: steps.length / columns, "aria-hidden": "true" });
    const pen = canvas.getContext("2d");
    const pixels = pen.createImageData(canvas.width, canvas.height);
    steps.forEach((step, i) => pixels.data.set([...colour(step / 255), Math.round(255 * STRENGTH * (step / 255) ** 0.7)], 4 * i));
    pen.putImageData(pixels, 0, 0);
    const percent = (share) => `${100 * share}%`;
    [canvas.style.left, canvas.style.top] = [percent(left), percent(top)];
    [canvas.style.width, canvas.style.height] = [percent(right - left), percent(bottom - top)];
    return canvas;
  }

  const box = (id, words, change) => el("label", { class: "box" }, el("input", { type: "checkbox", id, onchange: (event) => change(event.target.checked) }), el("span", {}, words));
  saeviz.heatmap = drawn;
  saeviz.viridis = colour;

  const clear = (pictures) => {
    for (const canvas of [...pictures.values()].flatMap((picture) => [...picture.querySelectorAll(".heat")])) canvas.remove();
  };

  /** Boxes to tick that draw maps over the pictures `{item: element}`: those stored, or where served any, also fine ones. */
  saeviz.heatmapSwitch = (features, row, pictures) => {
    if (saeviz.live) return asked(features.name(row), pictures);
    if (!features.run.heatmaps?.includes(row)) return null;
    const said = el("span", { class: "note", role: "status" });
    const turned = async (on) => {
      clear(pictures);
      saeviz.fill(said);
      if (!on) return;
      const maps = (await need(`heatmaps/${row}`)).filter((map) => pictures.has(map.item));
      for (const map of maps) pictures.get(map.item).querySelector(".frame")?.append(drawn(map));
      saeviz.fill(said, nowhere(maps));
    };
    return el("div", { class: "bar" }, box("heat", "show where it fires, on the first pictures", turned), said);
  };

  /** What is to be said of maps with nothing in them, which only make a picture grey. */
  const nowhere = (maps) => {
    const n = maps.filter((map) => !(map.largest > 0)).length;
    return n ? `On ${n} of ${saeviz.counted(maps.length, "picture")} it fires on no patch, only at the token for the whole image.` : "";
  };

  function asked(feature, pictures) {
    const said = el("span", { class: "note", role: "status" });
    let [turn, on, fine] = [0, false, false];
    const show = async () => {
      const mine = ++turn;
      clear(pictures);
      saeviz.fill(said);
      if (!on) return;
      const { ids } = await need("items");
      saeviz.fill(said, saeviz.live.looked ? "Computing heatmaps…" : "Loading the model…");
      const maps = [];
      for (const [item, picture] of pictures) {
        let map;
        try {
          map = await saeviz.live.heatmap(feature, ids[item], fine);
          saeviz.live.looked = true;
        } catch (error) {
          if (mine === turn) saeviz.fill(said, saeviz.said(error.message, 400));
          return;
        }
        if (mine !== turn || !said.isConnected) return;
        picture.querySelector(".frame")?.append(drawn(map));
        maps.push(map);
      }
      saeviz.fill(said, nowhere(maps));
    };
    const unavailable = saeviz.live.about.missing.model;
    if (unavailable) return el("p", { class: "note" }, "There are no heatmaps: ", saeviz.said(unavailable, 400));
    return el("div", { class: "bar" },
      box("heat", "show where it fires", (is) => { on = is; show(); }),
      box("fine", "finely (slower)", (is) => { fine = is; show(); }), said);
  }
}
