// Live messages of a trigger, as its code would get them. They come over the console's API; nothing is kept here.

import { openStream } from "./news.js";
import { showTimes } from "./times.js";

const SECONDS = 300;
const COUNT = 100;
const SHOWN = 50;

function element(name, className, text) {
  const made = document.createElement(name);
  if (className) made.className = className;
  if (text !== undefined) made.textContent = text;
  return made;
}

function bytesOf(payload) {
  return Uint8Array.from(atob(payload ?? ""), (character) => character.charCodeAt(0));
}

function preview(event) {
  if (event.payload == null) return `${event.payload_too_large} bytes, too large to be shown`;
  const bytes = bytesOf(event.payload);
  try {
    const text = new TextDecoder("utf-8", { fatal: true }).decode(bytes.slice(0, 4096));
    try {
      return JSON.stringify(JSON.parse(text), null, 2);
    } catch {
      return text;
    }
  } catch {
    return [...bytes.slice(0, 256)].map((byte) => byte.toString(16).padStart(2, "0")).join(" ");
  }
}

export function startCapture() {
  const place = document.querySelector("[data-capture]");
  const button = place.querySelector("[data-capture-switch]");
  const state = place.querySelector("[data-capture-state]");
  const list = place.querySelector("[data-capture-list]");
  const template = place.querySelector("template");
  let stream = null;

  const say = (text, tone) => {
    state.textContent = text;
    state.className = `state ${tone}`;
  };

  function stop(text = "stopped", tone = "idle") {
    stream?.close();
    stream = null;
    button.textContent = "Start capturing";
    say(text, tone);
  }

  function show(message) {
    const { event } = message;
    const row = template.content.firstElementChild.cloneNode(true);
    row.querySelector("[data-topic]").textContent = event.topic;
    row.querySelector("[data-facts]").textContent =
      `QoS ${event.qos}${event.retain ? ", retained" : ""} → ${message.runs.map((run) => run.runnable).join(", ") || "nothing"}`;
    row.querySelector("[data-at]").dateTime = message.received_at;
    row.querySelector("[data-payload]").textContent = preview(event);
    const form = row.querySelector("form");
    if (event.payload == null) form?.remove();
    else if (form) form.elements.event.value = JSON.stringify(event);
    row.querySelector("[data-save]").addEventListener("click", () => save(message));
    showTimes(row);
    list.prepend(row);
    while (list.children.length > SHOWN) list.lastElementChild.remove();
    place.querySelector("[data-capture-empty]").hidden = true;
  }

  function save(message) {
    const link = element("a");
    link.href = URL.createObjectURL(new Blob([JSON.stringify(message, null, 2)], { type: "application/json" }));
    link.download = `${message.trigger.split("/").pop()}-${message.received_at.replaceAll(/[^0-9]/g, "").slice(0, 14)}.json`;
    link.click();
    setTimeout(() => URL.revokeObjectURL(link.href), 1000);
  }

  button.addEventListener("click", async () => {
    if (stream) {
      stop();
      return;
    }
    button.disabled = true;
    stream = await openStream(`${place.dataset.capture}?seconds=${SECONDS}&count=${COUNT}`);
    button.disabled = false;
    if (!stream) {
      say("other tabs of this browser capture already: stop one of them, then start here", "bad");
      return;
    }
    say("connecting to the broker", "busy turning");
    button.textContent = "Stop";
    const { source } = stream;
    source.addEventListener("taken", () => say("listening", "ok turning"));
    source.addEventListener("message", (event) => show(JSON.parse(event.data)));
    source.addEventListener("error", (event) => {
      // One that ingest sends has data; one of the connection has none.
      if (event.data !== undefined) stop(JSON.parse(event.data), "bad");
      else if (stream) stop("the console does not answer", "bad");
    });
    source.addEventListener("end", () => stream && stop("it has ended: start again to go on"));
  });
}
