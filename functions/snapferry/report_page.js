"use strict";

// A column is sorted by its cells' numbers, where they have them, and by their text otherwise.
function value(row, column) {
  const cell = row.cells[column];
  return cell.dataset.value === undefined ? cell.textContent : Number(cell.dataset.value);
}

function compare(one, other) {
  return typeof one === "number" && typeof other === "number"
    ? one - other
    : String(one).localeCompare(String(other));
}

for (const heading of document.querySelectorAll("th")) {
  heading.addEventListener("click", () => {
    const ascending = heading.ariaSort !== "ascending";
    for (const other of heading.parentNode.cells) other.ariaSort = null;
    heading.ariaSort = ascending ? "ascending" : "descending";
    const body = heading.closest("table").tBodies[0];
    const rows = [...body.rows].sort(
      (one, other) =>
        (ascending ? 1 : -1) *
        compare(value(one, heading.cellIndex), value(other, heading.cellIndex)),
    );
    body.append(...rows);
  });
}

for (const input of document.querySelectorAll("input[type=search]")) {
  const section = input.closest("section");
  const rows = [...section.querySelectorAll("tbody tr")];
  input.addEventListener("input", () => {
    const wanted = input.value.toLowerCase();
    for (const row of rows) row.hidden = !row.textContent.toLowerCase().includes(wanted);
    const shown = rows.filter((row) => !row.hidden).length;
    section.querySelector("output").textContent = `${shown} of ${rows.length}`;
  });
}
