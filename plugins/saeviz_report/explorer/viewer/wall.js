// All images side by side: sorted by anything that is known of them, together by category, only those in sight drawn.
"use strict";

{
  const { el, said, number, signed, state, need } = saeviz;
  const GAP = 8;
  const BELOW = 20; // height of the text below a picture
  const HEAD = 44;
  const MARGIN = 600; // pixels above and below the window that are drawn, too
  const MOST_KINDS = 40; // of a column by which images are put together
  const LINES_OF_KIND = 2;
  const PRINTED = 60; // lines

  /** The columns of text in which to look for words; numbers among the metadata are none. */
  const wordy = (items) => items.metadata.map(([, packed]) => saeviz.column(packed)).filter((column) => column.words.some((word) => word !== "" && Number.isNaN(Number(word))));

  /** What images can be sorted by: key and what it is called. */
  function ordersOf(features, items, order, label) {
    const rated = new Set(items.ratings.map(([name]) => name));
    const named = (name) => {
      const [, kind, rating] = name.match(/^(predicted|residual)\.(.*)$/s) ?? [];
      if (!rated.has(rating)) return name;
      return kind === "predicted" ? `${rating} as predicted` : `surprise: ${rating} minus its prediction`;
    };
    const feature = order.startsWith("feature:") ? [[order, `activation of ${label ? `${label}, ` : ""}${order.slice(8)}`]] : [];
    return [["", "order of the run"], ...feature, ...items.ratings.map(([name]) => [`ratings:${name}`, name]), ...items.numbers.map(([name]) => [`numbers:${name}`, named(name)])];
  }

  /** The values of the images by which they are sorted; null if the order is that of the run. */
  async function valuesBy(features, items, order) {
    const [part, name] = order.split(/:(.*)/s);
    if (part === "feature") {
      const row = features.row(name ?? "");
      const found = row >= 0 && (await saeviz.imagesOf(features, row));
      if (!found) return null;
      const values = new Float64Array(items.ids.length);
      found.items.forEach((item, i) => (values[item] = found.values[i]));
      return values;
    }
    const packed = ["ratings", "numbers"].includes(part) && items[part].find(([one]) => one === name)?.[1];
    return packed ? saeviz.column(packed).values : null;
  }

  saeviz.imagesView = async (features) => {
    const items = await need("items");
    const [by, words] = [state.get("by"), state.get("iq").trim().toLowerCase()];
    const order = by.replace(/^-/, "");
    const [kinds, values, columns] = [saeviz.kindsOf(items, MOST_KINDS), await valuesBy(features, items, order), await features.columns(["label"])];
    const [column, kind] = saeviz.split(state.get("in"));
    let rows = Uint32Array.from(items.ids, (_, item) => item);
    if (kind !== undefined && kinds.has(column)) rows = rows.filter((item) => kinds.get(column).at(item) === kind);
    if (words) {
      const texts = wordy(items);
      rows = rows.filter((item) => words.split(/\s+/).every((word) => `${items.ids[item]} ${texts.map((text) => text.at(item)).join(" ")}`.toLowerCase().includes(word)));
    }
    if (values) rows = saeviz.sorted(rows, { values }, by.startsWith("-"));
    const row = features.row(order.slice(8));
    const orders = ordersOf(features, items, order, row >= 0 ? columns.get("label")?.at(row) : "");
    const facet = kinds.has(state.get("facet")) ? state.get("facet") : "";
    const whole = values?.every((value) => Number.isNaN(value) || Number.isInteger(value));
    const written = /^numbers:residual\./.test(order) ? signed : whole ? number : saeviz.fixed;
    const below = values ? (item) => written(values[item], 2) : null;
    const infos = features.run.infos?.images ?? {};
    return [bar(items, infos, orders, order, by, kinds, facet, values), saeviz.meaning([[orders.find(([one]) => one === order)?.[1] ?? "", infos[order.replace(/^numbers:/, "")]]]), kind === undefined ? null : el("p", { class: "bar" }, said(`${column}: ${kind || "none"}`, 100), el("a", { href: saeviz.link({ in: "" }) }, "all images")),
      el("div", { class: "bar" }, el("output", { class: "note" }, saeviz.counted(rows.length, "image")), el("button", { type: "button", class: "quiet", onclick: () => saeviz.save("images.csv", "text/csv", csv(items, rows, order, values)) }, "CSV")),
      rows.length ? wall(items, facet ? together(items, rows, facet, kinds.get(facet), values, below) : [{ rows, below }]) : el("p", { class: "note" }, "No image matches.")];
  };

  /** What is known of these images, in their order; the activation of the feature that they are sorted by, too. */
  function csv(items, rows, order, values) {
    const columns = [...(items.groups ? [["group", items.groups]] : []), ...items.ratings, ...items.numbers, ...items.metadata].map(([name, packed]) => [name, saeviz.column(packed)]);
    if (values && order.startsWith("feature:")) columns.unshift([order.slice(8), { at: (item) => values[item] }]);
    const lines = [["image", ...columns.map(([name]) => name)], ...[...rows].map((item) => [items.ids[item], ...columns.map(([, column]) => column.at(item))])];
    return `${lines.map((line) => line.map(saeviz.field).join(",")).join("\r\n")}\r\n`;
  }

  function bar(items, infos, orders, order, by, kinds, facet, values) {
    const about = (key) => (key.startsWith("numbers:") ? infos[key.slice(8)] : undefined);
    const option = (chosen) => ([value, word]) => el("option", { value, selected: value === chosen }, saeviz.plainly(word, 80));
    const choose = el("select", { "aria-label": "Order", title: about(order)?.words, onchange: () => state.set({ by: choose.value && `${about(choose.value)?.better === "lower" ? "" : "-"}${choose.value}` }) }, orders.map(option(order)));
    const group = el("select", { "aria-label": "Grouped by", onchange: () => state.set({ facet: group.value }) }, [["", "nothing"], ...[...kinds.keys()].map((name) => [name, name])].map(option(facet)));
    const search = el("input", { type: "search", placeholder: "Search ids and texts", "aria-label": "Search ids and texts", value: state.get("iq"), onchange: () => state.set({ iq: search.value }) });
    return el("div", { class: "bar" }, search, el("label", {}, "Sorted by ", choose), values ? el("button", { type: "button", "data-key": "direction", onclick: () => state.set({ by: by.startsWith("-") ? by.slice(1) : `-${by}` }) }, by.startsWith("-") ? "highest first ↓" : "lowest first ↑") : null, kinds.size ? el("label", {}, "Grouped by ", group) : null);
  }

  /** The images of each kind, with how many there are and the mean of what they are sorted by. */
  function together(items, rows, facet, column, values, below) {
    const parts = new Map(column.words.map((word) => [word, []]));
    for (const item of rows) parts.get(column.at(item)).push(item);
    const known = [...parts].filter(([, own]) => own.length).sort(([a], [b]) => (a === "") - (b === "") || a.localeCompare(b, "en", { numeric: true }));
    return known.map(([word, own]) => {
      const there = values ? own.map((item) => values[item]).filter(Number.isFinite) : [];
      const mean = there.length ? `, mean ${number(there.reduce((sum, value) => sum + value, 0) / there.length, 2)}` : "";
      const head = el("h3", { class: "kind-head" }, el("a", { href: saeviz.link({ in: saeviz.join([facet, word]), facet: "" }) }, said(word || "none", 80)), el("span", { class: "note" }, ` ${saeviz.counted(own.length, "image")}${mean}`));
      return { rows: own, below, head, most: LINES_OF_KIND };
    });
  }

  /** Lines of pictures as wide as the box, each as high as all of its pictures in their shape allow. */
  function linesOf(items, { rows, below, most = Infinity }, width, high, top) {
    const lines = [];
    let [at, start, shapes] = [top, 0, []];
    const add = (end, height) => {
      lines.push({ top: at, height, below, pictures: shapes.map((shape, i) => [rows[start + i], shape * height]) });
      at += height + (below ? BELOW : 0) + GAP;
      [start, shapes] = [end, []];
    };
    for (let i = 0; i < rows.length && lines.length < most; i++) {
      const small = items.thumbnails[rows[i]];
      shapes.push(small ? Math.min(2, Math.max(0.5, small[1] / small[2])) : 4 / 3);
      const wide = shapes.reduce((sum, shape) => sum + shape, 0);
      const room = width - GAP * (shapes.length - 1);
      if (wide * high >= room) add(i + 1, room / wide);
    }
    if (shapes.length && lines.length < most) add(rows.length, high);
    return [lines, at];
  }

  function wall(items, parts) {
    const box = el("div", { class: "wall", role: "region", "aria-label": "Images" });
    const drawn = new Map();
    let [lines, width] = [[], 0];
    const lay = (wide) => {
      width = wide;
      lines = [];
      const high = wide < 600 ? 88 : 132;
      let top = 0;
      for (const part of parts) {
        if (part.head) {
          lines.push({ top, height: HEAD, head: part.head });
          top += HEAD;
        }
        const [found, end] = linesOf(items, part, wide, high, top);
        lines.push(...found);
        top = end;
      }
      box.style.height = `${top}px`;
      box.replaceChildren();
      drawn.clear();
    };
    const between = (from, to) => {
      const wanted = (line) => line.top + line.height + BELOW > from && line.top < to;
      for (const [place, there] of drawn) {
        if (wanted(lines[place]) || there.contains(document.activeElement)) continue;
        there.remove();
        drawn.delete(place);
      }
      for (let place = firstFrom(lines, from); place < lines.length && lines[place].top < to; place++) {
        if (drawn.has(place)) continue;
        const later = [...drawn.keys()].filter((other) => other > place);
        drawn.set(place, lineOf(items, lines[place]));
        box.insertBefore(drawn.get(place), later.length ? drawn.get(Math.min(...later)) : null);
      }
    };
    const show = () => {
      if (!box.isConnected) {
        for (const event of ["scroll", "beforeprint"]) window.removeEventListener(event, { scroll: show, beforeprint }[event]);
        return watch.disconnect();
      }
      const top = -box.getBoundingClientRect().top;
      between(top - MARGIN, top + window.innerHeight + MARGIN);
    };
    const beforeprint = () => box.isConnected && between(0, lines[Math.min(PRINTED, lines.length) - 1].top + 1);
    const watch = new ResizeObserver(([{ contentRect }]) => {
      if (box.isConnected && contentRect.width && Math.abs(contentRect.width - width) > 1) lay(contentRect.width);
      show();
    });
    const main = getComputedStyle(document.getElementById("main"));
    lay(document.getElementById("main").clientWidth - parseFloat(main.paddingLeft) - parseFloat(main.paddingRight));
    between(0, window.innerHeight + MARGIN);
    watch.observe(box);
    window.addEventListener("scroll", show, { passive: true });
    window.addEventListener("beforeprint", beforeprint);
    return box;
  }

  /** The first line that reaches below a height. */
  function firstFrom(lines, height) {
    let [low, high] = [0, lines.length];
    while (low < high) {
      const middle = (low + high) >> 1;
      if (lines[middle].top + lines[middle].height + BELOW > height) high = middle;
      else low = middle + 1;
    }
    return low;
  }

  function lineOf(items, { top, height, head, below, pictures }) {
    const line = el("div", { class: "line" }, head ?? pictures.map(([item, wide]) => {
      const picture = saeviz.picture(items, item, below ? below(item) : "");
      [picture.style.width, picture.querySelector(".frame").style.height] = [`${wide}px`, `${height}px`];
      return picture;
    }));
    line.style.top = `${top}px`;
    return line;
  }
}
