// The plots of all features, and what their colours mean.
"use strict";

{
  const { el, said, number, state } = saeviz;

  /** Colours that people with any colour vision tell apart (Okabe and Ito 2008). */
  const [LIGHT, DARK] = [["#0072b2", "#e69f00", "#009e73", "#cc79a7", "#d55e00", "#56b4e9", "#8a7a00", "#666666"], ["#56b4e9", "#e69f00", "#1fb88d", "#cc79a7", "#e8743b", "#2f8fcf", "#b3a53a", "#8c949a"]];
  const dark = matchMedia("(prefers-color-scheme: dark)");
  Object.defineProperty(saeviz, "palette", { get: () => (dark.matches ? DARK : LIGHT) });
  const NONE = [150, 150, 150];
  const MIDDLE = [176, 176, 176]; // of r: grey where it is 0
  const [PLUS, MINUS] = [[0, 114, 178], [213, 94, 0]];
  const STEPS = 5; // of a scale that are named

  const parts = (colour) => [1, 3, 5].map((at) => parseInt(colour.slice(at, at + 2), 16));
  const mixed = (from, to, share) => from.map((part, i) => Math.round(part + (to[i] - part) * share));
  const written = ([red, green, blue]) => `#${[red, green, blue].map((part) => part.toString(16).padStart(2, "0")).join("")}`;

  function kinds(features) {
    const has = features.isNumber;
    const ratings = features.run.ratings.map((rating) => rating.name).filter((name) => has(`r[${name}]`));
    return [
      has("monosemanticity") && ratings.length ? ["ms", "Monosemanticity and strongest r"] : null,
      ...ratings.filter((name) => has(`q[${name}]`)).slice(0, 12).map((name) => [`volcano:${name}`, `Volcano: ${name}`]),
      has("monosemanticity") && has("ms_null_mean") ? ["null", "Monosemanticity against its null"] : null,
      ...ratings.filter((name) => has(`r_held_out[${name}]`)).slice(0, 12).map((name) => [`held:${name}`, `r found and held-out r: ${name}`]),
      has("map_x") && has("map_y") ? ["map", "Map of features"] : null,
      ["xy", "Any two columns"],
      ["none", "No plot"],
    ].filter(Boolean);
  }

  /** The columns of numbers, and those that the axes of any two columns have. */
  const numeric = (features) => [...features.heads.keys()].filter(features.isNumber);
  function axesOf(features) {
    const all = numeric(features);
    const [x, y] = [state.get("x"), state.get("y")];
    return [all.includes(x) ? x : "n_active", all.includes(y) ? y : (all.find((key) => key === "monosemanticity") ?? "max")];
  }

  /** What points can be coloured by: the kinds that are filters, and every column of numbers. */
  function tints(features) {
    const kinds = ["tier", "ms_class", "verdict"].filter((key) => features.heads.has(key));
    const all = [...features.heads.values()].filter((head) => !head.text).map(saeviz.keyOf).filter((key) => !["tier", "rank", "map_x", "map_y"].includes(key));
    return [...kinds, ...(features.spaces.length > 1 ? ["space"] : []), ...all];
  }

  /** The colour of each row as `[r, g, b]`, and the key: words and colours. */
  async function tinted(features, key) {
    if (key === "space") return byKind(features.spaces.map((space) => space.name), (row) => features.spaceOf(row));
    const column = (await features.columns([key])).get(key);
    if (!column) return { colour: () => NONE, key: [] };
    if (key === "tier") {
      const words = [...new Set(column.values)].filter((tier) => tier > 0).sort((a, b) => a - b);
      const { colour, key: named } = byKind(words.map((tier) => `tier ${tier}`), (row) => words.indexOf(column.values[row]));
      return { colour, key: [["not selected", written(NONE)], ...named] };
    }
    if (column.text) {
      const words = column.words.filter(Boolean);
      return byKind(words, (row) => words.indexOf(column.at(row)));
    }
    return byNumber(column.values, /(^|_)r(_[a-z_]+)?\[/.test(key));
  }

  function byKind(words, place) {
    const colours = words.map((_, i) => parts(saeviz.palette[i % saeviz.palette.length]));
    return { colour: (row) => colours[place(row)] ?? NONE, key: words.map((word, i) => [word, written(colours[i])]) };
  }

  /** Viridis over the range of nearly all values; for r from one colour over grey to another. */
  function byNumber(values, is_relation) {
    const known = values.filter(Number.isFinite).sort();
    if (!known.length) return { colour: () => NONE, key: [] };
    const at = (share) => known[Math.round(share * (known.length - 1))];
    let [low, high] = [at(0.01), at(0.99)];
    if (is_relation) [low, high] = [-Math.max(Math.abs(low), Math.abs(high)), Math.max(Math.abs(low), Math.abs(high))];
    const dark = matchMedia("(prefers-color-scheme: dark)").matches;
    const of = (value) => {
      const share = Math.min(1, Math.max(0, (value - low) / (high - low || 1)));
      if (!is_relation) return saeviz.viridis(dark ? 0.2 + 0.8 * share : share); // the darkest would be lost
      return share < 0.5 ? mixed(MIDDLE, MINUS, 1 - 2 * share) : mixed(MIDDLE, PLUS, 2 * share - 1);
    };
    const steps = [...Array(STEPS).keys()].map((step) => low + ((high - low) * step) / (STEPS - 1));
    const digits = Math.max(2, Math.min(6, 1 - Math.floor(Math.log10((high - low) / (STEPS - 1) || 1))));
    return { colour: (row) => (Number.isFinite(values[row]) ? of(values[row]) : NONE), key: steps.map((step) => [number(step, digits), written(of(step))]) };
  }

  saeviz.plots = async (features, rows) => {
    const all = kinds(features);
    const asked = state.get("plot", all[0][0]);
    const kind = all.some(([name]) => name === asked) ? asked : all[0][0];
    const tint = tints(features).includes(state.get("tint")) ? state.get("tint") : "tier";
    const choose = (label, key, options, chosen) => el("select", { "aria-label": label, "data-key": key, onchange: (event) => state.set({ [key]: event.target.value }) }, options.map(([value, word]) => el("option", { value, selected: value === chosen }, saeviz.plainly(word, 60))));
    const tools = el("div", { class: "bar plotbar" }, choose("Plot", "plot", all, kind));
    const { colour, key } = kind === "none" ? {} : await tinted(features, tint);
    const figure = kind === "none" ? null : await plotted(features, rows, kind, colour);
    if (!figure) return el("div", { class: "plot" }, tools);
    if (kind === "xy") {
      const [x, y] = axesOf(features);
      const options = numeric(features).map((one) => [one, saeviz.named(one)]);
      tools.append(el("label", {}, "across ", choose("Across", "x", options, x)), el("label", {}, "up ", choose("Up", "y", options, y)));
    }
    tools.append(el("label", {}, "coloured by ", choose("Coloured by", "tint", tints(features).map((one) => [one, one === "space" ? "Space" : saeviz.named(one)]), tint)));
    const name = all.find(([one]) => one === kind)[1];
    return el("div", { class: "plot" }, tools, figure.asSvg ? saeviz.savable(figure, saeviz.plainly(name, 60), key, figure.asSvg) : figure,
      el("p", { class: "note keys" }, key.map(([word, shade]) => el("span", { class: "key" }, saeviz.swatch(shade), said(word, 40)))),
      saeviz.meaning([...(kind === "xy" ? axesOf(features) : []), ...(["tier", "space"].includes(tint) ? [] : [tint])].map((one) => [saeviz.named(one), features.infoOf(one)])),
      saeviz.folded("How to use the plot", false, el("p", { class: "note" }, "Click a point to open the feature, draw a line around points to make a list, zoom with the wheel, double-click to reset. By keyboard: arrows go from point to point, Enter opens, + and − zoom.",
        kind === "ms" && features.run.tier_cutoffs?.length ? " Dashed: where the tiers begin; a feature on too few images, or like another, is not selected." : "")));
  };

  /** The border of a tier: above and to the right of a corner if it takes both, else all around it. */
  const border = ([tier, ms, r, either]) => ({ path: either ? [[ms, -Infinity], [ms, r], [-Infinity, r]] : [[ms, Infinity], [ms, r], [Infinity, r]], name: `tier ${tier}` });

  /** What an axis is called: the column, and its unit. */
  function axis(features, key) {
    const unit = features.infoOf(key)?.unit;
    return saeviz.plainly(`${saeviz.named(key)}${unit ? ` [${unit}]` : ""}`.replaceAll("\u00ad", ""), 80);
  }

  async function plotted(features, rows, kind, colour) {
    const [name, rating] = kind.split(/:(.*)/s);
    const rated = features.run.ratings.map((one) => `r[${one.name}]`).filter(features.isNumber);
    const keys = { ms: ["monosemanticity", ...rated], volcano: [`r[${rating}]`, `q[${rating}]`], null: ["ms_null_mean", "monosemanticity"], held: [`r[${rating}]`, `r_held_out[${rating}]`], map: ["map_x", "map_y"], xy: axesOf(features) }[name];
    const columns = await features.columns([...keys, "tier", "label"]);
    const [values, tier, label] = [keys.map((key) => columns.get(key).values), columns.get("tier")?.values, columns.get("label")];
    const largest = (row) => {
      let most = NaN;
      for (const column of values.slice(1)) {
        const size = Math.abs(column[row]);
        if (size === size && !(size <= most)) most = size;
      }
      return most;
    };
    const plain = { x: (row) => values[0][row], y: (row) => values[1][row] };
    const axes = {
      ms: { x: plain.x, y: largest, xName: "monosemanticity", yName: "largest |r|", guides: (features.run.tier_cutoffs ?? []).map(border) },
      volcano: { x: plain.x, y: (row) => -Math.log10(Math.max(values[1][row], 1e-300)), xName: `r with ${saeviz.plainly(rating ?? "", 40)}`, yName: "−log10 q", guides: [{ y: -Math.log10(features.run.alpha ?? 0.05), name: `q = ${features.run.alpha ?? 0.05}` }, { x: 0 }] },
      null: { ...plain, xName: "monosemanticity of images drawn at random", yName: "monosemanticity" },
      held: { ...plain, xName: "r found", yName: "r on held-out images", guides: [{ x: 0 }, { y: 0 }] },
      map: { ...plain, xName: "", yName: "" },
      xy: { ...plain, xName: axis(features, keys[0]), yName: axis(features, keys[1]) },
    }[name];
    return saeviz.scatter({
      rows, ...axes, label: kinds(features).find(([one]) => one === kind)[1],
      colour,
      large: (row) => (tier?.[row] ?? 0) > 0,
      describe: (row) => {
        return [saeviz.thumbs(features, row, 2), el("span", {}, saeviz.called(label?.at(row)), el("span", { class: "id" }, said(features.name(row))))];
      },
      onpick: (row) => state.set({ feature: features.name(row) }),
      onlasso: (chosen) => chosen.length && saeviz.openList(features, chosen),
    });
  }
}
