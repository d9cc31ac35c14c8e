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

  /** The rows for which every test holds. */
  saeviz.matching = (n, tests) => {
    const rows = new Uint32Array(n);
    let found = 0;
    for (let row = 0; row < n; row++) {
      let fits = true;
      for (const test of tests) {
        if (!test(row)) {
          fits = false;
          break;
        }
      }
      if (fits) rows[found++] = row;
    }
    return rows.slice(0, found);
  };

  /** The rows by a column; those without a value come last either way, and of equals the one that stood first. */
  saeviz.sorted = (rows, column, descending) => {
    let keys;
    if (column.text) {
      const order = column.words.map((word, code) => code).sort((a, b) => column.words[a].localeCompare(column.words[b], "en"));
      const places = new Float64Array(order.length);
      order.forEach((code, place) => (places[code] = column.words[code] === "" ? NaN : place));
      keys = Float64Array.from(rows, (row) => places[column.codes[row]]);
    } else keys = Float64Array.from(rows, (row) => column.values[row]);
    const sign = descending ? -1 : 1;
    const places = Uint32Array.from(rows, (_, place) => place);
    places.sort((a, b) => {
      const [left, right] = [keys[a], keys[b]];
      const noLeft = left !== left;
      const noRight = right !== right;
      if (noLeft || noRight) return noLeft - noRight || a - b;
      return sign * (left - right) || a - b;
    });
    return Uint32Array.from(places, (place) => rows[place]);
  };
}
