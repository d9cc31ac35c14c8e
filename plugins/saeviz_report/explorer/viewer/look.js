// An image of one's own, which the host looks at: its features, what is predicted of it, the images most like it.
"use strict";

{
  const { el, said, number, fixed, need } = saeviz;
  let [own, turn] = [null, 0]; // {address, name, found or failed}: it is nowhere but here

  const again = () => window.dispatchEvent(new HashChangeEvent("hashchange"));
  let draw = () => {}; // fills the page that is shown

  async function look(file) {
    const mine = ++turn;
    if (own) URL.revokeObjectURL(own.address);
    own = { address: URL.createObjectURL(file), name: file.name || "pasted image", found: null, failed: null };
    draw();
    try {
      const found = await saeviz.live.post("look", file);
      if (mine === turn) own.found = found;
    } catch (error) {
      if (mine === turn) own.failed = error.message;
    }
    if (mine === turn) draw();
  }

  saeviz.lookView = async (features) => {
    if (!saeviz.live) return [el("p", { class: "note" }, "This needs the model: open the run with saeviz serve.")];
    if (saeviz.live.about.missing.model) return [el("h2", {}, "Your own image"), el("p", { class: "note" }, "The model of this run is not available: ", said(saeviz.live.about.missing.model, 400))];
    const [items, columns] = await Promise.all([need("items"), features.columns(["label"])]);
    const shown = el("div", { class: "looked" });
    draw = () => saeviz.fill(shown, own ? result(features, items, columns) : null);
    draw();
    return [el("h2", {}, "Your own image"), chooser(), shown];
  };

  function chooser() {
    const input = el("input", { type: "file", accept: "image/*", class: "visually-hidden", id: "own-file", onchange: () => input.files[0] && look(input.files[0]) });
    const box = el("div", { class: "drop" }, input, el("label", { for: "own-file" }, "Choose an image file"), el("span", {}, " or drop one here, or paste it. It is sent to the computer that serves this page, and is not stored there. You see which features fire on it and where, how it would be rated, and the images of the run most like it."));
    const over = (event) => {
      event.preventDefault();
      box.classList.toggle("over", event.type === "dragover");
    };
    box.addEventListener("dragover", over);
    box.addEventListener("dragleave", over);
    box.addEventListener("drop", (event) => {
      over(event);
      const file = event.dataTransfer.files[0];
      if (file) look(file);
    });
    return box;
  }
  document.addEventListener("paste", (event) => {
    const file = [...(event.clipboardData?.files ?? [])].find((one) => one.type.startsWith("image/"));
    if (file && saeviz.live && saeviz.state.get("view") === "look") look(file);
  });

  function result(features, items, columns) {
    const { found, failed, name, address } = own;
    const picture = el("figure", { class: "own" }, image(address, saeviz.plainly(name, 120)), el("figcaption", { class: "note" }, said(name, 120), found ? `, ${found.size[0]} × ${found.size[1]} pixels` : ""));
    if (failed) return [picture, el("p", { class: "warnings", role: "alert" }, said(failed, 600))];
    if (!found) return [picture, el("p", { class: "note", role: "status" }, "Computing its features. The model is loaded for the first image, which takes a while.")];
    return [el("div", { class: "two" }, picture, predicted(features, columns, found)),
      found.spaces.map((space) => firing(features, space, address)),
      el("section", {}, el("h3", {}, "Most similar images of the run"), el("p", { class: "note" }, "By the cosine of ", said(found.nearest_by, 120), "."),
        found.nearest.length ? saeviz.enlargeable(items, el("div", { class: "strip" }, found.nearest.map((one) => [items.ids.indexOf(one.item), one]).filter(([place]) => place >= 0).map(([place, one]) => saeviz.picture(items, place, fixed(one.similarity))))) : el("p", { class: "note" }, "None."))];
  }

  const image = (address, alt) => el("img", { src: address, alt, onerror: (event) => event.target.replaceWith(el("span", { class: "nopicture" }, "Your browser cannot show this format.")) });
  const link = (one) => el("a", { href: saeviz.link({ feature: one.feature }) }, one.label ? [el("strong", {}, said(one.label, 60)), " "] : null, el("span", { class: "id" }, said(one.feature)));

  function predicted(features, columns, found) {
    if (!found.ratings.length) return el("section", {}, el("h3", {}, "Predicted ratings"), el("p", { class: "note" }, "None: ", said(found.ratings_missing, 400), "."));
    const rows = found.ratings.map((one) => el("tr", {}, el("th", { scope: "row" }, said(one.rating, 60)),
      el("td", { class: "number" }, el("strong", {}, one.binary ? `${number(100 * one.value, 0)} %` : fixed(one.value))),
      el("td", { class: "number" }, one.below === null ? "–" : `${number(100 * one.below, 0)} %`),
      el("td", { class: "number" }, one.r2 === null ? "–" : fixed(one.r2)),
      el("td", {}, one.adding.slice(0, 3).map((part) => el("div", { class: "adds" }, el("span", { class: `r ${part.adds < 0 ? "minus" : "plus"}` }, saeviz.signed(part.adds)), " ", link(part))))));
    const poor = found.ratings.filter((one) => one.r2 !== null && one.r2 < 0.1).map((one) => saeviz.plainly(one.rating, 60));
    return el("section", {}, el("h3", {}, "Predicted ratings"),
      poor.length ? el("p", { class: "warnings" }, `Features hardly predict ${poor.join(", ")}: ${poor.length === 1 ? "this number says" : "these numbers say"} little more than the mean rating does.`) : null,
      saeviz.wide("Predicted ratings", el("table", { class: "plain" }, el("thead", {}, el("tr", {}, ["Rating", "Predicted", "Higher than", "R²", "Largest contributions"].map((word, i) => el("th", { scope: "col", class: i > 0 && i < 4 ? "number" : "" }, word)))), el("tbody", {}, rows))),
      el("p", { class: "note" }, `A ridge model of all features, fitted to the run's images. ${found.ratings.some((one) => one.binary) ? "For a rating of 0 and 1, the probability of 1 is predicted, and contributions are in log odds. " : ""}Higher than: the share of these with a lower prediction. R²: how well the model predicts images of the run that took no part in fitting; it may do worse on an image of another kind.`));
  }

  /** The features of a space: the picture once for each that has a place in it, then the others. */
  function firing(features, space, address) {
    const placed = space.features.filter((one) => one.map?.largest > 0);
    const others = space.features.filter((one) => !(one.map?.largest > 0));
    const why = space.maps_missing ? ["There are no heatmaps: ", said(space.maps_missing, 300)] : "These do not fire on any patch of the picture, only at the token for the whole image.";
    return el("section", {}, el("h3", {}, said(space.space), `: ${number(space.n_active)} features fire`),
      el("p", { class: "note" }, space.features.length ? `The strongest ${number(space.features.length)}. Bars show the activation relative to the feature's largest one on an image of the run; the small pictures are those on which it fires most.` : "None fires."),
      placed.length ? el("div", { class: "strip" }, placed.map((one) => tile(features, one, address))) : null,
      others.length ? [el("p", { class: "note" }, why), el("ol", { class: "fired pictured" }, others.map((one) => el("li", {}, saeviz.thumbs(features, features.row(one.feature)), link(one), bar(one), el("span", { class: "number" }, fixed(one.value)))))] : null);
  }

  function tile(features, one, address) {
    const frame = el("span", { class: "frame" }, image(address, ""), saeviz.heatmap(one.map));
    return el("a", { class: "picture fires", href: saeviz.link({ feature: one.feature }), title: `${fixed(one.value)}; the largest on an image of the run is ${fixed(one.largest)}` }, frame, bar(one), saeviz.thumbs(features, features.row(one.feature)),
      el("span", { class: "below" }, one.label ? el("strong", {}, said(one.label, 40)) : el("span", { class: "id" }, said(one.feature)), " ", fixed(one.value)));
  }

  function bar(one) {
    const amount = el("span", { class: "amount" });
    amount.style.width = `${100 * (one.largest > 0 ? Math.min(1, one.value / one.largest) : 1)}%`;
    return el("span", { class: "track", "aria-hidden": "true" }, amount);
  }
}
