"use strict";
(() => {
  const table = document.getElementById("selected");
  if (!table) return;
  const element = (id) => document.getElementById(id);
  const [find, tier, space, sort] = ["find", "tier", "space", "sort"].map(element);
  const headers = [...table.tHead.rows[0].cells];

  const features = [...table.tBodies].map((body) => {
    const values = {};
    for (const cell of body.rows[0].cells) values[cell.dataset.column] = cell.dataset.value;
    return { body, values, searchable: body.dataset.searchable.toLowerCase() };
  });

  const text = new Intl.Collator(undefined, { numeric: true, sensitivity: "base" });
  const isNumber = (value) => value !== "" && Number.isFinite(Number(value));

  // Features without a value come last in either direction; equal ones keep their rank.
  const order = (column, direction) => {
    const numeric = features.every(({ values }) => values[column] === "" || isNumber(values[column]));
    const key = direction === "size" ? (value) => Math.abs(value) : Number;
    const sign = direction === "low" ? 1 : -1;
    return (a, b) => {
      const [x, y] = [a.values[column], b.values[column]];
      const difference =
        x === "" || y === "" ? (x === "") - (y === "") : sign * (numeric ? key(x) - key(y) : text.compare(x, y));
      return difference || a.values.rank - b.values.rank;
    };
  };

  const arrange = () => {
    const [column, direction] = sort.value.split(" ");
    features.sort(order(column, direction));
    table.append(...features.map(({ body }) => body));
    for (const header of headers) {
      if (header.dataset.column !== column) header.removeAttribute("aria-sort");
      else header.setAttribute("aria-sort", { low: "ascending", high: "descending", size: "other" }[direction]);
    }
  };

  const sift = () => {
    const wanted = find.value.trim().toLowerCase();
    let shown = 0;
    for (const { body, searchable } of features) {
      body.hidden = !(
        (!tier.value || body.dataset.tier === tier.value) &&
        (!space.value || body.dataset.space === space.value) &&
        searchable.includes(wanted)
      );
      shown += !body.hidden;
    }
    const all = `${features.length} ${features.length === 1 ? "feature" : "features"}`;
    element("shown").value = shown === features.length ? all : `${shown} of ${all}`;
    element("nothing").hidden = shown > 0;
  };

  // A header steps through the ways to sort by its column, the same ones that the list offers.
  for (const header of headers) {
    const column = header.dataset.column;
    const ways = [...sort.options].map((option) => option.value).filter((value) => value.split(" ")[0] === column);
    const button = document.createElement("button");
    button.type = "button";
    button.append(...header.childNodes);
    button.addEventListener("click", () => {
      sort.value = ways[(ways.indexOf(sort.value) + 1) % ways.length];
      arrange();
    });
    header.append(button);
  }

  sort.addEventListener("change", arrange);
  for (const control of [find, tier, space]) control.addEventListener("input", sift);
  element("controls").addEventListener("submit", (event) => event.preventDefault());
  element("clear").addEventListener("click", () => {
    find.value = tier.value = space.value = "";
    sift();
    find.focus();
  });

  element("controls").hidden = false;
  arrange();
  sift();
})();
