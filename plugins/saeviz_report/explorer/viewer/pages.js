// Lists of features.
"use strict";

{
  const { el, said, state } = saeviz;
  const MOST_IN_ADDRESS = 400;

  // They live in the address, so that a link carries them.

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

  /** What a file of a saved list has: its name, rows, and how many features are not of this run. */
  function readList(features, text) {
    let found = null;
    try {
      found = JSON.parse(text);
    } catch {
      // not JSON, so not a list either
    }
    const entries = Array.isArray(found) ? found : found?.features;
    if (!Array.isArray(entries)) throw new Error("This file is not a list: open one that was saved here as JSON.");
    const rows = entries.map((one) => String(one?.feature ?? one)).map((name) => (/\/\d+$/.test(name) ? features.row(name) : -1));
    return { name: typeof found.list === "string" ? found.list : "", rows: Uint32Array.from(new Set(rows.filter((row) => row >= 0))), missing: rows.filter((row) => row < 0).length };
  }

  /** A button that opens a saved list. */
  function openButton(features) {
    const says = (text) => {
      notice = text;
      anew();
    };
    const read = async ([file]) => {
      if (!file) return;
      if (file.size > MOST_BYTES) return says(`This file is larger than ${MOST_BYTES >> 20} MB, so it is not a list.`);
      try {
        const { name, rows, missing } = readList(features, await file.text());
        notice = missing ? `Left out: ${saeviz.counted(missing, "feature")} not in this run.` : "";
        if (!rows.length) return says("No feature of this list is in this run.");
        saeviz.openList(features, rows, free(name.trim().slice(0, 80) || "list"));
      } catch (error) {
        says(error.message);
      }
    };
    const input = el("input", { type: "file", accept: ".json,application/json", hidden: true, onchange: () => read(input.files) });
    return [input, el("button", { type: "button", "data-key": "open", onclick: () => input.click() }, "Open JSON")];
  }
  /** Shows the lists again where their address stays the same. */
  const anew = () => {
    saeviz.outdated = true;
    window.dispatchEvent(new HashChangeEvent("hashchange"));
  };
  const MOST_BYTES = 2 ** 24;
  let notice = ""; // what is to be said when lists are shown next

  /** A name that no list has yet. */
  const free = (word) => {
    const taken = new Set([...names(), ...held.keys()]);
    for (let n = 1; ; n++) if (!taken.has(n === 1 ? word : `${word} ${n}`)) return n === 1 ? word : `${word} ${n}`;
  };

  /** Of a feature in a list: its tier, and the rating of its largest r. */
  function strongest(features, columns, row) {
    const rated = features.run.ratings.map(({ name }) => [name, columns.get(`r[${name}]`)?.at(row)]).filter(([, r]) => Number.isFinite(r));
    const [name, r] = rated.reduce((best, one) => (Math.abs(one[1]) > Math.abs(best[1]) ? one : best), rated[0] ?? ["", NaN]);
    const tier = columns.get("tier")?.at(row);
    return [tier ? ` · tier ${tier}` : "", Number.isFinite(r) ? [" · ", said(name, 24), ` ${saeviz.signed(r)}`] : ""];
  }

  saeviz.listsView = async (features) => {
    const known = [...new Set([...names(), ...held.keys()])];
    const notices = notice ? el("p", { class: "warnings", role: "status" }, said(notice, 400)) : null;
    notice = "";
    if (!known.length) return [el("h2", {}, "Lists"), notices, el("p", { class: "note" }, "There is no list yet. Draw a line around points of a plot, or choose “Add to list” on a feature's card. Lists are part of the address: a link to this page contains them."), el("div", { class: "bar" }, openButton(features))];
    const name = known.includes(state.get("list")) ? state.get("list") : known[0];
    const rows = rowsOf(features, name);
    const columns = await features.columns(["label", "labelers_label", "mark", "note", "tier", ...features.run.ratings.map((rating) => `r[${rating.name}]`)]);
    const rename = el("input", { value: name, "aria-label": "Name of the list", onchange: () => {
      const next = rename.value.trim().slice(0, 80);
      rename.setCustomValidity(next !== name && known.includes(next) ? "There is already a list with this name." : "");
      if (!rename.reportValidity() || !next || next === name) return;
      if (held.has(name)) held.set(next, rows);
      held.delete(name);
      state.set({ [`list.${name}`]: "", [`list.${next}`]: held.has(next) ? "" : packList(features, rows), list: next });
    } });
    const records = () => [...rows].map((row) => ({ feature: features.name(row), ...Object.fromEntries([...columns].map(([key, column]) => [key, Number.isNaN(column.at(row)) ? null : column.at(row)])) }));
    const csv = () => [["feature", ...columns.keys()].map(saeviz.field).join(","), ...records().map((record) => Object.values(record).map((value) => saeviz.field(value ?? NaN)).join(","))].join("\r\n") + "\r\n";
    return [el("h2", {}, "Lists"),
      el("div", { class: "bar" }, known.map((one) => el("a", { class: one === name ? "chosen" : "", href: saeviz.link({ list: one }) }, said(one, 60)))),
      el("div", { class: "bar" }, rename, el("output", {}, saeviz.counted(rows.length, "feature")), el("button", { type: "button", onclick: () => saeviz.save(`${name.replace(/[^\w-]+/g, "-")}.csv`, "text/csv", csv()) }, "CSV"), el("button", { type: "button", onclick: () => saeviz.save(`${name.replace(/[^\w-]+/g, "-")}.json`, "application/json", JSON.stringify({ list: name, features: records() }, null, 1)) }, "JSON"), openButton(features),
        el("button", { type: "button", onclick: () => { held.delete(name); state.set({ [`list.${name}`]: "", list: "" }); } }, "Delete")),
      notices,
      held.has(name) ? el("p", { class: "note" }, `More than ${MOST_IN_ADDRESS} features do not fit into the address: this list is lost when the page is closed. Save it as CSV or JSON.`) : null,
      el("ul", { class: "tiles" }, [...rows.slice(0, 300)].map((row) => {
        const remove = () => {
          const left = rows.filter((one) => one !== row);
          if (held.has(name)) held.set(name, left);
          state.set({ [`list.${name}`]: left.length > MOST_IN_ADDRESS ? "" : packList(features, left) });
          if (held.has(name)) anew();
        };
        return el("li", {}, saeviz.featureTile(features, row, columns.get("label")?.at(row), "", strongest(features, columns, row)), el("button", { type: "button", "aria-label": `Remove ${features.name(row)}`, onclick: remove }, "×"));
      }))];
  };
}
