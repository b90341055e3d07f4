// A box that scrolls sideways must be reachable without a mouse: while it is wider than its place, it
// can be focused and says what it is. (Equations scroll too; MathJax makes them focusable itself.)
const BOXES = { "pre": "Code", ".pst-scrollable-table-container, table.indextable": "Table" };

function makeReachable(box, name) {
  if (box.scrollWidth > box.clientWidth + 1) {
    box.tabIndex = 0;
    box.setAttribute("role", "group");
    box.setAttribute("aria-label", `${name}, scrolls sideways`);
  } else {
    for (const attribute of ["tabindex", "role", "aria-label"]) box.removeAttribute(attribute);
  }
}

// A formula in running text breaks nowhere; it gets a box only where the line is too short for it.
function boxIfWide(formula) {
  const block = formula.closest("p, li, dd, td, th, figcaption");
  if (block && formula.firstElementChild)
    formula.classList.toggle("wide", formula.firstElementChild.offsetWidth > block.clientWidth);
}

// Again whenever the window, the mathematics or a folded part of the page changes a size.
document.addEventListener("DOMContentLoaded", () => {
  for (const [selector, name] of Object.entries(BOXES)) {
    for (const box of document.querySelectorAll(selector)) {
      const observer = new ResizeObserver(() => makeReachable(box, name));
      for (const part of [box, ...box.children]) observer.observe(part);
    }
  }
  const formulas = document.querySelectorAll("span.math");
  new ResizeObserver(() => formulas.forEach(boxIfWide)).observe(document.body);
});
