// Forms: questions before what cannot be undone, picking all rows, lists that grow, filters that apply at once.
// Without this file every form still works.

export function toast(text, tone = "ok") {
  const place = document.getElementById("toasts");
  if (!place) return;
  const box = document.createElement("div");
  box.className = `note ${tone}`;
  const what = document.createElement("div");
  what.className = "what";
  what.textContent = text;
  box.append(what);
  place.append(box);
  setTimeout(() => box.remove(), 8000);
}

function pickers(form) {
  return [...document.querySelectorAll(`input[type=checkbox][form="${form}"][name=id]`)];
}

function showPicked(form) {
  const boxes = pickers(form);
  const picked = boxes.filter((box) => box.checked).length;
  for (const place of document.querySelectorAll(`[data-picked="${form}"]`)) place.textContent = picked ? ` ${picked}` : "";
  for (const button of document.querySelectorAll(`[data-for-picked="${form}"]`)) button.disabled = picked === 0;
  for (const all of document.querySelectorAll(`[data-pick-all="${form}"]`)) {
    all.checked = picked > 0 && picked === boxes.length;
    all.indeterminate = picked > 0 && picked < boxes.length;
  }
}

export function refreshPicked() {
  for (const all of document.querySelectorAll("[data-pick-all]")) showPicked(all.dataset.pickAll);
}

function addRow(button) {
  const list = document.getElementById(button.dataset.add);
  const row = document.getElementById(`${button.dataset.add}-template`).content.cloneNode(true);
  const mark = `n${Date.now().toString(36)}`;
  for (const element of row.querySelectorAll("[name], [id], [for]")) {
    for (const attribute of ["name", "id", "for"]) {
      const value = element.getAttribute(attribute);
      if (value) element.setAttribute(attribute, value.replaceAll("__", mark));
    }
  }
  list.append(row);
  list.lastElementChild.querySelector("input, select")?.focus();
}

export function startForms() {
  document.addEventListener("submit", (event) => {
    const question = event.submitter?.dataset.ask ?? event.target.dataset.ask;
    if (question && !confirm(question)) {
      event.preventDefault();
      return;
    }
    if (event.target.method === "post" && event.submitter) {
      setTimeout(() => { event.submitter.disabled = true; });
      setTimeout(() => { event.submitter.disabled = false; }, 10_000);
    }
    if (event.target.method === "get") {
      for (const field of event.target.querySelectorAll("input, select")) {
        if (field.value === "" || field.value === field.dataset.usual) field.disabled = true;
      }
      setTimeout(() => {
        for (const field of event.target.querySelectorAll(":disabled")) field.disabled = false;
      }, 1000);
    }
  });
  document.addEventListener("change", (event) => {
    const { target } = event;
    if (target.dataset?.pickAll) {
      for (const box of pickers(target.dataset.pickAll)) box.checked = target.checked;
      showPicked(target.dataset.pickAll);
    } else if (target.name === "id" && target.getAttribute("form")) showPicked(target.getAttribute("form"));
    if (target.form?.hasAttribute("data-apply") && target.type !== "search" && target.type !== "text") target.form.requestSubmit();
  });
  document.addEventListener("click", (event) => {
    const button = event.target.closest("button, [data-copy]");
    if (button?.dataset.add) addRow(button);
    if (button?.hasAttribute("data-remove")) button.closest("[data-item]").remove();
    if (button?.dataset.copy) {
      navigator.clipboard?.writeText(button.dataset.copy).then(() => toast("Copied"), () => toast("The browser did not let us copy", "warn"));
    }
    const open = document.querySelector("details.menu[open]");
    if (open && !open.contains(event.target)) open.open = false;
  });
  document.addEventListener("keydown", (event) => {
    const open = event.key === "Escape" && document.querySelector("details.menu[open]");
    if (open) {
      open.open = false;
      open.querySelector("summary").focus();
    }
  });
  const flash = document.getElementById("flash");
  if (flash?.firstElementChild) {
    // A live region speaks of what comes into it: what came with the page is put in again.
    const said = [...flash.children];
    flash.replaceChildren();
    setTimeout(() => flash.replaceChildren(...said), 60);
  }
  refreshPicked();
  const outcome = document.getElementById("outcome");
  outcome?.focus();
  outcome?.scrollIntoView({ block: "start" });
}
