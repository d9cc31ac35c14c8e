// The page of an image: its ratings, which features fire on it and where, and what they add to what is predicted.
"use strict";

{
  const { el, said, number, signed, state, need } = saeviz;
  const MOST = 200; // features listed
  const FIRST = 24; // of these, the others are folded away
  const ADDED = 12; // features whose part in a prediction is shown, each way

  const weightsOf = (features, rating) => `${features.run.weights ?? "ridge_weight"}[${rating}]`; // earlier data have no name

  saeviz.imageView = async (features) => {
    const items = await need("items");
    const id = state.get("image");
    const item = items.ids.indexOf(id);
    if (item < 0) return [el("p", { class: "note" }, "The run has no image ", said(id, 200), ".")];
    const found = await saeviz.featuresOf(features, item);
    const weights = features.run.ratings.map((rating) => weightsOf(features, rating.name)).filter(features.isNumber);
    const columns = await features.columns(["label", "tier", ...weights]);
    const large = saeviz.picture(items, item, "", "alone");
    const near = await nearest(items, item);
    const pointing = saeviz.pointing(items, item, large.querySelector(".frame"));
    return [el("div", { class: "bar" }, el("a", { href: saeviz.link({ view: "images", image: "" }) }, "← All images"), steps(items, item)),
      el("h2", {}, said(id, 300)),
      el("div", { class: "two" }, el("div", {}, saeviz.enlargeable(items, el("div", { class: "large" }, large)), pointing), el("div", {}, ratings(items, item), told(items, item, features.run.infos?.images ?? {}))),
      found ? el("div", { class: "two" }, added(features, items, item, columns, found), await fired(features, items, item, columns, found)) : null,
      near.length ? el("section", {}, el("h3", {}, "Most similar images"), el("p", { class: "note" }, "By the embedding that monosemanticity is measured with."), el("div", { class: "strip" }, near.map((other) => saeviz.picture(items, other)))) : null];
  };

  /** The images most like one, by its place; without embeddings none. */
  async function nearest(items, item) {
    if (saeviz.live) return (await saeviz.live.once("image", { item: items.ids[item] })).nearest.map((one) => one.place);
    if (!items.nearest) return [];
    return [...saeviz.unpack(items.nearest).subarray(item * items.n_nearest, (item + 1) * items.n_nearest)].filter((other) => other !== item);
  }

  const steps = (items, item) => [[-1, "← previous"], [1, "next →"]].map(([by, word]) => items.ids[item + by] !== undefined ? el("a", { href: saeviz.link({ image: items.ids[item + by] }) }, word) : null);

  /** Each rating with its spread over raters, its place among all images, what was predicted, and what is left. */
  function ratings(items, item) {
    if (!items.ratings.length) return null;
    const spread = new Map((items.spread ?? []).map(([name, { sd, n }]) => [name, [saeviz.column(sd).at(item), saeviz.column(n).at(item)]]));
    const numbers = new Map(items.numbers.map(([name, packed]) => [name, packed]));
    const of = (name) => (numbers.has(name) ? saeviz.column(numbers.get(name)).at(item) : NaN);
    const rows = items.ratings.map(([name, packed]) => {
      const column = saeviz.column(packed);
      return { name, value: column.at(item), values: column.values, spread: spread.get(name) ?? [NaN, NaN], predicted: of(`predicted.${name}`), residual: of(`residual.${name}`) };
    });
    const some = (test) => rows.some(test);
    const [spreads, predictions] = [some((row) => Number.isFinite(row.spread[0])), some((row) => Number.isFinite(row.predicted))];
    const heads = ["Rating", "Value", spreads ? "SD over raters" : null, "Among all images", predictions ? "Predicted" : null, predictions ? "Surprise" : null];
    return [el("h3", {}, "Ratings"), saeviz.wide("Ratings", el("table", { class: "plain" }, el("thead", {}, el("tr", {}, heads.filter(Boolean).map((word) => el("th", { scope: "col", class: /Value|SD|Pred|Surp/.test(word) ? "number" : "" }, word)))),
      el("tbody", {}, rows.map((row) => el("tr", {}, el("th", { scope: "row" }, said(row.name, 60)), el("td", { class: "number" }, number(row.value, 2)),
        spreads ? el("td", { class: "number" }, Number.isFinite(row.spread[0]) ? `${number(row.spread[0], 2)} (${number(row.spread[1])})` : "–") : null,
        el("td", {}, place(row)), predictions ? el("td", { class: "number" }, saeviz.fixed(row.predicted)) : null, predictions ? el("td", { class: "number" }, signed(row.residual)) : null))))),
      el("p", { class: "note" }, spreads ? "In brackets: raters. " : "", predictions ? "Predicted: by the features of all spaces, with a model fitted to other images. Surprise: the rating minus the prediction." : "")];
  }

  /** Where a value lies among those of all images. */
  function place({ value, values, name }) {
    if (!Number.isFinite(value)) return "–";
    const picture = saeviz.histogram({ values: values.filter(Number.isFinite), label: saeviz.plainly(name, 60), width: 130, height: 26, bars: 26, mark: value }).querySelector("svg");
    return picture;
  }

  function told(items, item, infos) {
    const line = (word, value, info) => el("div", {}, el("dt", { title: info?.words }, said(word, 80)), el("dd", {}, value, info?.unit ? ` ${saeviz.plainly(info.unit, 40)}` : ""));
    const group = items.groups ? saeviz.column(items.groups).at(item) : "";
    const texts = items.metadata.map(([name, packed]) => [name, saeviz.column(packed).at(item)]).filter(([, text]) => text !== "");
    const shown = items.numbers.filter(([name]) => !/^(predicted|residual)\./.test(name)).map(([name, packed]) => [name, saeviz.column(packed).at(item)]);
    const missed = shown.filter(([name]) => name.startsWith("reconstruction_error."));
    const others = shown.filter(([name]) => !name.startsWith("reconstruction_error."));
    return [group ? el("p", {}, "Group: ", said(group, 100)) : null,
      texts.length ? el("dl", { class: "figures" }, texts.map(([name, text]) => line(name, said(text, 1000)))) : null,
      missed.length ? [el("h4", {}, "What the SAEs miss"), el("dl", { class: "figures" }, missed.map(([name, value]) => line(name.slice(21), number(value)))), el("p", { class: "note" }, "Reconstruction error, as a share of the variance of the activation.")] : null,
      others.length ? el("details", {}, el("summary", {}, "Figures of this image"), el("dl", { class: "figures" }, others.map(([name, value]) => line(name, number(value), infos[name])))) : null];
  }

  const link = (features, columns, row) => el("a", { href: saeviz.link({ feature: features.name(row) }) }, columns.get("label")?.at(row) ? [el("strong", {}, said(columns.get("label").at(row), 60)), " "] : null, el("span", { class: "id" }, said(features.name(row))));

  /** A bar of an amount, to the left of the middle if it is negative. */
  function bar(share, both = false) {
    const amount = el("span", { class: `amount ${both ? (share < 0 ? "minus" : "plus") : ""}` });
    amount.style.width = `${(both ? 50 : 100) * Math.abs(share)}%`;
    if (both) amount.style.marginLeft = `${share < 0 ? 50 - 50 * Math.abs(share) : 50}%`;
    return el("span", { class: "track", "aria-hidden": "true" }, amount);
  }

  /** The images to which the model of a rating was fitted: those that have a prediction, from the others among them. */
  function fitted(items, name) {
    const of = (pairs, key) => saeviz.column(pairs.find(([one]) => one === key)[1]);
    const [rated, predicted] = [of(items.ratings, name), of(items.numbers, `predicted.${name}`)];
    const has = (item) => Number.isFinite(predicted.at(item));
    return { has, values: items.ids.map((_, item) => item).filter(has).map((item) => rated.at(item)) };
  }

  /** How much each feature adds to the rating that the ridge model predicts: its activation times its weight. */
  function added(features, items, item, columns, { items: rows, values }) {
    const intercepts = new Map(features.run.intercepts ?? []);
    const known = new Set(items.numbers.map(([name]) => name));
    const names = features.run.ratings.map((rating) => rating.name).filter((name) => columns.has(weightsOf(features, name)) && intercepts.has(name) && known.has(`predicted.${name}`));
    if (!names.length) return null;
    const name = names.includes(state.get("against")) ? state.get("against") : names[0];
    const weight = columns.get(weightsOf(features, name));
    const parts = [...rows].map((row, i) => [row, values[i] * weight.at(row)]).filter(([, part]) => Number.isFinite(part) && part !== 0).sort((a, b) => b[1] - a[1]);
    const sum = (list) => list.reduce((total, [, part]) => total + part, 0);
    const [most, least] = [parts.filter(([, part]) => part > 0).slice(0, ADDED), parts.filter(([, part]) => part < 0).slice(-ADDED)];
    const shown = [...most, ...least];
    const rest = sum(parts) - sum(shown);
    const largest = Math.max(...shown.map(([, part]) => Math.abs(part)), Math.abs(rest), 1e-12);
    const line = (thumbs, what, part) => el("li", {}, thumbs, what, bar(part / largest, true), el("span", { class: "number" }, signed(part, 3)));
    const choose = el("select", { "aria-label": "Rating", "data-key": "against", onchange: () => state.set({ against: choose.value }, { replace: true }) }, names.map((one) => el("option", { value: one, selected: one === name }, saeviz.plainly(one, 60))));
    const fit = fitted(items, name);
    const is_binary = fit.values.length > 0 && fit.values.every((value) => value === 0 || value === 1);
    return el("section", {}, el("h3", {}, "What features add to the predicted rating"), el("div", { class: "bar" }, choose),
      el("p", { class: "note" }, `A ridge model of all features, fitted to ${number(fit.values.length)} images, ${fit.has(item) ? "including this one" : "but not to this one"}${is_binary ? "; in log odds" : ""}: ${number(intercepts.get(name), 2)} without any feature, ${signed(sum(parts))} from the ${number(parts.length)} features that fire here, ${number(intercepts.get(name) + sum(parts), 2)} in total. Each feature adds its activation times its weight.`),
      el("ol", { class: "fired pictured added" }, shown.map(([row, part]) => line(saeviz.thumbs(features, row), link(features, columns, row), part)), parts.length > shown.length ? line(el("span"), `${number(parts.length - shown.length)} others together`, rest) : null));
  }

  async function fired(features, items, item, columns, { items: rows, values }) {
    const only = state.get("all") !== "1";
    const tier = columns.get("tier")?.values;
    const chosen = [...rows.keys()].filter((i) => !only || (tier && tier[rows[i]] > 0)).slice(0, MOST);
    const largest = values[0] ?? 1;
    const list = (some) => el("ol", { class: "fired pictured" }, some.map((i) => el("li", {}, saeviz.thumbs(features, rows[i]), link(features, columns, rows[i]), bar(values[i] / largest), el("span", { class: "number" }, saeviz.fixed(values[i])))));
    return el("section", {}, el("h3", {}, `${number(rows.length)} ${rows.length === 1 ? "feature fires" : "features fire"} on it`, tier ? `, ${number([...rows].filter((row) => tier[row] > 0).length)} of them selected` : ""),
      el("label", { class: "box" }, el("input", { type: "checkbox", "data-key": "all", checked: !only, onchange: (event) => state.set({ all: event.target.checked ? "1" : "" }) }), el("span", {}, "also show features that were not selected")),
      await where(features, items, item, chosen.map((i) => rows[i]), columns),
      chosen.length ? list(chosen.slice(0, FIRST)) : el("p", { class: "note" }, "None of these features was selected."),
      chosen.length > FIRST ? el("details", {}, el("summary", {}, `${number(chosen.length - FIRST)} weaker ones`), list(chosen.slice(FIRST))) : null);
  }

  /** The picture once for each of the features of which a map of it is stored. */
  async function where(features, items, item, rows, columns) {
    const mapped = new Set(features.run.heatmaps ?? []);
    const found = [];
    for (const row of rows.filter((one) => mapped.has(one))) {
      const map = (await need(`heatmaps/${row}`)).find((one) => one.item === item);
      if (map) found.push([row, map]);
    }
    if (!found.length) return null;
    return el("details", { open: true }, el("summary", {}, "Where they fire"), saeviz.enlargeable(items, el("div", { class: "strip" }, found.slice(0, 24).map(([row, map]) => {
      const picture = saeviz.picture(items, item, columns.get("label")?.at(row) ? said(columns.get("label").at(row), 24) : said(features.name(row)));
      picture.querySelector(".frame").append(saeviz.heatmap(map));
      return picture;
    }))));
  }
}
