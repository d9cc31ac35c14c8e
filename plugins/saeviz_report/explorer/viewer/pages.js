// Images, one image, and lists of features.
"use strict";

{
  const { el, said, number, state, need } = saeviz;
  const A_PAGE = 120;
  const MOST_IN_ADDRESS = 400;

  saeviz.imagesView = async () => {
    const items = await need("items");
    const orders = [["", "In the order of the run"], ...["ratings", "numbers"].flatMap((part) => items[part].map(([name]) => [`${part}:${name}`, name]))];
    const order = state.get("by");
    const words = state.get("iq").trim().toLowerCase();
    const texts = items.metadata.map(([, packed]) => saeviz.column(packed));
    let rows = items.ids.map((_, item) => item);
    if (words) rows = rows.filter((item) => words.split(/\s+/).every((word) => `${items.ids[item]} ${texts.map((text) => text.at(item)).join(" ")}`.toLowerCase().includes(word)));
    const [part, name] = order.replace(/^-/, "").split(/:(.*)/s);
    const packed = ["ratings", "numbers"].includes(part) && items[part].find(([one]) => one === name)?.[1];
    const values = packed ? saeviz.column(packed) : null;
    if (values) rows = [...saeviz.sorted(Uint32Array.from(rows), values, order.startsWith("-"))];
    const shown = Math.max(A_PAGE, Number(state.get("shown")) || 0);
    const choose = el("select", { "aria-label": "Order", onchange: () => state.set({ by: choose.value && `-${choose.value}`, shown: "" }) }, orders.map(([key, word]) => el("option", { value: key, selected: order.replace(/^-/, "") === key }, saeviz.plainly(word, 60))));
    const search = el("input", { type: "search", placeholder: "Search ids and texts", "aria-label": "Search ids and texts", value: state.get("iq"), onchange: () => state.set({ iq: search.value, shown: "" }) });
    return [el("div", { class: "bar" }, search, el("label", {}, "Sorted by ", choose), values ? el("button", { type: "button", "data-key": "direction", onclick: () => state.set({ by: order.startsWith("-") ? order.slice(1) : `-${order}` }) }, order.startsWith("-") ? "highest first ↓" : "lowest first ↑") : null, el("output", {}, `${number(rows.length)} images`)),
      el("div", { class: "wall" }, rows.slice(0, shown).map((item) => saeviz.picture(items, item, values ? number(values.at(item), 2) : ""))),
      rows.length > shown ? el("p", {}, el("button", { type: "button", "data-key": "more", onclick: () => state.set({ shown: String(shown + 2 * A_PAGE) }, { replace: true }) }, `Show more of the other ${number(rows.length - shown)}`)) : null];
  };

  /** The images most like one, by its place; without embeddings none. */
  async function nearest(items, item) {
    if (saeviz.live) return (await saeviz.live.once("image", { item: items.ids[item] })).nearest.map((one) => one.place);
    if (!items.nearest) return [];
    return [...saeviz.unpack(items.nearest).subarray(item * items.n_nearest, (item + 1) * items.n_nearest)].filter((other) => other !== item);
  }

  saeviz.imageView = async (features) => {
    const items = await need("items");
    const id = state.get("image");
    const item = items.ids.indexOf(id);
    if (item < 0) return [el("p", { class: "note" }, "The run has no image ", said(id, 200), ".")];
    const found = await saeviz.featuresOf(features, item);
    const columns = await features.columns(["label", "tier"]);
    const large = saeviz.small(items, item, { alt: saeviz.plainly(id, 120) }, 800);
    const line = (word, value) => el("div", {}, el("dt", {}, said(word, 80)), el("dd", {}, value));
    const rated = items.ratings.map(([name, packed]) => line(name, number(saeviz.column(packed).at(item), 2)));
    const group = items.groups ? saeviz.column(items.groups).at(item) : "";
    const numbers = items.numbers.map(([name, packed]) => line(name, number(saeviz.column(packed).at(item))));
    const texts = items.metadata.map(([name, packed]) => [name, saeviz.column(packed).at(item)]).filter(([, text]) => text !== "");
    const near = await nearest(items, item);
    return [el("div", { class: "bar" }, el("a", { href: saeviz.link({ view: "images", image: "" }) }, "← All images")),
      el("h2", {}, said(id, 300)),
      el("div", { class: "two" },
        el("div", { class: "large" }, large ?? el("p", { class: "note" }, "No picture of this image is stored.")),
        el("div", {}, rated.length ? [el("h3", {}, "Ratings"), el("dl", { class: "figures" }, rated)] : null, group ? el("p", {}, "Group: ", said(group, 100)) : null, texts.length ? el("dl", { class: "figures" }, texts.map(([name, text]) => line(name, said(text, 1000)))) : null, numbers.length ? el("details", {}, el("summary", {}, "Figures of this image"), el("dl", { class: "figures" }, numbers)) : null)),
      found ? fired(features, columns, found) : null,
      near.length ? el("section", {}, el("h3", {}, "Most similar images"), el("p", { class: "note" }, "By the embedding in which monosemanticity is measured."), el("div", { class: "strip" }, near.map((other) => saeviz.picture(items, other)))) : null];
  };

  function fired(features, columns, { items: rows, values }) {
    const only = state.get("all") !== "1";
    const tier = columns.get("tier")?.values;
    const chosen = [...rows.keys()].filter((i) => !only || (tier && tier[rows[i]] > 0));
    const largest = values[0] ?? 1;
    return el("section", {}, el("h3", {}, `${number(rows.length)} features fire on it`),
      el("label", { class: "box" }, el("input", { type: "checkbox", "data-key": "all", checked: !only, onchange: (event) => state.set({ all: event.target.checked ? "1" : "" }) }), el("span", {}, "also show features that were not selected")),
      chosen.length ? el("ol", { class: "fired" }, chosen.slice(0, 200).map((i) => {
        const bar = el("span", { class: "amount" });
        bar.style.width = `${(100 * values[i]) / largest}%`;
        return el("li", {}, el("a", { href: saeviz.link({ feature: features.name(rows[i]) }) }, columns.get("label")?.at(rows[i]) ? [el("strong", {}, said(columns.get("label").at(rows[i]), 60)), " "] : null, el("span", { class: "id" }, said(features.name(rows[i])))), el("span", { class: "track" }, bar), el("span", { class: "number" }, number(values[i], 2)));
      })) : el("p", { class: "note" }, "None of these features was selected."));
  }

  // ---- lists: they live in the address, so that a link carries them ----

  const packList = (features, rows) => {
    const parts = new Map();
    for (const row of rows) {
      const space = features.spaceOf(row);
      if (!parts.has(space)) parts.set(space, []);
      parts.get(space).push(row - features.starts[space]);
    }
    return [...parts].map(([space, indices]) => `${features.spaces[space].name}:${indices.join(",")}`).join(";");
  };
  const unpackList = (features, text) => text.split(";").flatMap((part) => {
    const cut = part.lastIndexOf(":");
    return part.slice(cut + 1).split(",").map((index) => features.row(`${part.slice(0, cut)}/${index}`)).filter((row) => row >= 0);
  });
  const names = () => [...state.read().keys()].filter((key) => key.startsWith("list.")).map((key) => key.slice(5));
  const held = new Map(); // lists too long for an address, until the page is closed

  saeviz.openList = (features, rows, name = "") => {
    let word = name;
    for (let n = 1; !word || (!name && (names().includes(word) || held.has(word))); n++) word = `list ${n}`;
    if (rows.length > MOST_IN_ADDRESS) held.set(word, rows);
    state.set({ view: "lists", list: word, feature: "", [`list.${word}`]: rows.length > MOST_IN_ADDRESS ? "" : packList(features, rows) });
  };
  const rowsOf = (features, name) => held.get(name) ?? Uint32Array.from(new Set(unpackList(features, state.get(`list.${name}`))));

  /** A button that adds features to a list, or makes one of them. */
  saeviz.listButton = (rows, features) => {
    const add = (name) => {
      const [joined, into] = [name ? Uint32Array.from(new Set([...rowsOf(features, name), ...rows])) : Uint32Array.from(rows), name];
      menu.open = false;
      saeviz.openList(features, joined, into);
    };
    const known = [...new Set([...names(), ...held.keys()])];
    const menu = el("details", { class: "menu" }, el("summary", {}, rows.length === 1 ? "Add to list" : "Add these to a list"), el("div", { class: "choices" }, known.map((name) => el("button", { type: "button", onclick: () => add(name) }, said(name, 60))), el("button", { type: "button", onclick: () => add("") }, "New list")));
    return menu;
  };

  saeviz.listsView = async (features) => {
    const known = [...new Set([...names(), ...held.keys()])];
    if (!known.length) return [el("h2", {}, "Lists"), el("p", { class: "note" }, "There is no list yet. Draw a line around points of a plot, or choose “Add to list” on a feature's card. Lists are part of the address: a link to this page contains them.")];
    const name = known.includes(state.get("list")) ? state.get("list") : known[0];
    const rows = rowsOf(features, name);
    const columns = await features.columns(["label", "tier", ...features.run.ratings.map((rating) => `r[${rating.name}]`)]);
    const items = await need("items");
    const rename = el("input", { value: name, "aria-label": "Name of the list", onchange: () => {
      const next = rename.value.trim().slice(0, 80);
      if (!next || next === name || known.includes(next)) return;
      if (held.has(name)) held.set(next, rows);
      held.delete(name);
      state.set({ [`list.${name}`]: "", [`list.${next}`]: held.has(next) ? "" : packList(features, rows), list: next });
    } });
    const records = () => [...rows].map((row) => ({ feature: features.name(row), ...Object.fromEntries([...columns].map(([key, column]) => [key, Number.isNaN(column.at(row)) ? null : column.at(row)])) }));
    const csv = () => [["feature", ...columns.keys()].map(saeviz.field).join(","), ...records().map((record) => Object.values(record).map((value) => saeviz.field(value ?? NaN)).join(","))].join("\r\n") + "\r\n";
    return [el("h2", {}, "Lists"),
      el("div", { class: "bar" }, known.map((one) => el("a", { class: one === name ? "chosen" : "", href: saeviz.link({ list: one }) }, said(one, 60)))),
      el("div", { class: "bar" }, rename, el("output", {}, `${number(rows.length)} features`), el("button", { type: "button", onclick: () => saeviz.save(`${name.replace(/[^\w-]+/g, "-")}.csv`, "text/csv", csv()) }, "CSV"), el("button", { type: "button", onclick: () => saeviz.save(`${name.replace(/[^\w-]+/g, "-")}.json`, "application/json", JSON.stringify(records(), null, 1)) }, "JSON"),
        el("button", { type: "button", onclick: () => { held.delete(name); state.set({ [`list.${name}`]: "", list: "" }); } }, "Delete")),
      held.has(name) ? el("p", { class: "note" }, `More than ${MOST_IN_ADDRESS} features do not fit into the address: this list is lost when the page is closed. Save it as CSV or JSON.`) : null,
      el("ul", { class: "tiles" }, await Promise.all([...rows.slice(0, 300)].map(async (row) => {
        const images = await saeviz.imagesOf(features, row);
        const remove = () => {
          const left = rows.filter((one) => one !== row);
          if (held.has(name)) held.set(name, left);
          state.set({ [`list.${name}`]: left.length > MOST_IN_ADDRESS ? "" : packList(features, left) });
          if (held.has(name)) window.dispatchEvent(new HashChangeEvent("hashchange"));
        };
        return el("li", {}, el("a", { class: "tile", href: saeviz.link({ feature: features.name(row) }) }, el("span", { class: "thumbs" }, images ? [...images.items.slice(0, 3)].map((item) => saeviz.small(items, item)) : null), el("span", {}, el("strong", {}, columns.get("label")?.at(row) ? said(columns.get("label").at(row), 60) : "not named"), el("span", { class: "id" }, said(features.name(row))))), el("button", { type: "button", "aria-label": `Remove ${features.name(row)}`, onclick: remove }, "×"));
      })))];
  };
}
