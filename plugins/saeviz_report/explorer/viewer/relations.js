// How a feature goes along with the ratings: every kind of correlation, its name's own, and the scatter by group.
"use strict";

{
  const { el, said, number, signed, state } = saeviz;
  const MOST_KINDS = 8; // different words that colours can tell apart: more are not offered
  const NUMBERS = /r$|^[pq]$|^r of|[Ii]mages|interval|its q|Active/; // heads of columns of numbers
  const RANK_BISERIAL = "rank-biserial r"; // twice the area under the ROC curve, less 1
  const FEWEST = 4; // images from which an interval of r can be told
  const EXACT = 1 - 1e-12; // from this size on r is 1, and Fisher's z infinite
  const RARE = 50; // active images from which on such intervals are about as wide as they should be

  /** `r` and 95 % interval with q and all that is known beside it, per rating and kind of correlation. */
  saeviz.relations = (features, columns, row) => {
    const { ratings, measures } = features.run;
    const kinds = Object.entries(measures).filter(([prefix]) => ratings.some((rating) => columns.has(`${prefix}r[${rating.name}]`)));
    const of = (name, rating) => columns.get(`${name}[${rating.name}]`)?.at(row);
    const lines = ratings.flatMap((rating) => kinds.map(([prefix, kind], place) => ({ rating, prefix, kind, first: place === 0, r: of(`${prefix}r`, rating) }))).filter(({ first, r }) => first || Number.isFinite(r));
    if (!lines.length) return null;
    const some = (name) => lines.some(({ rating, prefix }) => Number.isFinite(of(`${prefix}${name}`, rating)));
    const [corrected, heldOut] = ["r_corrected", "r_held_out"].map(some);
    const checks = heldOut ? [["q_held_out", "its q"], ["n_held_out", "its images"]].filter(([name]) => some(name)) : [];
    const limit = limitOf(lines.flatMap(({ rating, prefix }) => ["r", "ci_low", "ci_high"].map((name) => of(`${prefix}${name}`, rating))));
    const heads = ["Rating", kinds.length > 1 ? "Correlation" : null, `−${limit} to ${limit}`, "r", "95 % interval", "p", "q", "Images", corrected ? "Corrected r" : null, heldOut ? "Held-out r" : null, ...checks.map(([, word]) => word)];
    const held = /^(.*?) \((.*) held constant\)$/s; // said once, below the table
    const controls = [...new Set(kinds.map(([, kind]) => kind.match(held)).filter(Boolean).map(([, name, columns]) => `${name}: ${columns} held constant.`))];
    const cells = ({ rating, prefix, kind, first, r }) => {
      const [low, high, p, q, n] = ["ci_low", "ci_high", "p", "q", "n"].map((name) => of(`${prefix}${name}`, rating));
      return el("tr", { class: [of(`${prefix}significant`, rating) === 1 ? "significant" : "", first ? "first" : "further"].join(" ") },
        first ? el("th", { scope: "row" }, said(rating.name, 60)) : el("td", {}),
        kinds.length > 1 ? el("td", { class: "kind" }, said(kind.replace(held, "$1"), 80)) : null,
        el("td", {}, saeviz.intervalMark(r, low, high, limit)), el("td", { class: "number" }, signed(r), kind.startsWith(RANK_BISERIAL) && Number.isFinite(r) ? el("span", { class: "small" }, ` AUC ${saeviz.fixed((1 + r) / 2)}`) : null), interval(low, high), [p, q, n].map((value) => el("td", { class: "number" }, number(value))),
        corrected ? estimate(of, `${prefix}`, "_corrected", rating) : null,
        heldOut ? estimate(of, `${prefix}`, "_held_out", rating, of(`${prefix}replicated`, rating)) : null,
        checks.map(([name]) => el("td", { class: "number" }, number(of(`${prefix}${name}`, rating)))));
    };
    return el("section", {}, el("h3", {}, "Correlations with ratings"), table("Correlations with ratings", heads, lines.map(cells)),
      el("p", { class: "note" }, "Bold: significant. ", controls.map((text) => [said(text, 200), " "]), corrected ? "Corrected r allows for selection: relations that were found significant tend to look stronger than they are. " : "", heldOut ? "Held-out r is from images that took no part in finding the feature; ✓ means replicated, ✗ not." : ""));
  };

  const limitOf = (values) => Math.min(1, Math.max(0.1, Math.ceil(10 * Math.max(0, ...values.filter(Number.isFinite).map(Math.abs))) / 10));
  const interval = (low, high) => el("td", { class: "number" }, Number.isFinite(low) ? `${signed(low)} to ${signed(high)}` : "–");
  const table = (label, heads, rows) => saeviz.wide(label, el("table", { class: "plain" },
    el("thead", {}, el("tr", {}, heads.filter((word) => word !== null).map((word) => el("th", { scope: "col", class: NUMBERS.test(word) ? "number" : "" }, word)))), el("tbody", {}, rows)));

  function estimate(of, prefix, ending, rating, replicated) {
    const [r, low, high] = ["r", "ci_low", "ci_high"].map((name) => of(`${prefix}${name}${ending}`, rating));
    const mark = { 0: " ✗", 1: " ✓" }[replicated] ?? "";
    return el("td", { class: "number" }, signed(r), mark ? el("span", { title: mark === " ✓" ? "replicated" : "not replicated" }, mark) : null, Number.isFinite(low) ? el("span", { class: "small" }, ` ${signed(low)} to ${signed(high)}`) : null);
  }

  /** Whether the name predicts the ratings: the judge's scores of held-out images, beside the feature's own r there. */
  saeviz.labelRatings = (found) => found?.length ? el("section", {}, el("h3", {}, "Does the name predict the rating?"),
    el("p", { class: "note" }, "Correlation of each rating with how well the name fits an image according to the judge, and with the feature's activation on the same images."),
    table("Does the name predict the rating?", ["Rating", "r of the name", "95 % interval", "q", "r of the feature", "95 % interval", "Images"], found.map((row) => el("tr", {},
      el("th", { scope: "row" }, said(row.rating, 60)), el("td", { class: "number" }, signed(row.r)), interval(row.ci_low ?? NaN, row.ci_high), el("td", { class: "number" }, number(row.q)),
      el("td", { class: "number" }, signed(row.r_feature)), interval(row.ci_low_feature ?? NaN, row.ci_high_feature), el("td", { class: "number" }, number(row.n)))))) : null;

  /** What images can be told apart by: groups, and columns of text with few different words. */
  saeviz.kindsOf = (items, most = MOST_KINDS) => {
    const all = [...(items.groups ? [["group", items.groups]] : []), ...items.metadata];
    const known = all.map(([name, packed]) => [name, saeviz.column(packed)]);
    return new Map(known.filter(([, column]) => {
      const words = column.words.filter(Boolean).length;
      return words > 1 && words <= most && 2 * words <= column.length;
    }));
  };

  /** Pearson's r of pairs with its 95 % interval by Fisher's z, NaN if r is 1; null where one of the two does not vary. */
  saeviz.pearson = (points) => {
    const n = points.length;
    const varies = (of) => points.some((point) => of(point) !== of(points[0])); // sums of squares are seldom exactly 0
    if (!varies((point) => point.x) || !varies((point) => point.y)) return null;
    const mean = (of) => points.reduce((sum, point) => sum + of(point), 0) / n;
    const [mx, my] = [mean((point) => point.x), mean((point) => point.y)];
    let [xx, yy, xy] = [0, 0, 0];
    for (const { x, y } of points) {
      xx += (x - mx) ** 2;
      yy += (y - my) ** 2;
      xy += (x - mx) * (y - my);
    }
    if (!(xx > 0 && yy > 0)) return null;
    const r = Math.max(-1, Math.min(1, xy / Math.sqrt(xx * yy)));
    const [z, half] = n >= FEWEST && Math.abs(r) < EXACT ? [Math.atanh(r), 1.959964 / Math.sqrt(n - 3)] : [NaN, NaN];
    return { r, n, low: Math.tanh(z - half), high: Math.tanh(z + half) };
  };

  /** A rating against the activation, coloured by group or category, with r within each; first the one of the largest |r| (`of` a name). */
  saeviz.against = (features, items, { items: where, values }, of = () => NaN) => {
    const names = items.ratings.map(([name]) => name);
    if (!names.length || !where.length) return null;
    const kinds = saeviz.kindsOf(items);
    const rating = names.includes(state.get("against")) ? state.get("against") : names.reduce((best, name) => (Math.abs(of(name)) > (Math.abs(of(best)) || 0) ? name : best));
    const by = kinds.has(state.get("hue")) ? state.get("hue") : state.get("hue") === "none" ? "" : kinds.has("group") ? "group" : "";
    const column = kinds.get(by);
    const words = column ? column.words.filter(Boolean) : [];
    const colours = (word) => saeviz.palette[words.indexOf(word) % saeviz.palette.length];
    const activations = new Map([...where].map((item, i) => [item, values[i]]));
    const rated = saeviz.column(items.ratings.find(([name]) => name === rating)[1]);
    const points = items.ids.map((id, item) => ({ x: activations.get(item) ?? 0, y: rated.at(item), name: id, group: column?.at(item) })).filter(({ y }) => Number.isFinite(y));
    const choose = (label, key, options, chosen) => el("select", { "aria-label": label, "data-key": key, onchange: (event) => state.set({ [key]: event.target.value }, { replace: true }) }, options.map(([value, word]) => el("option", { value, selected: value === chosen }, saeviz.plainly(word, 60))));
    const picture = saeviz.pointChart({ points, xName: "activation", yName: rating, label: `${saeviz.plainly(rating)} against activation`, colours: column ? colours : null, width: 460, height: 280, onpick: (point) => state.set({ view: "image", image: point.name, feature: "" }) });
    return el("section", { class: "against" }, el("h3", {}, "Rating against activation"),
      el("div", { class: "bar" }, choose("Rating", "against", names.map((name) => [name, name]), rating), kinds.size ? el("label", {}, "coloured by ", choose("Coloured by", "hue", [["none", "nothing"], ...[...kinds.keys()].map((name) => [name, name])], by || "none")) : null),
      saeviz.savable(picture, `${saeviz.plainly(rating, 40)} against activation`, column ? words.map((word) => [word, colours(word)]) : []),
      column ? within(by, words, points, colours) : null);
  };

  function within(by, words, points, colours) {
    const found = words.map((word) => [word, points.filter((point) => point.group === word)]).map(([word, own]) => [word, own.length, own.filter((point) => point.x > 0).length, own.length > 1 ? saeviz.pearson(own) : null]);
    return [table(`r within each ${by}`, [saeviz.plainly(by, 40), "Images", "Active", "Pearson's r", "95 % interval"], found.map(([word, n, active, r]) => el("tr", {},
      el("th", { scope: "row" }, saeviz.swatch(colours(word)), said(word, 60)), el("td", { class: "number" }, number(n)), el("td", { class: "number" }, number(active)), el("td", { class: "number" }, signed(r?.r)), interval(r?.low ?? NaN, r?.high)))),
      el("p", { class: "note" }, `Intervals by Fisher's z, which assumes independent images. They are too narrow where the feature fires on fewer than ${RARE} images.`)];
  }

  saeviz.swatch = (colour) => {
    const mark = el("span", { class: "swatch" });
    mark.style.background = colour;
    return mark;
  };
}
