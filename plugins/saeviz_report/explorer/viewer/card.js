// The card of a feature: what it is called, where it fires, how it goes along with the ratings.
"use strict";

{
  const { el, said, number, signed, state, need } = saeviz;
  const BANDS = 5;

  /** The images of a feature, most active first: `{items, values}`; null where the report stores no activations. */
  saeviz.imagesOf = async (features, row) => {
    if (saeviz.live) return saeviz.live.imagesOf(features.name(row));
    const size = features.run.features_a_file;
    return size ? unrolled(await need(`features/${Math.floor(row / size)}`), row % size) : null;
  };
  /** The features of an image, most active first. */
  saeviz.featuresOf = async (features, item) => {
    if (saeviz.live) return saeviz.live.featuresOf((await need("items")).ids[item]);
    const size = features.run.images_a_file;
    return size ? unrolled(await need(`images/${Math.floor(item / size)}`), item % size) : null;
  };

  const opened = new WeakMap();
  function unrolled(block, place) {
    if (!opened.has(block)) {
      const counts = saeviz.unpack(block.counts);
      const starts = new Uint32Array(counts.length + 1);
      counts.forEach((count, i) => (starts[i + 1] = starts[i] + count));
      opened.set(block, { starts, others: saeviz.unpack(block.others), values: saeviz.unpack(block.values) });
    }
    const { starts, others, values } = opened.get(block);
    const [from, to] = [starts[place], starts[place + 1]];
    return { items: others.subarray(from, to), values: values.subarray(from, to) };
  }

  /** A picture that leads to the page of its image; without one its name. */
  saeviz.picture = (items, item, below = "", size = "") => {
    const id = items.ids[item];
    const name = () => el("span", { class: "nopicture" }, said(id, 60));
    const inside = saeviz.small(items, item, { alt: saeviz.plainly(id, 120), onerror: (event) => event.target.replaceWith(name()) }) ?? name();
    return el("a", { class: `picture ${size}`, href: saeviz.link({ view: "image", image: id, feature: "" }), title: saeviz.plainly(id, 200) }, el("span", { class: "frame" }, inside), below ? el("span", { class: "below" }, below) : null);
  };
  /** The small picture of an image, or a larger one where the host makes it; null where there is none. */
  saeviz.small = (items, item, attributes = {}, height = undefined) => {
    if (saeviz.live) return saeviz.live.about.missing.pictures ? null : el("img", { src: saeviz.live.picture(items.ids[item], height), alt: "", loading: "lazy", ...attributes });
    const stored = items.thumbnails[item];
    return stored ? el("img", { src: saeviz.pictureAddress(stored[0]), width: stored[1], height: stored[2], alt: "", loading: "lazy", ...attributes }) : null;
  };
  saeviz.pictureAddress = (file) => {
    const inside = document.querySelector('script[data-name="pictures"]');
    if (!inside) return `pictures/${file}`;
    saeviz.inlined ??= JSON.parse(inside.textContent);
    return saeviz.inlined[file] ?? "";
  };
  /** The address with some of the state changed. */
  saeviz.link = (changes) => {
    const found = state.read();
    for (const [key, value] of Object.entries(changes)) {
      if (value === "") found.delete(key);
      else found.set(key, value);
    }
    return `#${found.toString()}`;
  };

  /** Loads the card of a feature; what it returns shows it. */
  saeviz.card = async (features, row, order) => {
    const dialog = document.getElementById("card");
    const keys = [...features.heads.keys()];
    const [items, cards, columns, images] = await Promise.all([need("items"), need("labels"), features.columns(keys), saeviz.imagesOf(features, row)]);
    const at = (key) => columns.get(key)?.at(row);
    const card = cards[row] ?? {};
    const name = features.name(row);
    const place = order.indexOf(row);
    const move = (by) => order[place + by] !== undefined && state.set({ feature: features.name(order[place + by]) }, { replace: true });
    const close = () => state.set({ feature: "" });
    const parts = [
      el("header", {},
        el("div", {}, el("h2", { id: "card-title" }, at("label") ? said(at("label")) : "Not named"), el("p", { class: "id" }, said(name), at("tier") ? ` · tier ${at("tier")}` : " · not selected", verdict(at("verdict")))),
        el("div", { class: "buttons" },
          el("button", { type: "button", title: "Previous (left arrow)", disabled: place <= 0, onclick: () => move(-1) }, "←"),
          el("button", { type: "button", title: "Next (right arrow)", disabled: place < 0 || place >= order.length - 1, onclick: () => move(1) }, "→"),
          saeviz.listButton([row], features),
          el("button", { type: "button", "aria-label": "Close", onclick: close }, "×"))),
      card.description ? el("p", { class: "description" }, said(card.description)) : null,
      card.why ? el("p", { class: "note" }, "Why it might correlate with a rating: ", said(card.why)) : null,
      card.reason ? el("p", { class: "note" }, "Selected because: ", said(card.reason)) : null,
      images ? pictures(features, row, items, images) : el("p", { class: "note" }, "This run has too many activations for the explorer to store them."),
      relations(features, columns, row),
      images ? el("div", { class: "two" }, await against(features, items, images), activity(items, images, features, at)) : null,
      figures(features, columns, row),
      together(features, columns, row)];
    const keydown = (event) => {
      if (event.target.matches?.("input, select")) return;
      if (event.key === "ArrowLeft") move(-1);
      if (event.key === "ArrowRight") move(1);
    };
    return () => {
      const back = saeviz.keepPlace(dialog);
      saeviz.fill(dialog, parts);
      dialog.onkeydown = keydown;
      dialog.oncancel = (event) => {
        event.preventDefault();
        close();
      };
      dialog.onclose = () => dialog.open || close(); // a browser need not ask before it closes one
      dialog.onclick = (event) => {
        if (event.target === dialog) close();
      };
      if (!dialog.open) dialog.showModal();
      back();
      dialog.scrollTop = 0;
    };
  };

  function verdict(word) {
    return word ? el("span", { class: `verdict ${{ confirmed: "good", fails: "bad" }[word] ?? ""}` }, `name ${word === "fails" ? "fails" : word}`) : null;
  }

  function pictures(features, row, items, { items: where, values }) {
    if (!where.length) return el("p", { class: "note" }, "This feature fires on no image.");
    const strip = (from, to) => el("div", { class: "strip" }, [...where.slice(from, to)].map((item, i) => saeviz.picture(items, item, number(values[from + i], 2))));
    const top = strip(0, 12);
    const shown = new Map([...where.slice(0, 12)].map((item, i) => [item, top.children[i]]));
    const parts = [el("section", {}, el("h3", {}, "Where it fires most"), saeviz.heatmapSwitch(features, row, shown), top)];
    if (where.length > 24) {
      const bands = [];
      for (let band = 1; band < BANDS; band++) {
        const from = Math.max(12, Math.floor((where.length * band) / BANDS));
        bands.push(el("div", {}, el("h4", {}, `${100 - (band + 1) * (100 / BANDS)} to ${100 - band * (100 / BANDS)} % of its active images`), strip(from, from + 5)));
      }
      parts.push(el("section", {}, el("h3", {}, "Over the whole range of activations"), el("p", { class: "note" }, "Top images look clearer than a feature is: these include weaker activations."), el("div", { class: "bands" }, bands)));
    }
    const firing = new Set(where);
    const silent = items.ids.map((_, item) => item).filter((item) => !firing.has(item));
    if (silent.length) {
      const step = Math.max(1, Math.floor(silent.length / 6));
      parts.push(el("section", {}, el("h3", {}, "Where it does not fire"), el("div", { class: "strip" }, silent.filter((_, i) => i % step === 0).slice(0, 6).map((item) => saeviz.picture(items, item, "0")))));
    }
    return parts;
  }

  function relations(features, columns, row) {
    const rated = features.run.ratings.filter((rating) => columns.has(`r[${rating.name}]`));
    if (!rated.length) return null;
    const of = (name, rating) => columns.get(`${name}[${rating.name}]`)?.at(row);
    const [heldOut, corrected] = ["r_held_out", "r_corrected"].map((name) => rated.some((rating) => Number.isFinite(of(name, rating))));
    const sizes = rated.flatMap((rating) => ["r", "ci_low", "ci_high"].map((name) => Math.abs(of(name, rating)))).filter(Number.isFinite);
    const limit = Math.min(1, Math.max(0.1, Math.ceil(10 * Math.max(0, ...sizes)) / 10));
    return el("section", {}, el("h3", {}, "Correlations with ratings"),
      saeviz.wide("Correlations with ratings", el("table", { class: "plain" },
        el("thead", {}, el("tr", {}, ["Rating", `−${limit} to ${limit}`, "r", "95 % interval", "q", "images", corrected ? "corrected r" : null, heldOut ? "held-out r" : null].filter((word) => word !== null).map((word) => el("th", { scope: "col" }, word)))),
        el("tbody", {}, rated.map((rating) => {
          const [r, low, high, q] = ["r", "ci_low", "ci_high", "q"].map((name) => of(name, rating));
          const significant = of("significant", rating) === 1;
          return el("tr", { class: significant ? "significant" : "" }, el("th", { scope: "row" }, said(rating.name, 60)), el("td", {}, saeviz.intervalMark(r, low, high, limit)),
            el("td", { class: "number" }, signed(r)), el("td", { class: "number" }, Number.isFinite(low) ? `${signed(low)} to ${signed(high)}` : "–"), el("td", { class: "number" }, number(q)), el("td", { class: "number" }, number(of("n", rating))),
            corrected ? el("td", { class: "number" }, signed(of("r_corrected", rating))) : null,
            heldOut ? el("td", { class: "number" }, signed(of("r_held_out", rating)), of("replicated", rating) === 1 ? " ✓" : "") : null);
        })))));
  }

  function activity(items, { values }, features, at) {
    return el("section", {}, el("h3", {}, "Activation"),
      el("p", { class: "note" }, `Active on ${number(values.length)} of ${number(items.ids.length)} images (${number((100 * values.length) / items.ids.length, 1)} %).`),
      values.length ? saeviz.histogram({ values, label: "Activations above zero", width: 320, height: 90 }) : null,
      Number.isFinite(at("monosemanticity")) ? el("p", {}, `Monosemanticity ${number(at("monosemanticity"), 2)}`, at("ms_class") ? ["; ", said(at("ms_class"))] : "", Number.isFinite(at("ms_null_mean")) ? `; images drawn at random ${number(at("ms_null_mean"), 2)} (SD ${number(at("ms_null_sd"), 3)}), q ${number(at("ms_q"))}` : "", ".") : null,
      at("ms_note") ? el("p", { class: "note" }, said(at("ms_note"))) : null);
  }

  async function against(features, items, { items: where, values }) {
    const names = items.ratings.map(([name]) => name);
    if (!names.length || !where.length) return null;
    const byItem = new Map([...where].map((item, i) => [item, values[i]]));
    const holder = el("div", { class: "chart" });
    const groups = items.groups ? saeviz.column(items.groups) : null;
    const kinds = groups && groups.words.filter((word) => word !== "").length <= 8 ? groups : null;
    const colours = kinds ? (word) => saeviz.palette[kinds.words.indexOf(word) % saeviz.palette.length] : null;
    const show = ([name, packed]) => {
      const rating = saeviz.column(packed);
      const points = items.ids.map((id, item) => ({ x: byItem.get(item) ?? 0, y: rating.at(item), name: id, group: kinds?.at(item) }));
      holder.replaceChildren(saeviz.pointChart({ points, xName: "activation", yName: name, label: `${saeviz.plainly(name)} against activation`, colours, width: 560, height: 280, onpick: (point) => state.set({ view: "image", image: point.name, feature: "" }) }));
    };
    const choose = el("select", { "aria-label": "Rating", onchange: () => show(items.ratings[choose.selectedIndex]) }, names.map((name) => el("option", {}, saeviz.plainly(name, 60))));
    show(items.ratings[0]);
    return el("section", {}, el("h3", {}, "Rating against activation ", choose), holder,
      kinds ? el("p", { class: "note" }, kinds.words.filter(Boolean).map((word) => el("span", { class: "key" }, swatch(colours(word)), said(word, 40)))) : null);
  }

  function swatch(colour) {
    const mark = el("span", { class: "swatch" });
    mark.style.background = colour;
    return mark;
  }

  function figures(features, columns, row) {
    const rows = [...features.heads.values()].filter((head) => head.rating === null && !["label", "tier"].includes(head.name));
    const shown = rows.map((head) => [saeviz.title(head.name), columns.get(head.name).at(row)]).filter(([, value]) => value !== "" && !Number.isNaN(value));
    return el("details", {}, el("summary", {}, "All figures"), el("dl", { class: "figures" }, shown.map(([name, value]) => el("div", {}, el("dt", {}, said(name, 80)), el("dd", {}, typeof value === "number" ? number(value, 4) : said(value, 300))))));
  }

  function together(features, columns, row) {
    const cluster = columns.get("cluster");
    if (!cluster || !Number.isFinite(cluster.at(row))) return null;
    const others = [];
    for (let other = 0; other < features.n && others.length < 40; other++) if (other !== row && cluster.values[other] === cluster.values[row]) others.push(other);
    const label = columns.get("label");
    return others.length ? el("section", {}, el("h3", {}, "Fires together with"), el("p", {}, others.map((other) => [el("a", { href: saeviz.link({ feature: features.name(other) }) }, label?.at(other) ? [said(label.at(other)), " "] : "", el("span", { class: "id" }, said(features.name(other)))), " "]))) : null;
  }
}
