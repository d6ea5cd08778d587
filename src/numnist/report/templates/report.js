for (const table of document.querySelectorAll("table.sortable")) {
  const body = table.tBodies[0], heads = [...table.tHead.rows[0].cells];
  const key = (row, i) => { const text = row.cells[i].dataset.value; return text === "" ? null : isNaN(text) ? text : Number(text); };
  heads.forEach((head, i) => head.firstElementChild.addEventListener("click", () => {
    const down = head.getAttribute("aria-sort") === "ascending";
    const order = (a, b) => {
      const [x, y] = [key(a, i), key(b, i)];
      if (x === null || y === null) return (x === null) - (y === null);  // what has no value stays last
      return (x < y ? -1 : x > y ? 1 : 0) * (down ? -1 : 1);
    };
    heads.forEach(other => other.removeAttribute("aria-sort"));
    head.setAttribute("aria-sort", down ? "descending" : "ascending");
    body.append(...[...body.rows].sort(order));
  }));
}
