// The overview: one screen to quote from, and below it everything else that is known of the run as a whole.
"use strict";

{
  const { el, said, number, signed, fixed } = saeviz;
  const DASH = "–";
  const STRONGEST = 4; // features per rating and direction, and ratings

  saeviz.overview = async (features) => {
    const { run } = features;
    return [
      headline(features),
      run.notes.length ? el("section", { class: "warnings", "aria-label": "Warnings" }, run.notes.map((note) => el("p", {}, said(note)))) : null,
      run.ratings.length ? ratings(run) : null,
      await strongest(features),
      asAWhole(run),
      madeWith(run),
      methods(run),
      reading(run),
      further(run),
    ];
  };

  function headline(features) {
    const { run } = features;
    const sum = (counts) => Object.values(counts).reduce((total, n) => total + n, 0);
    const figure = (value, word, changes) => el(changes ? "a" : "div", { class: "figure", href: changes ? saeviz.link(changes) : null }, el("strong", {}, number(value)), el("span", {}, word));
    const spaces = `features in ${run.spaces.length} ${run.spaces.length === 1 ? "space" : "spaces"}`;
    const judged = sum(run.verdicts);
    const tiers = Object.entries(run.tiers).map(([tier, n]) => `${number(n)} in tier ${tier}`).join(", ");
    return el("section", { class: "headline", "aria-label": "The run at a glance" },
      figure(run.n_images, run.n_groups ? `images in ${number(run.n_groups)} groups` : "images", { view: "images" }),
      figure(features.n, spaces, { view: "features" }),
      figure(sum(run.tiers), tiers ? `selected: ${tiers}` : "selected", tiers ? { view: "features", "f.tier": Object.keys(run.tiers).join("|") } : null),
      figure(run.n_labelled, "named"),
      judged ? figure(run.verdicts.confirmed, `of ${number(judged)} ${judged === 1 ? "name" : "names"} confirmed by the judge`, { view: "features", "f.verdict": "confirmed" }) : null,
      run.n_failures ? figure(run.n_failures, "left out", null) : null);
  }

  const table = (label, heads, rows) => saeviz.wide(label, el("table", { class: "plain" },
    el("thead", {}, el("tr", {}, heads.map((head, i) => el("th", { scope: "col", class: i ? "number" : "" }, head)))),
    el("tbody", {}, rows)));
  const row = (head, cells) => el("tr", {}, el("th", { scope: "row" }, head), cells.map((cell) => el("td", { class: "number" }, cell)));
  const interval = (found) => (found ? [signed(found[0]), found[1] === null ? "" : ` (${signed(found[1])} to ${signed(found[2])})`] : DASH);

  /** Columns of the table of ratings: heading and cell; those that no rating has are left out. */
  function ratingColumns(run) {
    const heldOut = run.columns.some((head) => head.name === "r_held_out");
    const together = new Map(run.explained.prediction.map((one) => [one.rating, mostExplained(one.spaces)]));
    const significant = (one) => (one.positive === null ? null : one.positive + one.negative);
    return [
      ["Images", (one) => number(one.n)],
      ["Mean (SD)", (one) => `${fixed(one.mean)} (${fixed(one.sd)})`],
      ["Tested", (one) => number(one.tested)],
      ["Significant", (one) => el("b", {}, number(significant(one)))],
      ["r > 0", (one) => number(one.positive)],
      ["r < 0", (one) => number(one.negative)],
      ["Replicated", (one) => [el("b", {}, number(one.replicated)), ` of ${number(significant(one))}`], (one) => one.replicated !== null],
      ["Strongest r", (one) => signed(one.strongest)],
      [heldOut ? "Strongest r, held out" : "Strongest r, corrected", (one) => interval(one.unbiased), (one) => one.unbiased !== null],
      ["Ceiling of |r|", (one) => fixed(one.ceiling), (one) => one.ceiling !== null],
      ["Features explain (R²)", (one) => r2(together.get(one.name)), (one) => together.has(one.name)],
      ["Detectable |r|", (one) => fixed(one.detectable), (one) => one.detectable !== null],
      [`Shown to be |r| < ${number(run.margin)}`, (one) => number(one.negligible), (one) => run.margin !== null && one.negligible !== null],
    ].filter(([, , has]) => !has || run.ratings.some(has));
  }

  function ratings(run) {
    const columns = ratingColumns(run);
    const link = (name) => saeviz.link({ view: "features", sort: `-r[${name}]`, [`f.significant[${name}]`]: "1", plot: `volcano:${name}` });
    return el("section", { id: "ratings" }, el("h2", {}, "What correlates with each rating"),
      table("What correlates with each rating", ["Rating", ...columns.map(([word]) => word)], run.ratings.map((one) => row(el("a", { href: link(one.name) }, said(one.name, 80)), columns.map(([, cell]) => cell(one))))),
      el("p", { class: "note" }, said(run.measure), ". Significant: tested features of the whole run with a small enough q, which is p ", said(run.adjustment), "."));
  }

  function madeWith(run) {
    return el("section", {}, el("h2", {}, "What was run"),
      el("dl", { class: "made" }, run.models.map(([word, name, files]) => el("div", {}, el("dt", {}, word), el("dd", {}, said(name, 200), files === DASH || !files ? null : el("span", { class: "note" }, " ", said(files, 2000)))))),
      el("div", { class: "two" }, el("div", {}, el("h3", {}, "Spaces"), table("Spaces", ["Space", "Features", "Ever active", "Selected"], run.spaces.map((space) => row(el("a", { href: saeviz.link({ view: "features", space: space.name }) }, said(space.name)), [space.n, space.live, space.selected].map((n) => number(n)))))),
      run.monosemanticity.length ? el("div", { class: "prose", id: "monosemanticity" }, el("h3", {}, "Monosemanticity"), el("p", {}, run.monosemanticity.map((sentence) => [said(sentence), " "]))) : null),
      el("p", { class: "note" }, Object.entries(run.versions).map(([name, version]) => `${name} ${version}`).map((text, i) => [i ? ", " : "", said(text)])));
  }

  /** Per rating the selected features that go along with it most, each way, with the images where they fire most. */
  async function strongest(features) {
    const shown = features.run.ratings.slice(0, STRONGEST).filter((rating) => features.isNumber(`r[${rating.name}]`));
    if (!shown.length) return null;
    const keys = shown.flatMap((rating) => [`r[${rating.name}]`, `significant[${rating.name}]`]);
    const columns = await features.columns(["tier", "label", ...keys]);
    const parts = [];
    for (const rating of shown) {
      const r = columns.get(`r[${rating.name}]`).values;
      const significant = columns.get(`significant[${rating.name}]`)?.values;
      const tier = columns.get("tier").values;
      const rows = [];
      for (let row = 0; row < features.n; row++) if (tier[row] && Number.isFinite(r[row]) && (!significant || significant[row] === 1)) rows.push(row);
      rows.sort((a, b) => r[b] - r[a]);
      const [most, least] = [rows.filter((row) => r[row] > 0).slice(0, STRONGEST), rows.filter((row) => r[row] < 0).slice(-STRONGEST).reverse()];
      if (!most.length && !least.length) continue;
      const side = (word, list) => (list.length ? el("div", {}, el("h4", {}, word), list.map((row) => tile(features, columns.get("label").at(row), r[row], row))) : null);
      parts.push(el("section", { class: "pair" }, el("h3", {}, said(rating.name, 80)), side("Rated higher where these fire", most), side("Rated lower where these fire", least)));
    }
    return parts.length ? el("section", {}, el("h2", {}, "Strongest selected features"), el("div", { class: "strongest" }, parts)) : null;
  }

  function tile(features, label, r, row) {
    return el("a", { class: "tile", href: saeviz.link({ feature: features.name(row) }) },
      saeviz.thumbs(features, row, 4),
      el("span", {}, saeviz.called(label), el("span", { class: "id" }, said(features.name(row)))), el("span", { class: `r ${r < 0 ? "minus" : "plus"}` }, signed(r)));
  }

  // ---- ratings as a whole: how reliable they are, and what features explain together ----

  /** What ridge explains with all spaces together, or with the one that explains most where that was not tried. */
  function mostExplained(spaces) {
    const known = spaces.filter(({ ridge }) => Number.isFinite(ridge?.r2));
    return (known.find(({ space }) => space === "all") ?? known.sort((a, b) => b.ridge.r2 - a.ridge.r2)[0])?.ridge;
  }

  const r2 = (entry) => (entry ? `${fixed(entry.r2)}${entry.r2_sd === null ? "" : ` ± ${fixed(entry.r2_sd)}`}${Number.isFinite(entry.auc) ? `, AUC ${fixed(entry.auc)}` : ""}` : DASH);

  function asAWhole(run) {
    const { reliability, prediction, kept } = run.explained;
    if (!reliability.length && !prediction.length && !kept.length) return null;
    return el("section", { id: "explained" }, el("h2", {}, "Ratings as a whole"),
      reliability.length ? [el("h3", {}, "Reliability of the mean ratings"),
        el("p", { class: "note" }, "The share of the differences between mean ratings that is not due to the choice of raters. Nothing can correlate with a rating above its ceiling, except by chance."),
        table("Reliability", ["Rating", "Images", "Raters", "Ratings per image", "One rating (ICC)", "Mean (ICC)", "Split half", "Reliability", "Ceiling of |r|", "From"], reliability.map(([name, found]) => row(said(name, 80), [number(found.n_images), number(found.n_raters), fixed(found.ratings_per_image, 1), fixed(found.of_one), fixed(found.of_mean, 3), fixed(found.split_half, 3), el("b", {}, fixed(found.reliability, 3)), el("b", {}, fixed(found.ceiling_r, 3)), said(found.model)])))] : null,
      prediction.length ? [el("h3", {}, "How much the features explain together"),
        el("p", { class: "note" }, "How well the rating of images that took no part in fitting is predicted: R², ± its standard deviation over folds. 0 is as good as knowing only the mean rating. For a binary rating, ridge predicts the probability, and AUC is the mean area under the ROC curve in a fold: 0.5 is chance. Where features stay below the raw model, the sparse autoencoder has lost information about the rating, or there are too few images for the number of features."),
        table("Out-of-fold R² of each rating", ["Rating", "Images", "Space", "Features, ridge", "Features, lasso", "Features kept", "Raw model, ridge", "Embedding, ridge", "Raters' ceiling"], prediction.flatMap(predicted))] : null,
      kept.length ? el("details", {}, el("summary", {}, "Features that lasso keeps"),
        el("p", { class: "note" }, "Fitted to all images; the number is the weight, in standard deviations of the rating (of a binary one, in its log odds) per standard deviation of the feature, the strongest first. Of several features that fire together, the lasso keeps one, more or less by chance."),
        el("dl", { class: "made", id: "kept" }, kept.map(([rating, space, n, strongest]) => el("div", {}, el("dt", {}, said(rating, 80), `, ${space}, ${number(n)} kept`),
          el("dd", {}, strongest.map(([name, weight, label], i) => [i ? "; " : "", `${signed(weight)} `, el("a", { href: saeviz.link({ feature: name }) }, said(label || name, 60))]), n > strongest.length ? "; …" : ""))))) : null);
  }

  function predicted(one) {
    return one.spaces.map((space, i) => row(said(one.rating, 80), [number(one.n_images), space.space === "all" ? "all together" : said(space.space), el("b", {}, r2(space.ridge)), r2(space.lasso), number(space.lasso?.n_kept), r2(space.activations), i ? "" : r2(one.embeddings), i ? "" : fixed(one.ceiling)]));
  }

  // ---- to quote ----

  /** Text with a button that copies it; where a browser does not allow that, the text is marked to be copied by hand. */
  function quoted(title, text, tag) {
    const box = el(tag, { class: "quote", tabindex: 0, "aria-label": title }, said(text, 100000));
    const done = el("output", { class: "note" });
    const copy = async () => {
      try {
        await navigator.clipboard.writeText(text);
        done.value = "copied";
      } catch {
        getSelection().selectAllChildren(box);
        done.value = "selected: copy it with the keyboard";
      }
    };
    return el("div", { class: "quoted" }, el("h3", {}, title, " ", el("button", { type: "button", "aria-label": `Copy: ${title}`, onclick: copy }, "Copy"), " ", done), box);
  }

  function methods(run) {
    const { text, bibtex, citations } = run.methods;
    return el("section", { id: "methods" }, el("h2", {}, "Methods to cite"), quoted("Methods", text, "p"),
      citations.length ? [quoted("BibTeX", bibtex, "pre"),
        el("details", {}, el("summary", {}, `The ${number(citations.length)} publications in words`), el("ul", { class: "prose cited" }, citations.map(([what, authors, title, where]) => el("li", {}, `${what}: ${authors}. `, el("cite", {}, `${title}.`), ` ${where}.`))))] : el("p", { class: "note" }, "saeviz does not know any publications about the methods that this run used."));
  }

  function reading(run) {
    return el("section", { id: "reading" }, el("h2", {}, "How to read the numbers"),
      el("details", { class: "prose" }, el("summary", {}, "What each number means"), el("dl", {}, run.reading.map(([term, text]) => [el("dt", {}, said(term)), el("dd", {}, said(text, 5000))]))),
      Object.entries({ features: "What each column is", ratings: "What each column about a rating is", images: "What each column of images is" }).map(([of, title]) => described(title, run.infos?.[of])));
  }

  /** Columns with what their scorers say of them. */
  function described(title, infos) {
    const known = Object.entries(infos ?? {}).slice(0, 300); // there may be some for each of very many ratings
    return known.length ? el("details", { class: "prose columns" }, el("summary", {}, title), el("dl", {}, known.map(([name, { words }]) => [el("dt", {}, said(saeviz.title(name), 80), saeviz.title(name) === name ? null : [" ", el("code", {}, said(name, 80))]), el("dd", {}, said(words, 1000))]))) : null;
  }

  function further(run) {
    const pairs = (list) => el("dl", { class: "figures" }, list.map(([name, value]) => el("div", {}, el("dt", {}, said(name, 200)), el("dd", {}, said(value, 500)))));
    const more = run.n_failures - run.failures.length;
    return el("section", { id: "further" }, el("h2", {}, "Everything else about the run"),
      run.n_failures ? el("details", { id: "failures" }, el("summary", {}, `${number(run.n_failures)} left out`),
        saeviz.wide("Failures", el("table", { class: "plain" }, el("thead", {}, el("tr", {}, ["Stage", "What", "Why"].map((word) => el("th", { scope: "col" }, word)))), el("tbody", {}, run.failures.map((cells) => el("tr", {}, cells.map((cell) => el("td", {}, said(cell, 1000)))))))),
        more ? el("p", {}, `${number(more)} more are listed in failures.jsonl of the run directory.`) : null) : el("p", { class: "note" }, "Nothing was left out."),
      run.facts.length ? el("details", { id: "facts" }, el("summary", {}, `${number(run.facts.length)} further figures`), pairs(run.facts)) : null,
      run.stages.length ? el("details", { id: "stages" }, el("summary", {}, "Stages"),
        saeviz.wide("Stages", el("table", { class: "plain" }, el("thead", {}, el("tr", {}, ["Stage", "Time", "Counts", "Finished"].map((word) => el("th", { scope: "col" }, word)))), el("tbody", {}, run.stages.map(([name, time, counts, finished]) => el("tr", {}, [name, time, counts, finished || DASH].map((cell) => el("td", {}, said(cell, 1000))))))))) : null,
      Object.keys(run.config).length ? el("details", {}, el("summary", {}, "The whole configuration"), el("pre", { tabindex: 0 }, said(JSON.stringify(run.config, null, 2), 200000))) : null);
  }
}
