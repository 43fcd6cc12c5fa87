// Keeps a page current: asks the server for it again and changes what differs, in place. Focus, scroll positions,
// open details, picked boxes and what somebody has typed stay as they are.
import { showTimes } from "./times.js";
import { refreshPicked } from "./forms.js";
import { listen } from "./news.js";

const SLOWEST_MS = 30_000;
const SELDOM_MS = 15_000;
const SOON_MS = 400;
const PATIENCE_MS = 10_000;

function keeps(old, fresh) {
  if (!(old instanceof Element)) return true;
  if (old.hasAttribute("data-own")) return false;
  if (old instanceof HTMLDetailsElement && fresh instanceof HTMLDetailsElement) fresh.open = old.open;
  if (old instanceof HTMLInputElement && fresh instanceof HTMLInputElement) {
    if (old.type === "checkbox" || old.type === "radio") fresh.toggleAttribute("checked", old.checked);
    else if (old.value !== old.defaultValue) fresh.value = old.value;
  } else if (old instanceof HTMLTextAreaElement && old.value !== old.defaultValue) fresh.value = old.value;
  else if (old instanceof HTMLSelectElement) fresh.value = old.value;
  return true;
}

function stays(name, node) {
  return !(name === "open" && node instanceof HTMLDetailsElement) && !(name === "disabled" && node.hasAttribute("data-for-picked"));
}

export function startLive() {
  const main = document.querySelector("[data-live]");
  if (!main) return;
  const usual = Number(main.dataset.live) * 1000;
  const isSteady = main.hasAttribute("data-steady"); // a log grows, and nothing is told of that
  const text = document.querySelector("[data-live-text]");
  const toggle = document.querySelector("[data-live-toggle]");
  let paused = false;
  let wait = usual;
  let timer = 0;
  let asking = false;
  let isTold = false;

  const say = (words, tone) => {
    if (!text || text.textContent === words) return;
    text.textContent = words;
    text.className = `state ${tone}`;
  };
  const later = () => {
    clearTimeout(timer);
    timer = setTimeout(refresh, wait > usual ? wait : isTold && !isSteady ? SELDOM_MS : usual);
  };

  // The console tells what happens; then there is less to ask for. Without it the page is asked for now and then.
  function hearNews() {
    const events = document.body.dataset.events;
    if (!events || usual > 3000) return;
    let soon = 0;
    const heard = () => {
      isTold = true;
      soon ||= setTimeout(() => {
        soon = 0;
        refresh();
      }, SOON_MS);
    };
    listen(events, heard, (told) => {
      const isNew = isTold !== told;
      isTold = told;
      if (isNew) later();
    });
  }

  async function refresh() {
    if (paused || document.hidden || asking || document.querySelector("[data-holds-live]:focus-within, dialog[open]")) {
      later();
      return;
    }
    asking = true;
    try {
      const answer = await fetch(location.href, {
        headers: { "X-Live": "1" }, redirect: "manual", signal: AbortSignal.timeout(PATIENCE_MS),
      });
      if (answer.type === "opaqueredirect") {
        location.reload();
        return;
      }
      if (!answer.ok && answer.status !== 404) throw new Error(String(answer.status));
      const fresh = new DOMParser().parseFromString(await answer.text(), "text/html");
      change(fresh);
      wait = usual;
      say("live", "ok turning");
    } catch {
      wait = Math.min(wait * 2, SLOWEST_MS);
      say(`no answer, again in ${Math.round(wait / 1000)} s`, "warn");
    } finally {
      asking = false;
      later();
    }
  }

  function change(fresh) {
    showTimes(fresh);
    for (const part of document.querySelectorAll("[data-live], [data-live-part], .side nav ul")) {
      const twin = part.id ? fresh.getElementById(part.id) : part.matches(".side *") ? fresh.querySelector(".side nav ul") : null;
      if (!twin) continue;
      window.Idiomorph.morph(part, twin, {
        morphStyle: "outerHTML", ignoreActiveValue: true,
        callbacks: { beforeNodeMorphed: keeps, beforeAttributeUpdated: stays },
      });
    }
    refreshPicked();
    document.dispatchEvent(new CustomEvent("headrace:refreshed"));
    if (document.querySelector("[data-live]")?.dataset.live === "0") {
      paused = true;
      say("ended", "idle");
      toggle?.remove();
    }
  }

  toggle?.addEventListener("click", () => {
    paused = !paused;
    toggle.textContent = paused ? "Go on" : "Pause";
    toggle.setAttribute("aria-pressed", String(paused));
    say(paused ? "paused" : "live", paused ? "idle" : "ok turning");
    if (!paused) refresh();
  });
  document.addEventListener("visibilitychange", () => {
    if (!document.hidden && !paused) refresh();
  });
  if (usual > 0) {
    later();
    hearNews();
  }
}
