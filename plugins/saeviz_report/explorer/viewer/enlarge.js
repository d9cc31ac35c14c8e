// A picture enlarged over everything else. Its keys: arrows to the next ones of its row, Escape back.
"use strict";

{
  const { el, said, number } = saeviz;
  const SHARP = 1024; // height of a picture that the host is asked for

  /** Makes a click on a picture of these enlarge it; with a key held it is still a link to the page of its image. */
  saeviz.enlargeable = (items, holder) => {
    holder.addEventListener("click", (event) => {
      const link = event.target.closest?.(".picture");
      if (!link || !holder.contains(link) || event.ctrlKey || event.metaKey || event.shiftKey || event.button) return;
      event.preventDefault();
      const row = [...link.parentElement.querySelectorAll(":scope > .picture")];
      show(items, row, row.indexOf(link));
    });
    return holder;
  };

  function show(items, row, start) {
    const dialog = document.getElementById("enlarged");
    let place = start;
    const draw = () => {
      const link = row[place];
      const item = Number(link.dataset.item);
      const frame = link.querySelector(".frame").cloneNode(true);
      link.querySelectorAll(".heat").forEach((heat, i) => frame.querySelectorAll(".heat")[i].getContext("2d").drawImage(heat, 0, 0));
      sized(frame, items.ids[item]);
      const rated = items.ratings.map(([name, packed]) => [name, saeviz.column(packed).at(item)]).filter(([, value]) => Number.isFinite(value)).slice(0, 8);
      const below = link.querySelector(".below")?.textContent;
      const step = (by, word, mark) => el("button", { type: "button", "aria-label": word, "data-key": word, disabled: row[place + by] === undefined, onclick: () => move(by) }, mark);
      const back = saeviz.keepPlace(dialog);
      saeviz.fill(dialog,
        el("header", {}, el("h2", { id: "enlarged-title" }, said(items.ids[item], 200)), el("div", { class: "buttons" }, step(-1, "Previous picture", "←"), step(1, "Next picture", "→"), el("button", { type: "button", "aria-label": "Close the picture", onclick: () => dialog.close() }, "×"))),
        frame,
        el("p", {}, below ? `Activation ${below}. ` : "", rated.map(([name, value], i) => [i ? " · " : "", said(name, 40), ` ${number(value, 2)}`])),
        el("p", {}, el("a", { href: link.getAttribute("href"), onclick: () => dialog.close() }, "Page of this image")));
      back();
    };
    const move = (by) => {
      if (row[place + by] === undefined) return;
      place += by;
      draw();
    };
    dialog.onkeydown = (event) => {
      event.stopPropagation();
      if (event.key === "ArrowLeft") move(-1);
      if (event.key === "ArrowRight") move(1);
    };
    dialog.onclick = (event) => {
      if (event.target === dialog) dialog.close();
    };
    dialog.onclose = () => {
      if (row[place].isConnected) row[place].focus();
    };
    draw();
    if (!dialog.open) dialog.showModal();
  }

  /** As large as the window allows, in the shape of the picture; the host has it sharper than a report. */
  function sized(frame, id) {
    const image = frame.querySelector("img");
    if (!image) return;
    const shape = () => {
      if (!image.naturalWidth) return;
      frame.style.aspectRatio = `${image.naturalWidth} / ${image.naturalHeight}`;
      frame.style.setProperty("--shape", image.naturalWidth / image.naturalHeight);
    };
    frame.classList.add("large-frame");
    image.loading = "eager";
    image.addEventListener("load", shape);
    if (saeviz.live) image.src = saeviz.live.picture(id, SHARP);
    shape();
  }
}
