"use strict";
// Sorting and filtering of the programs' table; without it the table is whole, in the order of trial.
(() => {
  const table = document.getElementById("programs-table");
  if (!table) return;
  const body = table.tBodies[0];
  const rows = [...body.rows];
  const heads = [...table.tHead.rows[0].cells];

  const compare = (one, other) => {
    if (one === "" || other === "") return one === other ? 0 : one === "" ? 1 : -1;
    const difference = Number(one) - Number(other);
    return Number.isNaN(difference) ? one.localeCompare(other) : difference;
  };

  heads.forEach((head, place) => {
    const button = document.createElement("button");
    button.type = "button";
    button.textContent = head.textContent;
    head.replaceChildren(button);
    button.addEventListener("click", () => {
      const direction = head.getAttribute("aria-sort") === "ascending" ? -1 : 1;
      heads.forEach((other) => other.removeAttribute("aria-sort"));
      head.setAttribute("aria-sort", direction === 1 ? "ascending" : "descending");
      const key = (row) => row.cells[place].dataset.sort;
      const empty = (row) => key(row) === "";
      rows.sort((one, other) => {
        if (empty(one) || empty(other)) return empty(one) - empty(other);
        return direction * compare(key(one), key(other));
      });
      body.append(...rows);
    });
  });

  const form = document.getElementById("filter");
  const text = document.getElementById("filter-text");
  const verdict = document.getElementById("filter-verdict");
  const count = document.getElementById("filter-count");
  const filter = () => {
    const words = text.value.toLowerCase();
    let shown = 0;
    for (const row of rows) {
      const fits = verdict.value === "" || row.dataset.verdict === verdict.value;
      row.hidden = !(fits && row.textContent.toLowerCase().includes(words));
      shown += row.hidden ? 0 : 1;
    }
    count.textContent = `${shown} of ${rows.length}`;
  };
  form.addEventListener("input", filter);
  form.addEventListener("submit", (event) => event.preventDefault());
  form.hidden = false;
  filter();
})();
