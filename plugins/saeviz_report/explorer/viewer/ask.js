// What only a host with the model can say of features: found by words, neighbours, and what fires at a place.
"use strict";

{
  const { el, said, number, fixed, signed, state, need } = saeviz;
  const FIRST = 24;
  const WAIT = 1000; // milliseconds between two requests while images are embedded

  const link = (one) => el("a", { href: saeviz.link({ feature: one.feature }) }, one.label ? [said(one.label, 60), " "] : null, el("span", { class: "id" }, said(one.feature)));
  const pause = (time) => new Promise((done) => setTimeout(done, time));

  /** A box for words that describe a feature, and what was found; null where no host has a text encoder. */
  saeviz.wordsPanel = (features, items) => {
    if (!saeviz.live?.about.has_words) return null;
    const asked = state.get("words");
    const input = el("input", { type: "search", id: "words", maxlength: 300, placeholder: "Describe in words, such as: a dog on a beach", "aria-label": "Describe in words", value: asked });
    const form = el("form", { class: "bar words", onsubmit: (event) => { event.preventDefault(); state.set({ words: input.value.trim() }); } }, input, el("button", { type: "submit" }, "Find by words"), asked ? el("button", { type: "button", onclick: () => state.set({ words: "" }) }, "Clear") : null);
    const found = el("div", { class: "by-words" });
    if (asked) answer(features, items, asked, found).catch((error) => saeviz.fill(found, el("p", { class: "warnings", role: "alert" }, said(error.message, 600))));
    return [saeviz.folded("Find by words", asked !== "", form), found];
  };

  const known = new Map(); // what was answered: the page is made anew with every change of its address

  async function answer(features, items, text, box) {
    if (known.has(text)) return show(features, items, known.get(text), box);
    const status = el("p", { class: "note", role: "status" }, "Comparing the words with the images…");
    saeviz.fill(box, status);
    let [got, there] = [await saeviz.live.get("words", { text }), false];
    while (!got.ready) {
      saeviz.fill(status, `Embedding images for the first search: ${number(got.n_done)} of ${number(got.n_images)}.`);
      await pause(WAIT);
      if (there && !box.isConnected) return; // another page is shown
      there = box.isConnected;
      got = await saeviz.live.get("words", { text });
    }
    known.set(text, got);
    return show(features, items, got, box);
  }

  function show(features, items, got, box) {
    const above = got.features.filter((one) => one.r > got.chance);
    const weak = el("p", { class: "note" }, above.length ? `${number(above.length)} of the ${number(got.features.length)} strongest have an r above ${fixed(got.chance)}, which the best of all features exceeds in one of twenty random orders of the images.` : `None is above chance, an r of ${fixed(got.chance)}: the images of the run may show nothing like it.`);
    const rows = got.features.map((one) => features.row(one.feature)).filter((row) => row >= 0);
    saeviz.fill(box, el("section", {}, el("h3", {}, "Features that fire on images like “", said(got.text, 300), "”"),
      el("div", { class: "bar" }, weak, rows.length ? saeviz.listButton(rows, features) : null),
      ranked(features, items, above.slice(0, FIRST)),
      more(features, items, "More above chance", above.slice(FIRST)),
      more(features, items, "Not above chance", got.features.slice(above.length)),
      el("details", {}, el("summary", {}, "Images most like the words"), saeviz.enlargeable(items, el("div", { class: "strip" }, got.images.map((one) => items.ids.indexOf(one.item)).filter((place) => place >= 0).map((place) => saeviz.picture(items, place))))),
      el("p", { class: "note" }, `r of the activation with the similarity of image and words in the model's joint space, over ${number(got.n_images)} images. Names of features play no part.${grouped(items, "The random orders take the images for independent, but images of one group are often alike, so more may exceed them by chance than the page says")}`)));
  }

  /** What is to be said where images come in groups; nothing where they do not. */
  const grouped = (items, words) => (items.groups && saeviz.column(items.groups).words.filter(Boolean).length > 1 ? ` ${words}.` : "");

  const ranked = (features, items, found) => (found.length ? el("ul", { class: "tiles" }, found.map((one) => tile(features, items, one))) : null);
  const more = (features, items, word, found) => (found.length ? el("details", {}, el("summary", {}, `${word} (${number(found.length)})`), ranked(features, items, found)) : null);

  const tile = (features, items, one) => el("li", {}, saeviz.featureTile(features, features.row(one.feature), one.label, signed(one.r), ` · fires on ${number(one.n_active)}`));

  /** The neighbours of a feature, filled in when the host has answered; null where the page is not served. */
  saeviz.neighbours = (features, items, row) => {
    if (!saeviz.live) return null;
    const box = el("section", { class: "neighbours" }, el("h3", {}, "Neighbours"), el("p", { class: "note", role: "status" }, "Looking for neighbours…"));
    const list = (found) => (found.length ? el("ul", { class: "tiles near" }, found.map((one) => el("li", {}, saeviz.featureTile(features, features.row(one.feature), one.label, fixed(one.value))))) : el("p", { class: "note" }, "None."));
    saeviz.live.once("neighbours", { feature: features.name(row) }).then((got) => saeviz.fill(box, el("h3", {}, "Neighbours"),
      got.firing.map((one, i) => [el("h4", {}, i ? ["In ", said(one.space), ", on the same images"] : "On the same images"), list(one.features)]),
      el("h4", {}, "With a similar decoder direction"), got.direction ? list(got.direction) : el("p", { class: "note" }, said(got.direction_missing, 300), "."),
      el("p", { class: "note" }, `On the same images: correlation of activations over all images. Decoder direction: cosine, in the same space.${grouped(items, "Each image counts the same, so a large group of images counts more than a small one")}`)),
    (error) => saeviz.fill(box, el("h3", {}, "Neighbours"), el("p", { class: "note" }, said(error.message, 400))));
    return box;
  };

  /** A picture at which one can point, and what fires there; null where the page is not served. */
  saeviz.pointing = (items, item, frame) => {
    if (!saeviz.live || saeviz.live.about.missing.model) return null;
    const [id, shown] = [items.ids[item], el("div", { class: "pointed", "aria-live": "polite" })];
    const mark = el("span", { class: "mark-patch", hidden: true });
    let [x, y, turn] = [0.5, 0.5, 0];
    const ask = async () => {
      const mine = ++turn;
      saeviz.fill(shown, el("p", { class: "note" }, "Computing what fires there…"));
      try {
        const got = await saeviz.live.once("patch", { item: id, x: x.toFixed(3), y: y.toFixed(3) });
        if (mine !== turn) return;
        const patch = got.spaces.find((one) => one.patch.length)?.patch;
        mark.hidden = !patch;
        if (patch) [mark.style.left, mark.style.top, mark.style.width, mark.style.height] = [patch[0], patch[1], patch[2] - patch[0], patch[3] - patch[1]].map((share) => `${100 * share}%`);
        saeviz.fill(shown, got.spaces.map((one) => [el("h4", {}, said(one.space), `: ${number(one.n_active)} features fire there`), one.missing ? el("p", { class: "note" }, said(one.missing, 300), ".") : null,
          el("ul", { class: "near" }, one.features.map((feature) => el("li", {}, el("span", { class: "number" }, fixed(feature.value)), " ", link(feature))))]));
      } catch (error) {
        if (mine === turn) saeviz.fill(shown, el("p", { class: "note" }, said(error.message, 400)));
      }
    };
    const aim = el("button", { type: "button", class: "aim", hidden: true, "aria-label": "A place in the picture; arrow keys move it", onclick: (event) => {
      if (event.detail) [x, y] = [event.offsetX / aim.clientWidth, event.offsetY / aim.clientHeight].map((share) => Math.min(1, Math.max(0, share)));
      event.preventDefault();
      event.stopPropagation();
      ask();
    }, onkeydown: (event) => {
      const by = { ArrowLeft: [-0.05, 0], ArrowRight: [0.05, 0], ArrowUp: [0, -0.05], ArrowDown: [0, 0.05] }[event.key];
      if (!by) return;
      event.preventDefault();
      [x, y] = [x + by[0], y + by[1]].map((share) => Math.min(1, Math.max(0, share)));
      ask();
    } });
    frame.append(mark, aim);
    const box = el("label", { class: "box" }, el("input", { type: "checkbox", "data-key": "pointing", onchange: (event) => {
      aim.hidden = !event.target.checked;
      mark.hidden = true;
      saeviz.fill(shown, event.target.checked ? el("p", { class: "note" }, "Click a place in the picture.") : null);
    } }), el("span", {}, "point at a place to see what fires there"));
    return el("div", {}, box, shown);
  };
}
