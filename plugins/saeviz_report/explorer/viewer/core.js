// What everything else needs: data files, elements, numbers as text, and the state in the address.
"use strict";

const saeviz = {};

{
  const waiting = new Map(); // name -> {promise, resolve}
  const arrays = { u1: Uint8Array, u2: Uint16Array, u4: Uint32Array, i4: Int32Array, f4: Float32Array, f8: Float64Array };

  const own = document.currentScript.src; // data/ lies beside the folder that holds this script

  /** Called by a data file with what it holds. */
  saeviz.receive = (name, value) => {
    const one = waiting.get(name);
    if (!one) return;
    one.received = true;
    one.resolve(value);
  };

  /** The content of a data file, loaded once. A page opened from disk cannot fetch, but it can load scripts. */
  saeviz.need = (name) => {
    if (!waiting.has(name)) {
      let resolve, reject;
      const promise = new Promise((done, failed) => {
        resolve = done;
        reject = (reason) => {
          waiting.delete(name); // so that it is asked for again
          failed(new Error(`data/${name}.js ${reason}`));
        };
      });
      waiting.set(name, { promise, resolve });
      const inside = document.querySelector(`script[data-name="${CSS.escape(name)}"]`);
      if (inside) resolve(JSON.parse(inside.textContent));
      else {
        const script = document.createElement("script");
        script.src = new URL(`../data/${name}.js`, own);
        script.onload = () => {
          script.remove();
          if (!waiting.get(name)?.received) reject("is damaged: write the report again.");
        };
        script.onerror = () => {
          script.remove();
          reject("could not be loaded: if the report has been rewritten, reload the page; if it has been moved, move its whole folder.");
        };
        document.head.append(script);
      }
    }
    return waiting.get(name).promise;
  };

  /** The data files that were asked for until now. */
  saeviz.asked = () => [...waiting.keys()];

  /** The typed array that a column of numbers stands for. */
  saeviz.unpack = ({ kind, data }) => {
    if (Uint8Array.fromBase64) return new arrays[kind](Uint8Array.fromBase64(data).buffer); // browsers of 2025 and later
    const text = atob(data);
    const bytes = new Uint8Array(text.length);
    for (let i = 0; i < bytes.length; i++) bytes[i] = text.charCodeAt(i);
    return new arrays[kind](bytes.buffer);
  };

  /** A column of numbers or text: `length`, `at(row)`, and for text the `codes` and the `words` they stand for. */
  saeviz.column = (packed) => {
    if (packed.kind !== "text") {
      const values = saeviz.unpack(packed);
      return { text: false, values, length: values.length, at: (row) => values[row] };
    }
    const codes = saeviz.unpack(packed.codes);
    const words = packed.values;
    return { text: true, codes, words, length: codes.length, at: (row) => words[codes[row]] };
  };

  /** An element. Text is only ever text: nothing that comes from data becomes markup. */
  saeviz.el = (tag, attributes = {}, ...children) => {
    const element = document.createElement(tag);
    for (const [name, value] of Object.entries(attributes)) {
      if (value === undefined || value === null || value === false) continue;
      if (name.startsWith("on")) element.addEventListener(name.slice(2), value);
      else if (name === "class") element.className = value;
      else element.setAttribute(name, value === true ? "" : value);
    }
    element.append(...kept(children));
    return element;
  };
  const kept = (children) => children.flat(Infinity).filter((child) => child !== null && child !== undefined && child !== false);

  /** Puts these in the place of what an element holds; what is null is left out. */
  saeviz.fill = (element, ...children) => element.replaceChildren(...kept(children));

  /** What is folded away where the page is narrow, and simply there where it is wide. */
  saeviz.folded = (word, open, ...children) => saeviz.el("details", { class: "fold", open: open || matchMedia("(min-width: 60rem)").matches }, saeviz.el("summary", {}, word), ...children);

  /** A box for a table that may be wider than the page; the keyboard scrolls what has the focus. */
  saeviz.wide = (label, table) => saeviz.el("div", { class: "scroll", role: "region", "aria-label": label, tabindex: 0 }, table);

  /**
   * Notes what has the focus and which details are open, and returns what restores both where the content of `element`
   * was made anew. Elements are the same if they have the same `data-key`, label or text; if there is none, or if it is
   * another page (`stays` is false), the focus goes to `element`.
   */
  saeviz.keepPlace = (element) => {
    const keyOf = (one) => one.dataset.key ?? one.getAttribute("aria-label") ?? one.textContent;
    const summaries = () => [...element.querySelectorAll("details > summary")];
    const focused = document.activeElement;
    const key = element.contains(focused) && focused !== element ? keyOf(focused) : null;
    const caret = focused?.type === "search" ? [focused.selectionStart, focused.selectionEnd] : null;
    const open = new Map(summaries().map((summary) => [summary.textContent, summary.parentElement.open]));
    return (stays = true) => {
      for (const summary of summaries()) summary.parentElement.open = open.get(summary.textContent) ?? summary.parentElement.open;
      if (key === null) return;
      const same = stays && key && [...element.querySelectorAll(focused.tagName)].find((one) => keyOf(one) === key && !one.disabled);
      (same || element).focus({ preventScroll: true });
      if (same && caret) same.setSelectionRange(...caret);
    };
  };

  const NS = "http://www.w3.org/2000/svg";
  saeviz.svg = (tag, attributes = {}, ...children) => {
    const element = document.createElementNS(NS, tag);
    for (const [name, value] of Object.entries(attributes)) {
      if (name.startsWith("on")) element.addEventListener(name.slice(2), value);
      else element.setAttribute(name, value);
    }
    element.append(...children);
    return element;
  };

  // Characters that turn the direction of text, end lines or cannot be seen are spelt out.
  const invisible = /[\u0000-\u0008\u000b-\u001f\u007f-\u009f\u061c\u200b\u200e\u200f\u2028-\u202e\u2060-\u2069\ufeff\ufffe\uffff]/g;
  const spelt = (mark) => `\\u${mark.charCodeAt(0).toString(16).padStart(4, "0")}`;

  /** Text from outside, isolated from the direction of what is around it; long text is cut to `most` characters. */
  saeviz.said = (text, most = 2000) => {
    const shown = String(text).toWellFormed?.() ?? String(text);
    return saeviz.el("bdi", {}, (shown.length > most ? `${shown.slice(0, most)}…` : shown).replace(invisible, spelt));
  };
  saeviz.plainly = (text, most = 200) => saeviz.said(text, most).textContent;

  const minus = (text) => text.replace("-", "−");
  saeviz.number = (value, digits = 3) => {
    if (value === null || value === undefined || Number.isNaN(value)) return "–";
    if (value === 0) return "0";
    if (Number.isInteger(value)) return minus(value.toLocaleString("en-US"));
    if (Math.abs(value) >= 1000) return minus(Math.round(value).toLocaleString("en-US"));
    if (value !== 0 && Math.abs(value) < 0.001) return minus(value.toExponential(1));
    return minus(value.toFixed(digits).replace(/(\.\d*?)0+$/, "$1").replace(/\.$/, ""));
  };
  /** How many there are of a thing: `1 image`, `2 images`. */
  saeviz.counted = (n, thing) => `${saeviz.number(n)} ${thing}${n === 1 ? "" : "s"}`;
  saeviz.fixed = (value, digits = 2) => (Number.isFinite(value) ? minus(value.toFixed(digits)) : "–");
  saeviz.signed = (value, digits = 2) => {
    if (value === null || value === undefined || Number.isNaN(value)) return "–";
    const text = value.toFixed(digits);
    if (Number(text) === 0) return text.replace("-", "");
    return (value > 0 ? "+" : "") + minus(text);
  };

  /** What the address says, and changing it. Keys with empty values are left out, so that links stay short. */
  saeviz.state = {
    read: () => new URLSearchParams(location.hash.slice(1)),
    get: (key, otherwise = "") => saeviz.state.read().get(key) ?? otherwise,
    set: (changes, { replace = false } = {}) => {
      const found = saeviz.state.read();
      for (const [key, value] of Object.entries(changes)) {
        if (value === "" || value === null || value === undefined) found.delete(key);
        else found.set(key, value);
      }
      const hash = `#${found.toString()}`;
      if (hash === location.hash || (hash === "#" && !location.hash)) return;
      if (replace) {
        history.replaceState(null, "", hash);
        window.dispatchEvent(new HashChangeEvent("hashchange"));
      } else location.hash = hash;
    },
  };

  /** Several words as one of the address, and back; names from outside may hold the mark between them. */
  saeviz.join = (words) => words.map((word) => word.replace(/[%|]/g, encodeURIComponent)).join("|");
  saeviz.split = (text) => text.split("|").map((word) => word.replace(/%(25|7C)/g, decodeURIComponent));

  /** Offers text as a file to save. */
  saeviz.save = (name, kind, text) => {
    const link = saeviz.el("a", { download: name, href: URL.createObjectURL(new Blob([text], { type: kind })) });
    link.click();
    setTimeout(() => URL.revokeObjectURL(link.href), 1000);
  };
  /** A field of a CSV file. One that a spreadsheet would take for a formula gets an apostrophe in front. */
  saeviz.field = (value) => {
    const number = typeof value === "number";
    const plain = number ? (Number.isNaN(value) ? "" : String(value)) : String(value ?? "");
    const text = !number && /^[=+\-@\t\r\n\uff1d\uff0b\uff0d\uff20]/.test(plain) ? `'${plain}` : plain;
    return /[",\n\r]/.test(text) ? `"${text.replaceAll('"', '""')}"` : text;
  };
}
