// What the console tells as it happens. A browser opens six connections to a host and no more, and a stream holds one
// for as long as it is open: so all tabs share one, and none is open where nobody looks.

const NAMES = ["counters", "backlog", "session", "worker", "run"];
const SHARED = "headrace-news";
const STREAMS = 3;

// Calls `heard` for each piece of news, and `told` with whether news come at all. Without locks (a page that came over
// plain HTTP from another machine) there are no news: the page is asked for instead.
export function listen(address, heard, told) {
  if (!navigator.locks || !window.BroadcastChannel) return;
  const channel = new BroadcastChannel(SHARED);
  let source = null;
  let leave = null;

  const pass = (message) => {
    channel.postMessage(message);
    take(message);
  };
  function take(message) {
    if (message === "news") heard();
    else if (message === "asked") {
      if (source?.readyState === EventSource.OPEN) channel.postMessage("told");
    } else told(message === "told");
  }

  function hold(signal) {
    return new Promise((resolve) => {
      source = new EventSource(address);
      for (const name of NAMES) source.addEventListener(name, () => pass("news"));
      source.addEventListener("open", () => pass("told"));
      source.addEventListener("error", () => pass("silent"));
      signal.addEventListener("abort", () => {
        source.close();
        source = null;
        channel.postMessage("silent"); // until the next tab has its own
        resolve();
      });
    });
  }

  function come() {
    if (leave || document.hidden) return;
    leave = new AbortController();
    const { signal } = leave;
    navigator.locks.request(SHARED, { signal }, () => hold(signal)).catch(() => {}); // it left before its turn came
    channel.postMessage("asked");
  }
  function go() {
    leave?.abort();
    leave = null;
    told(false);
  }

  channel.addEventListener("message", (event) => take(event.data));
  document.addEventListener("visibilitychange", () => (document.hidden ? go() : come()));
  addEventListener("pagehide", go);
  addEventListener("pageshow", come);
  come();
}

// A stream of one's own, of the few that all tabs of a browser may have: what ends it, or null where they are taken.
export async function openStream(address) {
  if (!navigator.locks) return own(address, () => {});
  for (let number = 0; number < STREAMS; number += 1) {
    const free = await new Promise((resolve) => {
      navigator.locks.request(`headrace-stream-${number}`, { ifAvailable: true }, (lock) => {
        if (!lock) return resolve(null);
        return new Promise((release) => resolve(release));
      });
    });
    if (free) return own(address, free);
  }
  return null;
}

function own(address, free) {
  const source = new EventSource(address);
  return { source, close: () => { source.close(); free(); } };
}
