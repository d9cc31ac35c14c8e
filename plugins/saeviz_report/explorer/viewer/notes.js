// What people note about features: labels by hand, marks, a few words. A host writes them; a report has those that were
// there when it was written.
"use strict";

{
  const { el, said, need, fill } = saeviz;
  const MARKS = { interesting: ["Interesting", "i"], wrong: ["Wrong", "w"], done: ["Done", "d"] };
  const FIELDS = ["label", "description", "mark", "text"];
  const NOTHING = { label: "", description: "", mark: "", text: "", time: "", version: "" };
  const drafts = new Map(); // row -> what is being written, which stays if the card is left
  const given = new Map(); // columns as the report has them

  /** What is noted about a feature. */
  saeviz.noteOn = (features, row) => features.notes.get(row) ?? NOTHING;
  /** The label that the labeler gave, which one by hand does not replace. */
  saeviz.labelersLabel = (features, row) => features.namedAgain.get(row)?.label ?? given.get("label")?.at(row) ?? "";

  /** Reads the notes, and labels given since the page was written. */
  saeviz.loadNotes = async (features) => {
    features.notes = new Map();
    features.namedAgain = new Map();
    features.earlierNotes = new Map();
    const found = saeviz.live ? await saeviz.live.get("notes") : features.run.has_notes ? await need("notes") : null;
    if (!found) return;
    for (const [place, known] of [["notes", found.notes ?? {}], ["namedAgain", found.labels ?? {}], ["earlierNotes", found.earlier ?? {}]]) {
      for (const [name, value] of Object.entries(known)) if (features.row(name) >= 0) features[place].set(features.row(name), value);
    }
    for (const [key, column] of await features.columns(["label", "verdict"])) given.set(key, column);
    install(features);
  };

  /** A column of text with other words in some rows. */
  function overlaid(column, changes) {
    const [codes, words] = [Uint32Array.from(column.codes), [...column.words]];
    const known = new Map(words.map((word, code) => [word, code]));
    for (const [row, word] of changes) {
      if (!known.has(word)) known.set(word, words.push(word) - 1);
      codes[row] = known.get(word);
    }
    return { text: true, codes, words, length: codes.length, at: (row) => words[codes[row]] };
  }

  /** Puts what is noted into the columns, so that tables, filters, plots, searches and lists know of it. */
  function install(features) {
    const blank = { codes: new Uint8Array(features.n), words: [""] };
    const [notes, again] = [[...features.notes], [...features.namedAgain]];
    const labels = overlaid(given.get("label") ?? blank, again.map(([row, label]) => [row, label.label]));
    const columns = { mark: overlaid(blank, notes.map(([row, note]) => [row, note.mark])), note: overlaid(blank, notes.map(([row, note]) => [row, note.text])), labelers_label: labels };
    columns.label = overlaid(labels, notes.filter(([, note]) => note.label).map(([row, note]) => [row, note.label]));
    if (given.has("verdict")) columns.verdict = overlaid(given.get("verdict"), again.map(([row]) => [row, ""]));
    for (const [key, column] of Object.entries(columns)) {
      if (!features.heads.has(key)) features.heads.set(key, { name: key, rating: null, text: true });
      features.loaded.set(key, column);
    }
  }

  /** Words of notes that a search finds, in lower case. */
  saeviz.notedWords = (features, row) => {
    const note = features.notes.get(row);
    return note ? `${note.text} ${note.description} ${saeviz.labelersLabel(features, row)}`.toLowerCase() : "";
  };

  /** A mark as a small sign; null where there is none. */
  saeviz.markSign = (features, row) => {
    const { mark } = saeviz.noteOn(features, row);
    return mark ? el("span", { class: `mark ${Object.hasOwn(MARKS, mark) ? `is-${mark}` : ""}` }, said(mark, 20)) : null;
  };

  /** What a card says of a feature: what the report has, and what its labeler said since. */
  saeviz.cardOf = (features, cards, row) => {
    const label = features.namedAgain.get(row);
    return label ? { reason: cards[row]?.reason, description: label.description, why: label.why, elements: label.elements } : (cards[row] ?? {});
  };

  /** The part of a card with the notes on its feature; `verdict` is that on the labeler's label. */
  saeviz.notesOnCard = (features, row, verdict) => {
    const [box, says] = [el("section", { class: "notes", "aria-label": "Notes" }), el("p", { class: "note", role: "status" })];
    const feature = features.name(row);
    const show = () => fill(box, told(features, row, verdict), ofEarlier(features, row, saeviz.live ? takeOver : null), saeviz.live ? tools() : null, drafts.has(row) ? form() : null, says);
    const tell = (...words) => fill(says, words);
    const keep = (note) => {
      features.notes.set(row, note);
      install(features);
      fill(document.getElementById("card-title"), features.loaded.get("label").at(row) ? said(features.loaded.get("label").at(row)) : "Not named");
      const [verdict, author] = [document.querySelector("#card > header .verdict"), document.querySelector("#card .by-labeler")];
      if (verdict) verdict.hidden = note.label !== "";
      if (author) author.hidden = note.label === "";
      saeviz.outdated = true; // the page behind the card is shown anew when it is closed
    };
    /** Writes changes of what was `seen`; what somebody else wrote meanwhile is shown and not written over. */
    const write = async (changes, seen) => {
      try {
        keep((await saeviz.live.put("notes", { feature, was: seen.version, ...changes })).note);
        return null;
      } catch (error) {
        if (error.status !== 409) throw error;
        keep(error.answer.note);
        return error.answer.note;
      }
    };
    const mark = async (name) => {
      const seen = saeviz.noteOn(features, row);
      const back = saeviz.keepPlace(box);
      try {
        const newer = await write({ mark: seen.mark === name ? "" : name }, seen);
        tell(newer ? "Somebody else has changed this note; this is what it says now. Mark it again if you still want to." : "");
      } catch (error) {
        tell(said(error.message, 400));
      }
      show();
      back();
    };
    const takeOver = async (note) => {
      try {
        const newer = await write(Object.fromEntries(FIELDS.map((name) => [name, note[name]])), saeviz.noteOn(features, row));
        tell(newer ? "Somebody else has noted something in the meantime; this is what it says now." : "");
      } catch (error) {
        tell(said(error.message, 400));
      }
      show();
      box.querySelector("[data-key=edit]").focus();
    };
    const edit = () => {
      if (!drafts.has(row)) drafts.set(row, { ...saeviz.noteOn(features, row), seen: saeviz.noteOn(features, row), newer: null });
      show();
      box.querySelector("form input").focus();
    };
    const leave = () => {
      drafts.delete(row);
      tell("");
      show();
      box.querySelector("[data-key=edit]").focus();
    };
    const tools = () => {
      const now = saeviz.noteOn(features, row).mark;
      return el("div", { class: "bar" },
        Object.entries(MARKS).map(([name, [word, key]]) => el("button", { type: "button", class: `mark is-${name}`, "aria-pressed": String(now === name), "aria-keyshortcuts": key, title: `${word} (key ${key})`, "data-key": `mark.${name}`, onclick: () => mark(name) }, word)),
        el("button", { type: "button", "data-key": "edit", "aria-keyshortcuts": "e", "aria-expanded": String(drafts.has(row)), title: "Edit label and note (key e)", onclick: () => (drafts.has(row) ? leave() : edit()) }, "Edit label and note"),
        saeviz.askAgain(features, row, tell));
    };
    const form = () => editor(features, row, drafts.get(row), { write, leave, show, tell });
    box.noteKeys = { i: () => mark("interesting"), w: () => mark("wrong"), d: () => mark("done"), e: edit };
    show();
    return box;
  };

  /** A key pressed on a card, where it is not typed into a field. */
  saeviz.noteKey = (dialog, event) => {
    if (!saeviz.live || event.ctrlKey || event.metaKey || event.altKey || event.target.matches?.("input, select, textarea")) return;
    const act = dialog.querySelector(".notes")?.noteKeys[event.key];
    if (!act) return;
    event.preventDefault();
    act();
  };

  /** What is noted, in words. */
  function told(features, row, verdict) {
    const note = saeviz.noteOn(features, row);
    const labelers = saeviz.labelersLabel(features, row);
    const earlier = features.namedAgain.get(row)?.earlier ?? [];
    const day = el("time", { datetime: note.time }, note.time.slice(0, 10));
    return [note.label ? el("p", { class: "note" }, "Label by hand. The labeler's: ", labelers ? el("q", {}, said(labelers, 80)) : "none", verdict) : null,
      note.description ? el("p", { class: "description" }, said(note.description), el("span", { class: "note" }, " (by hand)")) : null,
      note.mark || note.text ? el("p", {}, saeviz.live ? null : saeviz.markSign(features, row), note.text ? el("span", { class: "words" }, said(note.text, 5000)) : null, " ", el("span", { class: "note" }, "noted on ", day)) : null,
      earlier.length ? el("p", { class: "note" }, "Earlier labels: ", earlier.map((one, i) => [i ? ", " : "", el("q", {}, said(one.label || "none", 80))])) : null];
  }

  /** What was noted under this number when the run had another extractor; it may be taken over where nothing is noted. */
  function ofEarlier(features, row, takeOver) {
    const note = features.earlierNotes.get(row);
    if (!note) return null;
    const parts = [note.label ? el("q", {}, said(note.label, 80)) : null, note.description ? said(note.description) : null, note.mark ? said(note.mark, 20) : null, note.text ? said(note.text, 5000) : null].filter(Boolean);
    return el("div", { class: "bar note earlier" }, el("span", { class: "words" }, "Noted of an earlier extractor, in which this number was of another feature: ", parts.map((part, i) => [i ? "; " : "", part]), ` (${note.time.slice(0, 10)}).`),
      takeOver && !features.notes.get(row)?.version ? el("button", { type: "button", "data-key": "take", onclick: () => takeOver(note) }, "It is the same feature: take it over") : null);
  }

  /** The fields of a note that is being written. */
  function editor(features, row, draft, { write, leave, show, tell }) {
    const field = (name, word, most, tag = "textarea") => {
      const id = `note-${name}`;
      const input = el(tag, { id, maxlength: most, "data-key": id, placeholder: name === "label" ? saeviz.plainly(saeviz.labelersLabel(features, row), 80) : null, oninput: () => (draft[name] = input.value) });
      input.value = draft[name];
      return el("label", { for: id }, el("span", {}, word), input);
    };
    const save = async (seen) => {
      const changes = Object.fromEntries(["label", "description", "text"].filter((name) => draft[name] !== seen[name]).map((name) => [name, draft[name]]));
      tell("Saving…");
      try {
        const newer = await write(changes, seen);
        if (!newer) return leave();
        draft.newer = newer;
        tell("");
        show();
      } catch (error) {
        tell(said(error.message, 400));
      }
    };
    const submit = (event) => {
      event.preventDefault();
      save(draft.newer ?? draft.seen);
    };
    const keydown = (event) => {
      if (event.key === "Enter" && (event.ctrlKey || event.metaKey)) submit(event);
      if (event.key === "Escape") {
        event.preventDefault();
        event.stopPropagation();
        leave();
      }
    };
    return el("form", { class: "editor", onsubmit: submit, onkeydown: keydown },
      field("label", "Label, 1 to 5 words", 80, "input"), field("description", "Description", 1000), field("text", "Note", 4000),
      draft.newer ? theirs(draft.newer) : null,
      el("div", { class: "bar" }, el("button", { type: "submit", title: "Ctrl+Enter" }, draft.newer ? "Save mine instead" : "Save"), el("button", { type: "button", title: "Escape", onclick: leave }, draft.newer ? "Keep theirs" : "Cancel"), el("span", { class: "note" }, "The labeler's label is kept as well; leave the field empty to use only that.")));
  }

  const theirs = (newer) => el("div", { class: "warnings", role: "alert" }, el("p", {}, "Somebody else has changed this note in the meantime. Their version:"),
    el("dl", { class: "figures" }, ["label", "description", "text", "mark"].map((name) => el("div", {}, el("dt", {}, name === "text" ? "note" : name), el("dd", {}, newer[name] ? said(newer[name], 5000) : "–")))));

  /** A button that asks the labeler again; null where that is not granted or the feature is not one to be named. */
  saeviz.askAgain = (features, row, tell) => {
    if (!saeviz.live?.about.can_name_again || !(features.loaded.get("tier")?.at(row) > 0)) return null;
    const button = el("button", { type: "button", "data-key": "again", onclick: async () => {
      button.disabled = true;
      tell("Asking the labeler; this may take a minute…");
      try {
        const before = saeviz.labelersLabel(features, row);
        const { label } = await saeviz.live.post("relabel", undefined, { feature: features.name(row) });
        features.namedAgain.set(row, label);
        install(features);
        saeviz.outdated = true;
        if (label.label === before) tell("The labeler gave the same name again.");
        else window.dispatchEvent(new HashChangeEvent("hashchange"));
      } catch (error) {
        tell(said(error.message, 400));
      }
      button.disabled = false;
    } }, "Ask the labeler again");
    return button;
  };
}
