// Keys: rows, search, going to a page, help. Never while somebody types.

const PLACES = { o: "/", t: "/triggers", r: "/runs", d: "/dead", w: "/workspace", a: "/access" };

function types(target) {
  return target.closest("input:not([type=checkbox], [type=radio]), textarea, select, [contenteditable]") !== null;
}

function rows() {
  return [...document.querySelectorAll("[data-row] a[data-open]")].filter((link) => link.offsetParent !== null);
}

function step(by) {
  const links = rows();
  if (links.length === 0) return false;
  const row = document.activeElement?.closest("[data-row]");
  const at = row ? links.findIndex((link) => row.contains(link)) : -1;
  const next = at === -1 ? (by > 0 ? 0 : links.length - 1) : Math.min(links.length - 1, Math.max(0, at + by));
  links[next].focus();
  links[next].scrollIntoView({ block: "nearest" });
  return true;
}

export function startKeys() {
  const help = document.getElementById("keys");
  let going = 0;
  document.addEventListener("keydown", (event) => {
    if (event.ctrlKey || event.metaKey || event.altKey) return;
    if (event.key === "Escape" && types(event.target)) event.target.blur();
    if (types(event.target) || document.querySelector("dialog[open]")) return;
    const inRow = document.activeElement?.closest("[data-row]");
    if (Date.now() - going < 1200 && PLACES[event.key]) {
      location.assign(PLACES[event.key]);
      return;
    }
    let done = true;
    switch (event.key) {
      case "g": going = Date.now(); break;
      case "j": done = step(1); break;
      case "k": done = step(-1); break;
      case "ArrowDown": done = Boolean(inRow) && step(1); break;
      case "ArrowUp": done = Boolean(inRow) && step(-1); break;
      case "x": {
        const box = inRow?.querySelector("input[type=checkbox]");
        box?.click();
        break;
      }
      case "p": document.querySelector("[data-live-toggle]")?.click(); break;
      case "/": {
        const search = document.querySelector("[data-search]");
        done = Boolean(search);
        search?.focus();
        search?.select?.();
        break;
      }
      case "?": help?.showModal(); break;
      default: done = false;
    }
    if (done) event.preventDefault();
  });
}
