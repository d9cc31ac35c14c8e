// What the address says is what the page shows.
"use strict";

{
  const { el, said, state } = saeviz;
  const VIEWS = { overview: ["Overview", saeviz.overview], features: ["Features", saeviz.featuresView], images: ["Images", saeviz.imagesView], image: [null, saeviz.imageView], lists: ["Lists", saeviz.listsView], look: ["Your own image", saeviz.lookView] };
  const VERSION = 1;
  const WITHOUT = { pictures: "Pictures and ratings are not available: ", model: "The model is not available, so there are no heatmaps: " };
  let [features, shown, turn] = [null, null, 0];

  const main = document.getElementById("main");
  const scrolled = new Map(); // how far each page was scrolled when it was left
  let page = null;

  const failed = (error) => {
    shown = null; // another try shows it anew
    main.replaceChildren(el("p", { class: "warnings" }, said(error.message)));
  };

  /** Everything that decides what lies behind the card. */
  const behind = () => JSON.stringify([...state.read()].filter(([key]) => key !== "feature"));

  /** Puts a view in the place of another; the reader stays where he was in it, by keyboard, caret and scrolling. */
  function replace(parts, name) {
    const [search, filters] = [document.getElementById("search"), document.querySelector(".filters")?.scrollTop ?? 0];
    const back = saeviz.keepPlace(main);
    if (page !== null) scrolled.set(page, window.scrollY);
    main.replaceChildren(...parts);
    const [next, panel] = [document.getElementById("search"), document.querySelector(".filters")];
    if (saeviz.typing && search && next) next.value = search.value;
    back(page === name);
    if (panel) panel.scrollTop = filters;
    if (page !== name) window.scrollTo(0, scrolled.get(name) ?? 0);
    page = name;
  }

  async function show() {
    const mine = ++turn;
    const address = location.hash;
    const view = Object.hasOwn(VIEWS, state.get("view")) ? state.get("view") : "overview";
    for (const link of document.querySelectorAll("#tabs a[data-view]")) {
      const on = link.dataset.view === view || (view === "image" && link.dataset.view === "images");
      if (on) link.setAttribute("aria-current", "page");
      else link.removeAttribute("aria-current");
      link.href = saeviz.link({ view: link.dataset.view, feature: "", image: "" });
    }
    if (saeviz.outdated && !state.get("feature")) {
      saeviz.outdated = false;
      features.forget();
      shown = null;
    }
    if (shown !== behind()) {
      const now = behind();
      const parts = (await VIEWS[view][1](features)).flat().filter(Boolean);
      if (mine !== turn) return;
      replace(parts, `${view} ${state.get("image")}`);
      shown = now;
    }
    const dialog = document.getElementById("card");
    const row = state.get("feature") ? features.row(state.get("feature")) : -1;
    if (row >= 0) {
      const open = await saeviz.card(features, row, await saeviz.rowsWanted(features));
      if (mine !== turn) return;
      open();
    } else if (dialog.open) {
      dialog.close();
      if (document.activeElement === document.body) main.focus({ preventScroll: true });
    }
    saeviz.shows = address; // for whoever waits until the page shows what the address says
  }

  async function start() {
    const run = await saeviz.need("run");
    if (run.version > VERSION) throw new Error(`The data of this page have version ${run.version}, but its viewer reads versions up to ${VERSION}; write the report again.`);
    await saeviz.connect(run);
    features = new saeviz.Features(run);
    await saeviz.loadNotes(features);
    document.title = `${saeviz.plainly(run.title, 80)} – saeviz`;
    document.getElementById("title").replaceChildren(said(run.title, 120));
    document.getElementById("tabs").append(...Object.entries(VIEWS).filter(([name, [title]]) => title && (name !== "look" || saeviz.live)).map(([name, [title]]) => el("a", { "data-view": name, href: "#" }, title)), ...[saeviz.comparisonLink()].filter(Boolean));
    for (const [what, reason] of Object.entries(saeviz.live?.about.missing ?? {})) main.before(el("p", { class: "warnings" }, WITHOUT[what] ?? what, said(reason, 400)));
    window.addEventListener("hashchange", () => show().catch(failed));
    await show();
    document.documentElement.dataset.ready = "yes";
  }
  start().catch(failed);
}
