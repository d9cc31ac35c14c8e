// The view of all features: filters and table.
"use strict";

{
  const { el, said, number, signed, state } = saeviz;
  const ROW = 58;
  const TALLEST = 8e6; // pixels: browsers cut off what is taller than some ten million
  const AT_ONCE = 40; // rows that are elements

  // ---- all features ----

  /** The rows that fit the address, in its order. Made once for each state of filters and order. */
  saeviz.rowsWanted = async (features) => {
    const found = state.read();
    const asked = JSON.stringify([...found].filter(([key]) => /^[fr]\.|^q$|^space$|^sort$/.test(key)));
    if (features.asked !== asked) {
      const masks = await saeviz.wanted(features);
      let rows = saeviz.matching(features.n, [...masks.values()]);
      const sort = found.get("sort") ?? defaultSort(features);
      const key = sort.replace(/^-/, "");
      const column = (await features.columns([key])).get(key);
      if (column) rows = saeviz.sorted(rows, column, sort.startsWith("-"));
      [features.asked, features.rows] = [asked, rows];
    }
    return features.rows;
  };
  const sortKey = (features) => state.get("sort", defaultSort(features)).replace(/^-/, "");
  const defaultSort = (features) => (features.run.columns.some((head) => head.name === "rank") ? "rank" : "-n_active");

  saeviz.featureColumns = (features) => {
    const chosen = state.get("columns");
    if (chosen) return saeviz.split(chosen).filter((key) => features.heads.has(key));
    const ratings = features.run.ratings.slice(0, 5).map((rating) => `r[${rating.name}]`);
    return ["tier", "monosemanticity", "n_active", ...ratings].filter((key) => features.heads.has(key));
  };

  saeviz.featuresView = async (features) => {
    const rows = await saeviz.rowsWanted(features);
    const [panel, plot, items] = await Promise.all([saeviz.filterPanel(features), saeviz.plots(features, rows), saeviz.need("items")]);
    const keys = saeviz.featureColumns(features);
    const columns = await features.columns([...keys, "label", "verdict", ...keys.map(significance).filter(Boolean)]);
    const search = el("input", { type: "search", id: "search", placeholder: "Search names, descriptions, images", "aria-label": "Search names, descriptions and images", value: state.get("q"), oninput: () => { clearTimeout(saeviz.typing); saeviz.typing = setTimeout(() => { saeviz.typing = null; state.set({ q: document.getElementById("search").value }, { replace: true }); }, 200); } });
    const filters = el("details", { class: "filters", open: matchMedia("(min-width: 60rem)").matches }, el("summary", {}, "Filters"), panel, el("button", { type: "button", onclick: saeviz.clearFilters }, "Clear filters"));
    const tools = el("div", { class: "bar tools" }, sorting(features), columnChooser(features, keys), el("button", { type: "button", onclick: () => exportRows(features, rows, keys) }, "CSV"), saeviz.listButton(rows, features));
    return [el("div", { class: "browse" }, filters, el("div", { class: "found" },
      el("div", { class: "bar" }, search, el("output", { id: "count" }, `${number(rows.length)} of ${number(features.n)} features`)),
      saeviz.wordsPanel(features, items), plot, tools, saeviz.meaning([[saeviz.named(sortKey(features)), features.infoOf(sortKey(features))]]), grid(features, rows, keys, columns)))];
  };

  /** The order by any column, shown or not. */
  function sorting(features) {
    const [sort, key] = [state.get("sort", defaultSort(features)), sortKey(features)];
    const choose = el("select", { "aria-label": "Sorted by", "data-key": "sort", title: features.infoOf(key)?.words, onchange: () => state.set({ sort: `${features.risesFirst(choose.value) ? "" : "-"}${choose.value}` }) }, [...features.heads.keys()].map((one) => el("option", { value: one, selected: one === key }, saeviz.plainly(saeviz.named(one), 60))));
    const turn = el("button", { type: "button", "data-key": "direction", onclick: () => state.set({ sort: sort.startsWith("-") ? key : `-${key}` }) }, sort.startsWith("-") ? "highest first ↓" : "lowest first ↑");
    return el("span", { class: "sorting" }, el("label", {}, "Sorted by ", choose), " ", turn);
  }

  function columnChooser(features, keys) {
    const all = [...features.heads.keys()].filter((key) => key !== "label");
    const change = (key, on) => state.set({ columns: saeviz.join(on ? [...keys, key] : keys.filter((one) => one !== key)) });
    return el("details", { class: "menu" }, el("summary", {}, "Columns"), el("div", { class: "choices" }, all.map((key) => el("label", { class: "box" }, el("input", { type: "checkbox", "data-key": `column.${key}`, checked: keys.includes(key), onchange: (event) => change(key, event.target.checked) }), el("span", { title: features.infoOf(key)?.words }, said(saeviz.title(key), 60))))));
  }

  async function exportRows(features, rows, keys) {
    const columns = await features.columns([...new Set(["label", "labelers_label", ...keys])]);
    const lines = [["feature", ...columns.keys()].map(saeviz.field).join(",")];
    for (const row of rows) lines.push([features.name(row), ...[...columns.values()].map((column) => column.at(row))].map(saeviz.field).join(","));
    saeviz.save("features.csv", "text/csv", `${lines.join("\r\n")}\r\n`);
  }

  /** Only the rows in sight are elements; the height of the others is kept by the box they lie in. */
  function grid(features, rows, keys, columns) {
    const sort = state.get("sort", defaultSort(features));
    const head = (key, word, number) => {
      const on = sortKey(features) === key;
      const unit = features.infoOf(key)?.unit;
      const falls = on ? !sort.startsWith("-") : !features.risesFirst(key);
      const next = falls ? `-${key}` : key;
      return el("div", { role: "columnheader", class: number ? "number" : "", "aria-sort": on ? (sort.startsWith("-") ? "descending" : "ascending") : "none" }, el("button", { type: "button", "data-key": `sort.${key}`, title: features.infoOf(key)?.words, onclick: () => state.set({ sort: next }) }, word, on ? (sort.startsWith("-") ? " ↓" : " ↑") : "", unit && !word.toLowerCase().includes(unit) ? el("span", { class: "unit" }, ` [${saeviz.plainly(unit, 30)}]`) : null));
    };
    const template = `minmax(var(--first), 5fr) ${keys.map(() => "minmax(6rem, 1fr)").join(" ")}`;
    const body = el("div", { class: "rows", role: "rowgroup" });
    const tall = el("div", { class: "tall" }, body);
    const box = el("div", { class: "grid", role: "table", tabindex: 0, "aria-label": "Features", "aria-rowcount": rows.length + 1 },
      el("div", { class: "head", role: "rowgroup" }, el("div", { class: "row", role: "row" }, head("label", "Feature", false), keys.map((key) => head(key, saeviz.title(key), !features.heads.get(key).text)))), tall);
    const whole = rows.length * ROW;
    const height = Math.min(whole, TALLEST);
    tall.style.height = `${height}px`;
    box.style.setProperty("--columns", template);
    box.style.setProperty("--least", `calc(var(--first) + ${1 + 6.8 * keys.length}rem)`);
    const lines = new Map(); // place -> its row; those that stay in sight stay the same elements, which may have the focus
    const show = () => {
      const reach = box.scrollHeight - box.clientHeight;
      const top = box.scrollTop + (reach > 0 ? ((whole - height) * box.scrollTop) / reach : 0);
      const from = Math.max(0, Math.floor(top / ROW) - 4);
      const to = Math.min(rows.length, from + AT_ONCE);
      body.style.transform = `translateY(${box.scrollTop - (top - from * ROW)}px)`;
      for (const [place, there] of lines) {
        if (place >= from && place < to) continue;
        there.remove();
        lines.delete(place);
      }
      let next = body.firstChild;
      for (let place = from; place < to; place++) {
        if (lines.has(place)) next = lines.get(place).nextSibling;
        else {
          lines.set(place, line(features, keys, columns, rows[place], place));
          body.insertBefore(lines.get(place), next);
        }
      }
    };
    box.addEventListener("scroll", show, { passive: true });
    show();
    if (!rows.length) tall.replaceChildren(el("p", { class: "note" }, "No feature matches all filters. ", el("button", { type: "button", onclick: saeviz.clearFilters }, "Clear filters")));
    return box;
  }

  function line(features, keys, columns, row, place) {
    const label = columns.get("label")?.at(row);
    return el("div", { class: "row", role: "row", "aria-rowindex": place + 2 },
      el("div", { role: "cell" }, el("a", { class: "name", href: saeviz.link({ feature: features.name(row) }) }, saeviz.thumbs(features, row), el("span", {}, el("strong", { class: saeviz.isDoubtful(features, row, columns) ? "doubtful" : "" }, label ? said(label, 60) : "–"), el("span", { class: "called" }, el("span", { class: "id" }, said(features.name(row))), saeviz.markSign(features, row)), saeviz.noteOn(features, row).label ? el("span", { class: "was" }, "labeler: ", said(saeviz.labelersLabel(features, row) || "none", 60)) : null))),
      keys.map((key) => cell(features, columns, key, row)));
  }

  /** The column that says whether an r is significant; none for what is no r. */
  const significance = (key) => (/^(|.*_)r\[/s.test(key) ? key.replace(/r\[/, "significant[") : null);

  function cell(features, columns, key, row) {
    const value = columns.get(key).at(row);
    if (!features.isNumber(key)) return el("div", { role: "cell" }, said(value, 80));
    const [, prefix, after] = key.match(/^(|.*_)r(_held_out|_corrected)?\[/s) ?? [];
    if (features.run.measures[prefix] === undefined) return el("div", { role: "cell", class: "number" }, key === "tier" && value === 0 ? "–" : number(value, 3));
    const judged = columns.get(significance(key));
    const significant = !after && judged?.at(row) === 1;
    const shade = el("div", { role: "cell", class: `number r ${value < 0 ? "minus" : "plus"} ${significant ? "significant" : ""}`, title: significant ? "significant" : null }, signed(value));
    if (Number.isFinite(value)) shade.style.setProperty("--strength", Math.min(1, Math.abs(value) * 1.6).toFixed(2));
    return shade;
  }
}
