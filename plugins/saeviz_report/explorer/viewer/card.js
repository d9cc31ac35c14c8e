// The card of a feature: what it is called, where it fires, how it goes along with the ratings.
"use strict";

{
  const { el, said, number, state, need } = saeviz;
  const BANDS = 5;
  const BROAD = 0.5; // of look-alikes for which the name is denied: with fewer, it is broader than its feature
  const MOST_RATINGS = 12; // with a column in the table of all figures
  const SILENT = 6; // images without it that are shown

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
    const inside = saeviz.small(items, item, { alt: saeviz.plainly(id, 120), onerror: (event) => event.target.replaceWith(name()) }, size === "alone" ? 640 : undefined) ?? name();
    return el("a", { class: `picture ${size}`, "data-item": item, href: saeviz.link({ view: "image", image: id, feature: "" }), title: saeviz.plainly(id, 200) }, el("span", { class: "frame" }, inside), below ? el("span", { class: "below" }, below) : null);
  };
  /** The small picture of an image, or a larger one where the host makes it; null where there is none. */
  saeviz.small = (items, item, attributes = {}, height = undefined) => {
    if (saeviz.live) return saeviz.live.about.missing.pictures ? null : el("img", { src: saeviz.live.picture(items.ids[item], height), alt: "", loading: "lazy", ...attributes });
    const stored = items.thumbnails[item];
    return stored ? el("img", { src: saeviz.pictureAddress(stored[0]), width: stored[1], height: stored[2], alt: "", loading: "lazy", ...attributes }) : null;
  };

  const wanted = new WeakMap(); // box -> what fills it
  const insight = new IntersectionObserver((entries) => {
    for (const { isIntersecting, target } of entries) {
      if (!isIntersecting) continue;
      insight.unobserve(target);
      wanted.get(target)();
    }
  }, { rootMargin: "100px" });

  /** The small pictures of the images on which a feature fires most, loaded when they come into sight. */
  saeviz.thumbs = (features, row, most = 3) => {
    const box = el("span", { class: "thumbs" });
    const show = async () => {
      const [images, items] = await Promise.all([saeviz.imagesOf(features, row), need("items")]);
      if (images) saeviz.fill(box, images.items.length ? [...images.items.slice(0, most)].map((item) => saeviz.small(items, item)) : el("span", { class: "note" }, "fires on no image"));
    };
    wanted.set(box, () => show().catch(() => null)); // what it is beside is there without
    insight.observe(box);
    return box;
  };
  /** The label of a feature in a list, or that it has none. */
  saeviz.called = (label) => (label ? el("strong", {}, said(label, 60)) : el("span", { class: "unnamed" }, "not named"));
  /** A feature of a list: its top images, its label or that it has none, and a number; leads to its card. */
  saeviz.featureTile = (features, row, label, value, more = "") => el("a", { class: "tile", href: saeviz.link({ feature: features.name(row) }) }, saeviz.thumbs(features, row), el("span", {}, saeviz.called(label), el("span", { class: "id" }, said(features.name(row)), more)), value ? el("span", { class: "number" }, value) : null);
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
    const [items, cards, columns, images, near] = await Promise.all([need("items"), need("labels"), features.columns(keys), saeviz.imagesOf(features, row), neighbours(features, row)]);
    const at = (key) => columns.get(key)?.at(row);
    const card = saeviz.cardOf(features, cards, row);
    const byHand = saeviz.noteOn(features, row).label !== "";
    const name = features.name(row);
    const place = order.indexOf(row);
    const move = (by) => order[place + by] !== undefined && state.set({ feature: features.name(order[place + by]) }, { replace: true });
    const close = () => state.set({ feature: "" });
    const parts = [
      el("header", {},
        el("div", {}, el("h2", { id: "card-title", tabindex: -1, autofocus: true, class: saeviz.isDoubtful(features, row, columns) ? "doubtful" : "" }, at("label") ? said(at("label")) : "Not named"), el("p", { class: "id" }, said(name), at("tier") ? ` · tier ${at("tier")}` : " · not selected", verdict(at("verdict"), card.judgement, byHand))),
        el("div", { class: "buttons" },
          el("button", { type: "button", title: "Previous (left arrow)", disabled: place <= 0, onclick: () => move(-1) }, "←"),
          el("button", { type: "button", title: "Next (right arrow)", disabled: place < 0 || place >= order.length - 1, onclick: () => move(1) }, "→"),
          saeviz.listButton([row], features),
          el("button", { type: "button", "aria-label": "Close", onclick: close }, "×"))),
      saeviz.notesOnCard(features, row, verdict(at("verdict"), card.judgement)),
      card.description ? el("p", { class: "description" }, said(card.description), el("span", { class: "note by-labeler", hidden: !byHand }, " (by the labeler)")) : null,
      card.elements ? el("p", { class: "note" }, "Visual elements: ", card.elements.map((element, i) => [i ? ", " : "", said(element, 200)])) : null,
      card.why ? el("p", { class: "note" }, "Why it might correlate with a rating: ", said(card.why)) : null,
      card.reason ? el("p", { class: "note" }, "Selected because: ", said(card.reason), again(at)) : null,
      judgement(card.judgement),
      images ? most(features, row, items, images) : el("p", { class: "note" }, "This run has too many activations for a report to store them; a page served by saeviz serve shows the images of every feature."),
      saeviz.relations(features, columns, row),
      (card.differences ?? []).map(([rating, words]) => el("p", { class: "note" }, "The relation with ", said(rating, 80), " differs: ", said(words, 500), ".")),
      at("n_active") < features.run.caveat?.below ? el("p", { class: "note" }, `${features.run.caveat.text}.`) : null,
      saeviz.labelRatings(card.predicts),
      images ? el("div", { class: "two" }, saeviz.against(features, items, images, (rating) => at(`r[${rating}]`)), activity(items, images, features, row, at)) : null,
      images ? range(features, items, images) : null,
      judged(items, card.judged),
      saeviz.neighbours(features, items, row) ?? alike(features, columns, near),
      together(features, columns, row),
      saeviz.partnerOnCard(features, row),
      figures(features, columns, row)];
    const keydown = (event) => {
      saeviz.noteKey(dialog, event);
      if (event.target.matches?.("input, select, textarea")) return;
      if (event.key === "ArrowLeft") move(-1);
      if (event.key === "ArrowRight") move(1);
    };
    return () => {
      const stays = dialog.open && dialog.dataset.feature === name;
      const top = dialog.scrollTop;
      dialog.dataset.feature = name;
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
      dialog.scrollTop = stays ? top : 0;
    };
  };

  /** How often the feature is selected again where there are only half of the images. */
  function again(at) {
    const [chosen, tier] = ["selection_stability", "tier_stability"].map(at);
    if (!Number.isFinite(chosen)) return "";
    return `. On random halves of the images it is selected again in ${number(100 * chosen, 0)} % of cases, in the same tier in ${number(100 * tier, 0)} %.`;
  }

  /** Whether the judge says that the name does not fit; a label by hand was not judged. */
  saeviz.isDoubtful = (features, row, columns) => columns.get("verdict")?.at(row) === "fails" && saeviz.noteOn(features, row).label === "";

  function verdict(word, found, hidden = false) {
    if (!word) return null;
    const broad = word === "confirmed" && found?.n_hard && found.hard_specificity < BROAD;
    return el("span", { hidden, class: `verdict ${{ confirmed: "good", fails: "bad" }[word] ?? ""}` }, el("span", {}, "name ", said(word)), broad ? ", too broad" : "");
  }

  /** What the judge measured, in a sentence. */
  function judgement(found) {
    if (!found) return null;
    const share = (value) => (Number.isFinite(value) ? `${number(100 * value, 0)} %` : "–");
    if (!Number.isFinite(found.balanced_accuracy ?? NaN)) return found.reason ? el("p", { class: "note" }, "The name was not judged: ", said(found.reason)) : null;
    return el("p", { class: "note" }, `Judged on images that the labeler did not see: balanced accuracy ${number(found.balanced_accuracy, 2)} (95 % interval ${number(found.ci_low, 2)} to ${number(found.ci_high, 2)}); the name fits ${share(found.sensitivity)} of ${number(found.n_active)} images on which the feature fires, and is denied for ${share(found.specificity)} of ${number(found.n_silent)} on which it does not${found.n_hard ? `; of these, for ${share(found.hard_specificity)} of ${number(found.n_hard)} look-alikes` : ""}. AUC ${number(found.auc, 2)}.`);
  }

  const strip = (items, places, below) => saeviz.enlargeable(items, el("div", { class: "strip" }, places.map((item, i) => saeviz.picture(items, item, below(i)))));

  /** The images of the judge, with its score from 0 (does not fit) to 1. */
  function judged(items, shown) {
    if (!shown?.length) return null;
    const kinds = [["active", "The feature fires"], ["hard", "Similar, but it does not fire"], ["silent", "It does not fire"], ["seen", "Shown to the labeler"]];
    return el("details", {}, el("summary", {}, `The ${number(shown.length)} images on which the name was judged`), el("p", { class: "note" }, "Below each image: how well the name fits it according to the judge, from 0 to 1; 0.5 or more counts as fitting."),
      kinds.map(([kind, word]) => [word, shown.filter((one) => one[1] === kind)]).filter(([, own]) => own.length).map(([word, own]) => el("div", { class: "bands" }, el("div", {}, el("h4", {}, word), strip(items, own.map(([item]) => item), (i) => (own[i].at(-1) === null ? "not judged" : number(own[i].at(-1), 2)))))));
  }

  function most(features, row, items, { items: where, values }) {
    if (!where.length) return el("p", { class: "note" }, "This feature fires on no image.");
    const first = [...where.slice(0, features.run.top_images)];
    const top = strip(items, first, (i) => saeviz.fixed(values[i]));
    const shown = new Map(first.map((item, i) => [item, top.children[i]]));
    const wall = (facet) => saeviz.link({ view: "images", by: `-feature:${features.name(row)}`, feature: "", in: "", iq: "", facet });
    const [facet] = saeviz.kindsOf(items).keys();
    const all = el("span", {}, el("a", { href: wall("") }, `all ${number(where.length)} on the wall of images`), facet ? [", ", el("a", { href: wall(facet) }, "by ", said(facet, 40))] : null);
    return el("section", {}, el("h3", {}, "Where it fires most"), el("div", { class: "bar" }, saeviz.heatmapSwitch(features, row, shown), all), top);
  }

  /** Images from the whole range of its activations, and some on which it does not fire. */
  function range(features, items, { items: where, values }) {
    if (!where.length) return null;
    const bands = [];
    const most = features.run.top_images;
    if (where.length > 2 * most) {
      for (let band = 1; band < BANDS; band++) {
        const from = Math.max(most, Math.floor((where.length * band) / BANDS));
        bands.push([`${100 - (band + 1) * (100 / BANDS)}th to ${100 - band * (100 / BANDS)}th percentile of its activations`, strip(items, [...where.slice(from, from + 5)], (i) => saeviz.fixed(values[from + i]))]);
      }
    }
    const silent = spread(items, where);
    if (silent.length) bands.push(["It does not fire", strip(items, silent, () => "0")]);
    return bands.length ? el("section", {}, el("h3", {}, "Over the whole range of activations"), el("p", { class: "note" }, "Top images make a feature look clearer than it is. These also show weaker activations, and images on which it does not fire."), el("div", { class: "bands" }, bands.map(([word, pictured]) => el("div", {}, el("h4", {}, word), pictured)))) : null;
  }

  /** Some images on which a feature does not fire, evenly over the run. */
  function spread(items, where) {
    const firing = new Set(where);
    const silent = items.ids.map((_, item) => item).filter((item) => !firing.has(item));
    const step = Math.max(1, Math.floor(silent.length / SILENT));
    return silent.filter((_, i) => i % step === 0).slice(0, SILENT);
  }

  function activity(items, { values }, features, row, at) {
    return el("section", {}, el("h3", {}, "Activation"),
      el("p", { class: "note" }, `Active on ${number(values.length)} of ${number(items.ids.length)} images (${number((100 * values.length) / items.ids.length, 1)} %), where its mean is ${number(values.reduce((sum, value) => sum + value, 0) / (values.length || 1), 2)}.`),
      values.length ? saeviz.savable(saeviz.histogram({ values, label: "Activations above zero", width: 320, height: 90 }), `activations of ${features.name(row)}`) : null,
      monosemanticity(at));
  }

  /** MS on a line beside what images drawn at random have, with two standard deviations of it. */
  function monosemanticity(at) {
    const [ms, mean, sd] = ["monosemanticity", "ms_null_mean", "ms_null_sd"].map(at);
    if (!Number.isFinite(ms)) return at("ms_note") ? el("p", { class: "note" }, said(at("ms_note"))) : null;
    return [el("h3", {}, "Monosemanticity"), Number.isFinite(mean) ? saeviz.savable(saeviz.nullMark(ms, mean, sd), "monosemanticity and its null") : null,
      el("p", {}, el("strong", {}, number(ms, 2)), at("ms_class") ? ["; ", said(at("ms_class"))] : "", Number.isFinite(mean) ? `; for as many images drawn at random it is ${number(mean, 2)} (SD ${number(sd, 3)})${Number.isFinite(at("ms_q")) ? `, q ${number(at("ms_q"))}` : ""}` : "", "."),
      at("ms_note") ? el("p", { class: "note" }, said(at("ms_note"))) : null];
  }

  /** Features that fire on the same images, as the report computed them or as the server does. */
  async function neighbours(features, row) {
    return features.run.has_neighbours ? ((await need("neighbours"))[row] ?? null) : null;
  }

  function alike(features, columns, near) {
    if (!near) return null;
    const label = columns.get("label");
    const tile = (other, cosine) => el("li", {}, saeviz.featureTile(features, other, label?.at(other), saeviz.fixed(cosine)));
    const section = (heading, note, { rows, cosines }) => (rows.length ? el("section", {}, el("h3", {}, heading), el("p", { class: "note" }, note), el("ul", { class: "tiles near" }, rows.map((other, i) => tile(other, cosines[i])))) : null);
    return [section("Features that fire on the same images", "By the cosine of their activations over all images; the most similar features of each space.", near),
      near.directions ? section("Features of similar direction", "By the cosine of decoder directions, in the same space: what the SAE writes when they fire, whatever the images.", near.directions) : null];
  }

  function figures(features, columns, row) {
    const rows = [...features.heads.values()].filter((head) => head.rating === null && !["label", "tier"].includes(head.name));
    const shown = rows.map((head) => [head.name, columns.get(head.name).at(row)]).filter(([, value]) => value !== "" && !Number.isNaN(value));
    return el("details", {}, el("summary", {}, "All figures"), el("dl", { class: "figures told" }, shown.map(([name, value]) => {
      const info = features.infoOf(name);
      return el("div", {}, el("dt", {}, said(saeviz.title(name), 80)), el("dd", {}, figure(value, info)), info?.words ? el("dd", { class: "note" }, said(info.words, 500)) : null);
    })), withRatings(features, columns, row));
  }

  const figure = (value, info) => [typeof value === "number" ? number(value, 4) : said(value, 300), typeof value === "number" && info?.unit ? ` ${saeviz.plainly(info.unit, 40)}` : ""];

  /** Every column about ratings, those of other people's scorers too: a line each, with what it is. */
  function withRatings(features, columns, row) {
    const ratings = features.run.ratings.slice(0, MOST_RATINGS).map(({ name }) => name);
    const of = (name, rating) => columns.get(`${name}[${rating}]`)?.at(row);
    const there = (value) => value !== undefined && value !== "" && !Number.isNaN(value);
    const names = [...new Set([...features.heads.values()].filter((head) => head.rating !== null && head.name !== "sign").map((head) => head.name))].filter((name) => ratings.some((rating) => there(of(name, rating))));
    if (!names.length) return null;
    const line = (name) => {
      const info = features.infoOf([...features.heads.keys()].find((key) => key.startsWith(`${name}[`)));
      return el("tr", {}, el("th", { scope: "row" }, said(name.replaceAll("_", " "), 80), info?.words ? el("span", { class: "note" }, said(info.words, 500)) : null), ratings.map((rating) => el("td", { class: "number" }, there(of(name, rating)) ? figure(of(name, rating)) : "–")));
    };
    return [saeviz.wide("All figures with ratings", el("table", { class: "plain told" }, el("thead", {}, el("tr", {}, el("th", { scope: "col" }, "With ratings"), ratings.map((rating) => el("th", { scope: "col", class: "number" }, said(rating, 40))))), el("tbody", {}, names.map(line)))),
      features.run.ratings.length > ratings.length ? el("p", { class: "note" }, `With the first ${ratings.length} of ${number(features.run.ratings.length)} ratings.`) : null];
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
