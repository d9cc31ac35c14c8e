// Which features are wanted: words, kinds, ranges. All of it stands in the address.
"use strict";

{
  const { el, state, number, said } = saeviz;
  const MOST_IMAGES = 5; // whose features a search looks for: an id that is still being typed fits many

  const MOST_RATINGS = 6; // with filters of their own
  const MOST_WORDS = 30; // of a column with a box for each

  /** The columns whose few different values are boxes to tick; those about a rating are further down, by rating. */
  saeviz.facetKeys = (features) => [...new Set(["tier", "ms_class", "verdict", "mark", ...inUse(features)])].filter((key) => features.heads.has(key) && (key === "tier" || !features.isNumber(key)) && key !== "label");
  const ofRating = (features, { name }) => {
    const prefixes = Object.keys(features.run.measures);
    return [...prefixes.map((prefix) => `${prefix}significant[${name}]`), `sign[${name}]`, `replicated[${name}]`, `negligible[${name}]`].filter((key) => features.heads.has(key));
  };
  /** The columns with a histogram to brush. */
  saeviz.rangeKeys = (features) => {
    const ratings = features.run.ratings.slice(0, 6).map((rating) => `r[${rating.name}]`);
    const known = ["monosemanticity", ...ratings, "n_active", "max", "confidence", "selection_stability"];
    return [...new Set([...known, ...inUse(features)])].filter((key) => features.isNumber(key) && key !== "tier");
  };
  /** The columns that are shown, sorted by, drawn or filtered already, whoever gives them. */
  const inUse = (features) => {
    const asked = [...state.read().keys()].filter((key) => /^[fr]\./.test(key)).map((key) => key.slice(2));
    const drawn = ["tint", ...(state.get("plot") === "xy" ? ["x", "y"] : [])].map((key) => state.get(key));
    return [...saeviz.featureColumns(features), state.get("sort").replace(/^-/, ""), ...drawn, ...asked].filter((key) => !/(significant|replicated|negligible)\[|^sign\[/.test(key));
  };

  const named = new Map(Object.entries({ tier: "Tier", ms_class: "Monosemanticity class", verdict: "Verdict on the name", mark: "Mark", note: "Note", labelers_label: "Label by the labeler", monosemanticity: "Monoseman\u00adticity", n_active: "Active images", max: "Largest activation", confidence: "Confidence of the name", label: "Name", rank: "Rank", selection_stability: "Stability of the selection", tier_stability: "Stability of the tier", cluster: "Cluster", cluster_size: "Cluster size", mean: "Mean activation", ms_q: "q of MS", ms_p: "p of MS", ms_z: "z of MS" }));
  /** What a column is called on the page. */
  saeviz.title = (key) => {
    if (named.has(key)) return named.get(key);
    const rating = key.match(/^(.*?)\[(.*)\]$/s);
    if (!rating) return saeviz.plainly(key.replaceAll("_", " "), 80);
    const of = saeviz.plainly(rating[2], 40);
    if (rating[1] === "r") return of;
    return ["significant", "replicated", "sign"].includes(rating[1]) ? `${of}: ${rating[1]}` : `${saeviz.plainly(rating[1].replaceAll("_", " "), 80)} with ${of}`;
  };

  /** The same where no heading says that the number is r. */
  saeviz.named = (key) => (key.startsWith("r[") ? `r with ${saeviz.title(key)}` : saeviz.title(key));

  /** In words what columns are, `[what it is called, what is known of it]`; null if nothing is known of any. */
  saeviz.meaning = (columns) => {
    const known = columns.filter(([, info], place) => info?.words && columns.findIndex(([, other]) => other === info) === place);
    return known.length ? el("p", { class: "note meaning" }, known.map(([title, { words }]) => el("span", {}, el("strong", {}, said(title, 80)), `: ${saeviz.plainly(words, 500)}. `))) : null;
  };

  const isFilter = (key) => /^[fr]\.|^q$|^space$/.test(key);

  /** What the address asks for: for each of its keys a mask over the rows. Those of what is asked for again are kept. */
  saeviz.wanted = async (features) => {
    const found = new Map();
    for (const [key, asked] of state.read()) {
      if (!isFilter(key) || found.has(key)) continue;
      const before = features.masks.get(key);
      const mask = before?.asked === asked ? before.mask : await maskOf(features, key, asked);
      if (mask) found.set(key, { asked, mask });
    }
    features.masks = found;
    return new Map([...found].map(([key, { mask }]) => [key, mask]));
  };

  const masked = (n, test) => {
    const mask = new Uint8Array(n);
    for (let row = 0; row < n; row++) if (test(row)) mask[row] = 1;
    return mask;
  };

  /** The rows that one key lets through; null where it says nothing that can be tested. */
  async function maskOf(features, key, asked) {
    if (!(key === "q" ? asked.trim() : asked)) return null;
    if (key === "q") return searched(features, asked.trim().toLowerCase());
    if (key === "space") {
      const kept = new Set(saeviz.split(asked));
      const mask = new Uint8Array(features.n);
      features.spaces.forEach((space, place) => kept.has(space.name) && mask.fill(1, features.starts[place], features.starts[place + 1]));
      return mask;
    }
    const column = (await features.columns([key.slice(2)])).get(key.slice(2));
    if (!column) return null;
    if (key.startsWith("f.")) {
      const kept = new Set(saeviz.split(asked));
      if (!column.text) return masked(features.n, (row) => kept.has(String(column.values[row])));
      const ok = column.words.map((word) => kept.has(word));
      return masked(features.n, (row) => ok[column.codes[row]]);
    }
    const range = asked.split("..").map(Number);
    if (column.text || range.length !== 2 || !range.every(Number.isFinite)) return null;
    return masked(features.n, (row) => column.values[row] >= range[0] && column.values[row] <= range[1]);
  }

  /** Words are looked for in names of features, labels and descriptions; several must all be there. */
  async function searched(features, text) {
    const words = text.split(/\s+/);
    const [cards, columns] = [await saeviz.need("labels"), await features.columns(["label"])];
    const label = columns.get("label");
    const long = new Map(Object.entries(cards).map(([row, card]) => [Number(row), `${card.description ?? ""} ${(card.elements ?? []).join(" ")} ${card.why ?? ""}`.toLowerCase()]));
    const lower = label?.words.map((word) => word.toLowerCase());
    const pictured = await withImage(features, words);
    return masked(features.n, (row) => {
      const told = `${lower ? lower[label.codes[row]] : ""} ${long.get(row) ?? ""} ${features.name(row).toLowerCase()} ${saeviz.notedWords(features, row)}`;
      return pictured.has(row) || words.every((word) => told.includes(word));
    });
  }

  /** The selected features among whose top images is one whose id has all the words; of many such images none. */
  async function withImage(features, words) {
    const { ids } = await saeviz.need("items");
    const named = [...ids.keys()].filter((item) => words.every((word) => ids[item].toLowerCase().includes(word)));
    const rows = new Set();
    if (named.length > MOST_IMAGES) return rows;
    const tier = (await features.columns(["tier"])).get("tier").values;
    for (const item of named) {
      const fired = [...((await saeviz.featuresOf(features, item))?.items ?? [])].filter((row) => tier[row] > 0);
      const images = await Promise.all(fired.map((row) => saeviz.imagesOf(features, row)));
      fired.forEach((row, i) => images[i].items.subarray(0, features.run.top_images).includes(item) && rows.add(row));
    }
    return rows;
  }

  /**
   * The panel beside the table. Counts and histograms are of the rows that fit everything else, so that a choice can be
   * widened again; they are made anew only where something else is chosen.
   */
  saeviz.filterPanel = async (features) => {
    const [facets, ranges] = [saeviz.facetKeys(features), saeviz.rangeKeys(features)];
    const ratings = features.run.ratings.slice(0, MOST_RATINGS).map((rating) => [rating.name, ofRating(features, rating)]);
    const [columns, masks] = [await features.columns([...facets, ...ranges, ...ratings.flatMap(([, keys]) => keys)]), await saeviz.wanted(features)];
    const rowsBut = new Map();
    const others = (key) => {
      const but = masks.has(key) ? key : "";
      if (!rowsBut.has(but)) rowsBut.set(but, saeviz.matching(features.n, [...masks].filter(([one]) => one !== but).map(([, mask]) => mask)));
      return rowsBut.get(but);
    };
    const counted = (key, count) => {
      const asked = JSON.stringify([...state.read()].filter(([one]) => isFilter(one) && one !== key));
      if (features.counted.get(key)?.asked !== asked) features.counted.set(key, { asked, found: count(columns.get(key.slice(2)), others(key)) });
      return features.counted.get(key).found;
    };
    const panel = [];
    if (features.spaces.length > 1) panel.push(boxes("space", "Space", features.spaces.map((space) => [space.name, space.n])));
    const facet = (key, title) => {
      if (columns.get(key).words?.length > MOST_WORDS && !state.get(`f.${key}`)) return null;
      const counts = counted(`f.${key}`, countsOf);
      return counts.length > 1 || state.get(`f.${key}`) ? boxes(`f.${key}`, title, counts, features.infoOf(key)?.words) : null;
    };
    for (const key of facets) panel.push(facet(key, saeviz.title(key)));
    for (const [name, keys] of ratings) {
      const own = keys.map((key) => facet(key, aspect(features, key))).filter(Boolean);
      if (own.length) panel.push(el("details", { class: "of-rating", open: ratings.length <= 2 || keys.some((key) => state.get(`f.${key}`)) }, el("summary", {}, said(name, 60)), own));
    }
    for (const key of ranges) {
      const binned = counted(`r.${key}`, (column, rows) => saeviz.binned(finite(column.values, rows)));
      const range = state.get(`r.${key}`).split("..").map(Number);
      const chosen = range.length === 2 && range.every(Number.isFinite) ? range : null;
      if (!binned && !chosen) continue;
      panel.push(el("fieldset", {}, el("legend", { title: features.infoOf(key)?.words }, saeviz.named(key)),
        saeviz.histogram({ binned, label: saeviz.named(key), range: chosen, onrange: (ends) => state.set({ [`r.${key}`]: ends ? ends.map((end) => Number(end.toPrecision(6))).join("..") : "" }) }),
        ends(key, chosen)));
    }
    return panel.filter(Boolean);
  };

  /** What a filter about a rating is called below the name of the rating. */
  function aspect(features, key) {
    const name = key.slice(0, key.indexOf("["));
    if (name === "sign") return "Sign of r";
    if (name === "replicated") return "Replicated on held-out images";
    if (name === "negligible") return "Shown to be negligible";
    const measure = (features.run.measures[name.replace(/significant$/, "")] ?? "").replace(/ \(.*\)$/s, "");
    return Object.keys(features.run.measures).length > 1 ? `Significant: ${saeviz.plainly(measure, 40)}` : "Significant";
  }

  /** The numbers in some rows of a column. */
  function finite(values, rows) {
    const found = new values.constructor(rows.length);
    let n = 0;
    for (let i = 0; i < rows.length; i++) if (Number.isFinite(values[rows[i]])) found[n++] = values[rows[i]];
    return found.subarray(0, n);
  }

  /** The same range by keyboard. */
  function ends(key, chosen) {
    const box = (place, word) => el("input", { type: "number", step: "any", "aria-label": `${saeviz.title(key)} ${word}`, placeholder: word, value: chosen ? Number(chosen[place].toPrecision(4)) : "", onchange: change });
    const [low, high] = [box(0, "from"), box(1, "to")];
    function change() {
      const found = [low.value === "" ? -1e30 : Number(low.value), high.value === "" ? 1e30 : Number(high.value)];
      state.set({ [`r.${key}`]: low.value === "" && high.value === "" ? "" : found.join("..") });
    }
    return el("div", { class: "ends" }, low, high);
  }

  function countsOf(column, rows) {
    const counts = new Map();
    for (const row of rows) {
      const code = column.text ? column.codes[row] : column.values[row];
      counts.set(code, (counts.get(code) ?? 0) + 1);
    }
    const named = [...counts].filter(([code]) => !Number.isNaN(code)).map(([code, n]) => [column.text ? column.words[code] : String(code), n]);
    return named.sort((a, b) => a[0].localeCompare(b[0], "en", { numeric: true })).slice(0, MOST_WORDS);
  }

  function boxes(key, title, counts, words) {
    const chosen = new Set(saeviz.split(state.get(key)).filter((word) => word !== "" || state.read().has(key)));
    const shown = [...counts];
    for (const word of chosen) if (!shown.some(([one]) => one === word)) shown.push([word, 0]);
    const change = (word, on) => {
      if (on) chosen.add(word);
      else chosen.delete(word);
      state.set({ [key]: saeviz.join([...chosen]) });
    };
    return el("fieldset", {}, el("legend", { title: words }, title),
      shown.map(([word, n]) => el("label", { class: "box" },
        el("input", { type: "checkbox", "data-key": `${key}=${word}`, checked: chosen.has(word), onchange: (event) => change(word, event.target.checked) }),
        el("span", {}, said(spoken(key, word), 60)), el("span", { class: "count" }, number(n)))));
  }

  function spoken(key, word) {
    if (word === "") return "none";
    if (key === "f.tier") return word === "0" ? "not selected" : `tier ${word}`;
    if (/^f\.\w*(significant|replicated|negligible)\[/.test(key)) return word === "1" ? "yes" : "no";
    if (key.startsWith("f.sign[")) return word === "positive" ? "r > 0" : "r < 0";
    return word;
  }

  /** Takes every choice back. */
  saeviz.clearFilters = () => {
    const found = state.read();
    state.set(Object.fromEntries([...found.keys()].filter((key) => /^[fr]\.|^q$|^space$/.test(key)).map((key) => [key, ""])));
  };
}
