// A filter that fits few may find nothing among the newest runs: the search goes on by itself, page after page, until it
// finds some, has looked at all, a minute has passed, or somebody stops it.

import { showTimes } from "./times.js";

const LONGEST_MS = 60_000;

export async function startFurther() {
  const box = document.querySelector("[data-further]");
  const text = box.querySelector("[data-further-text]");
  const stop = box.querySelector("[data-further-stop]");
  const end = Date.now() + LONGEST_MS;
  let address = box.querySelector("a").href;
  let looked = Number(box.dataset.further);
  let isOn = true;
  stop.hidden = false;
  stop.addEventListener("click", () => { isOn = false; });

  while (isOn && box.isConnected && Date.now() < end) {
    const answer = await fetch(address, { redirect: "manual" }).catch(() => null);
    if (!answer?.ok) break;
    const page = new DOMParser().parseFromString(await answer.text(), "text/html");
    const next = page.querySelector("[data-further]");
    if (!next) {
      if (isOn && box.isConnected) location.replace(address);
      return;
    }
    looked += Number(next.dataset.further);
    const back = next.querySelector("time");
    text.replaceChildren(`among the ${looked.toLocaleString("en").replaceAll(",", " ")} that were looked at`, ...(back ? [", back to ", back] : []), ".");
    showTimes(text);
    address = next.querySelector("a").href;
    box.querySelector("a").href = address;
  }
  stop.hidden = true;
}
