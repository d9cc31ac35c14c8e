// The features of the run as columns, which of them are wanted, and in which order.
"use strict";

{
  const { need, column } = saeviz;

  /** Name of the part of the run's columns that a column is about: "" for the feature itself, else the rating. */
  saeviz.keyOf = (head) => (head.rating === null ? head.name : `${head.name}[${head.rating}]`);

  saeviz.Features = class {
    constructor(run) {
      this.run = run;
      this.spaces = run.spaces;
      this.starts = [0];
      for (const space of run.spaces) this.starts.push(this.starts.at(-1) + space.n);
      this.n = this.starts.at(-1);
      this.heads = new Map(run.columns.map((head, number) => [saeviz.keyOf(head), { ...head, number }]));
      for (const { name } of run.ratings) if (this.heads.has(`r[${name}]`)) this.heads.set(`sign[${name}]`, { name: "sign", rating: name, text: true });
      this.loaded = new Map();
      this.forget();
    }

    /** Forgets which rows were asked for last and how they were counted, where columns have changed. */
    forget() {
      this.asked = this.rows = null;
      this.masks = new Map(); // key of the address -> {asked, mask}
      this.counted = new Map(); // key of the address -> {asked, found}
    }

    /** The column of a key: read, or for the sign of r made from that. */
    async made(key) {
      const { name, rating, number } = this.heads.get(key);
      if (number !== undefined) return column(await need(`columns/${number}`));
      if (name !== "sign") throw new Error(`${key} is no column.`);
      const { values } = (await this.columns([`r[${rating}]`])).get(`r[${rating}]`);
      const codes = Uint8Array.from(values, (r) => (r > 0 ? 1 : r < 0 ? 2 : 0));
      const words = ["", "positive", "negative"];
      return { text: true, codes, words, length: codes.length, at: (row) => words[codes[row]] };
    }

    /** The columns with these keys, loaded; keys that the run does not have are left out. */
    async columns(keys) {
      const known = keys.filter((key) => this.heads.has(key));
      const found = await Promise.all(
        known.map(async (key) => {
          if (!this.loaded.has(key)) this.loaded.set(key, await this.made(key));
          return this.loaded.get(key);
        }),
      );
      return new Map(known.map((key, place) => [key, found[place]]));
    }

    /** What is known of a column: `{description, unit, better, words}`; nothing in a report of an earlier version. */
    infoOf(key) {
      const head = this.heads.get(key);
      return head ? this.run.infos?.[head.rating === null ? "features" : "ratings"]?.[head.name] : undefined;
    }

    /** Whether small values come first where nobody says otherwise: those of a column of which lower is better, and p. */
    risesFirst(key) {
      const better = this.infoOf(key)?.better;
      return better ? better === "lower" : /(^|_)[pq](_|\[|$)/.test(key) || key === "rank";
    }

    /** Whether there is a column of numbers with this key. */
    isNumber = (key) => this.heads.get(key)?.text === false;

    spaceOf(row) {
      let space = 0;
      while (row >= this.starts[space + 1]) space++;
      return space;
    }

    /** The feature as everything else of saeviz writes it, such as layer11.cls/4711. */
    name(row) {
      const space = this.spaceOf(row);
      return `${this.spaces[space].name}/${row - this.starts[space]}`;
    }

    /** The row of a feature by its name; -1 if the run has none of that name. */
    row(name) {
      const cut = name.lastIndexOf("/");
      const space = this.spaces.findIndex((one) => one.name === name.slice(0, cut));
      const index = Number(name.slice(cut + 1));
      if (space < 0 || !Number.isInteger(index) || index < 0 || index >= this.spaces[space].n) return -1;
      return this.starts[space] + index;
    }
  };

  /** The rows that all masks let through: bytes, 1 for a row that fits. */
  saeviz.matching = (n, masks) => {
    const rows = new Uint32Array(n);
    let found = 0;
    for (let row = 0; row < n; row++) {
      let fits = 1;
      for (let i = 0; fits && i < masks.length; i++) fits = masks[i][row];
      if (fits) rows[found++] = row;
    }
    return rows.slice(0, found);
  };

  const orders = new WeakMap(); // column -> all its rows in order, either way

  /**
   * Some rows, given from the first to the last, by a column; those without a value come last either way, and of equals
   * the one that stood first. A column is put in order once; then the rows that are not wanted are passed over.
   */
  saeviz.sorted = (rows, column, descending) => {
    if (!orders.has(column)) orders.set(column, {});
    const order = (orders.get(column)[descending ? "falling" : "rising"] ??= byDigits(keysOf(column, descending)));
    const wanted = new Uint8Array(order.length);
    for (let i = 0; i < rows.length; i++) wanted[rows[i]] = 1;
    const found = new Uint32Array(rows.length);
    let n = 0;
    for (let i = 0; i < order.length; i++) if (wanted[order[i]]) found[n++] = order[i];
    return found;
  };

  /** Whole numbers of 64 bits, the lower half first, whose order is that of the values. */
  function keysOf(column, descending) {
    const values = column.text ? placesOf(column) : Float64Array.from(column.values);
    const keys = new Uint32Array(values.buffer);
    for (let row = 0; row < values.length; row++) {
      if (values[row] !== values[row]) {
        keys[2 * row] = keys[2 * row + 1] = 0xffffffff;
        continue;
      }
      if (values[row] === 0) values[row] = 0; // of the two zeros the one without a sign
      const flips = keys[2 * row + 1] >>> 31 ? -1 : 0; // a double of the other sign is the larger the more it is below zero
      const turned = descending ? -1 : 0;
      keys[2 * row] ^= flips ^ turned;
      keys[2 * row + 1] ^= (flips | 0x80000000) ^ turned;
    }
    return keys;
  }

  /** The place of each row's text among all texts; none for the empty one. */
  function placesOf(column) {
    const order = column.words.map((_, code) => code).sort((a, b) => column.words[a].localeCompare(column.words[b], "en"));
    const places = new Float64Array(order.length);
    order.forEach((code, place) => (places[code] = column.words[code] === "" ? NaN : place));
    return Float64Array.from(column.codes, (code) => places[code]);
  }

  /** The rows by their keys, by one digit of 16 bits after the other; digits that are the same everywhere are skipped. */
  function byDigits(keys) {
    const n = keys.length / 2;
    let [order, next] = [new Uint32Array(n), new Uint32Array(n)];
    for (let row = 0; row < n; row++) order[row] = row;
    const starts = new Uint32Array(1 << 16);
    for (let digit = 0; n && digit < 4; digit++) {
      const [half, shift] = [digit >> 1, 16 * (digit & 1)];
      starts.fill(0);
      for (let row = 0; row < n; row++) starts[(keys[2 * row + half] >>> shift) & 0xffff]++;
      if (starts[(keys[half] >>> shift) & 0xffff] === n) continue;
      let before = 0;
      for (let value = 0; value < starts.length; value++) {
        const count = starts[value];
        starts[value] = before;
        before += count;
      }
      for (let i = 0; i < n; i++) next[starts[(keys[2 * order[i] + half] >>> shift) & 0xffff]++] = order[i];
      [order, next] = [next, order];
    }
    return order;
  }
}
