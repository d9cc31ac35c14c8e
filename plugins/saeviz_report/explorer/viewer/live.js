// Asking the host that serves the run; a page opened from disk, or a report on a web server, has none.
"use strict";

{
  /** Asks `api/PATH`; what is sent is JSON, or a file as it is. Fails with the sentence that the host gives. */
  const ask = async (method, path, query = {}, body = undefined) => {
    const file = body instanceof Blob;
    const headers = body === undefined ? {} : { "Content-Type": file ? body.type || "application/octet-stream" : "application/json" };
    let answer;
    try {
      answer = await fetch(address(path, query), { method, headers, body: body === undefined || file ? body : JSON.stringify(body) });
    } catch {
      throw new Error("The host does not answer: saeviz serve has stopped, or the connection is lost.");
    }
    const text = await answer.text();
    let value = null;
    try {
      value = text ? JSON.parse(text) : null;
    } catch {
      // not the host's own answer
    }
    if (!answer.ok) throw Object.assign(new Error(value?.error ?? `The host answers with status ${answer.status}.`), { status: answer.status, answer: value });
    return value;
  };
  const address = (path, query = {}) => {
    const found = new URL(`api/${path}`, document.baseURI);
    found.hash = "";
    found.search = new URLSearchParams(query);
    return found.href;
  };

  /** What was asked last is kept: the table asks for a row's images again whenever it comes into sight. */
  const MOST_KEPT = 100;
  const kept = new Map();
  const once = (path, query) => {
    const key = address(path, query);
    const found = kept.get(key) ?? ask("GET", path, query);
    kept.delete(key);
    kept.set(key, found);
    found.catch(() => kept.delete(key));
    if (kept.size > MOST_KEPT) kept.delete(kept.keys().next().value);
    return found;
  };

  /** The host; null where there is none. `about` is what `api/run` says. */
  saeviz.live = null;

  /** Finds out whether the page is served, which `run` says. */
  saeviz.connect = async (run) => {
    if (!run.live) return;
    const live = {
      about: await ask("GET", "run"),
      address,
      get: (path, query) => ask("GET", path, query),
      post: (path, body, query) => ask("POST", path, query, body),
      put: (path, body, query) => ask("PUT", path, query, body),
      once,
      imagesOf: async (feature) => {
        const { items, values } = await once("feature", { feature });
        return { items: saeviz.unpack(items), values: saeviz.unpack(values) };
      },
      featuresOf: async (item) => {
        const { features, values } = await once("image", { item });
        return { items: saeviz.unpack(features), values: saeviz.unpack(values) };
      },
      heatmap: (feature, item, fine) => once("heatmap", { feature, item, fine: fine ? 1 : 0 }),
      picture: (item, size = 208) => address("picture", { item, size }),
    };
    saeviz.live = live;
  };
}
