// What the address says is what the page shows.
"use strict";

{
  const { el, said, state } = saeviz;
  const VIEWS = { overview: ["Overview", saeviz.overview], features: ["Features", saeviz.featuresView], images: ["Images", saeviz.imagesView], image: [null, saeviz.imageView], lists: ["Lists", saeviz.listsView] };
  const VERSION = 1;
  let [features, shown, turn] = [null, null, 0];

  const failed = (error) => document.getElementById("main").replaceChildren(el("p", { class: "warnings" }, said(error.message)));

  /** Everything that decides what lies behind the card. */
  const behind = () => JSON.stringify([...state.read()].filter(([key]) => key !== "feature"));

  async function show() {
    const mine = ++turn;
    const address = location.hash;
    const view = Object.hasOwn(VIEWS, state.get("view")) ? state.get("view") : "overview";
    for (const link of document.querySelectorAll("#tabs a")) {
      const on = link.dataset.view === view || (view === "image" && link.dataset.view === "images");
      if (on) link.setAttribute("aria-current", "page");
      else link.removeAttribute("aria-current");
      link.href = saeviz.link({ view: link.dataset.view, feature: "", image: "" });
    }
    if (shown !== behind()) {
      const now = behind();
      const scrolled = document.querySelector(".filters")?.scrollTop ?? 0;
      const typed = document.activeElement?.id === "search" ? document.activeElement.selectionStart : null;
      const parts = (await VIEWS[view][1](features)).flat().filter(Boolean);
      if (mine !== turn) return;
      document.getElementById("main").replaceChildren(...parts);
      const filters = document.querySelector(".filters");
      if (filters) filters.scrollTop = scrolled;
      if (typed !== null) {
        const search = document.getElementById("search");
        search?.focus();
        search?.setSelectionRange(typed, typed);
      }
      shown = now;
    }
    const dialog = document.getElementById("card");
    const row = state.get("feature") ? features.row(state.get("feature")) : -1;
    if (row >= 0) await saeviz.showCard(features, row, await saeviz.rowsWanted(features));
    else if (dialog.open) dialog.close();
    saeviz.shows = address; // for whoever waits until the page shows what the address says
  }

  async function start() {
    const run = await saeviz.need("run");
    if (run.version > VERSION) throw new Error(`The data of this page have version ${run.version}, but its viewer reads up to ${VERSION}; write the report again.`);
    features = new saeviz.Features(run);
    document.title = `${saeviz.plainly(run.title, 80)} – saeviz`;
    document.getElementById("title").replaceChildren(said(run.title, 120));
    document.getElementById("tabs").append(...Object.entries(VIEWS).filter(([, [title]]) => title).map(([name, [title]]) => el("a", { "data-view": name, href: "#" }, title)));
    window.addEventListener("hashchange", () => show().catch(failed));
    await show();
    document.documentElement.dataset.ready = "yes";
  }
  start().catch(failed);
}
