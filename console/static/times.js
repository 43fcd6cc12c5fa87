// Times come as UTC from the server; here they become the viewer's. The exact one stands in the title.

const exact = new Intl.DateTimeFormat(undefined, {
  dateStyle: "medium", timeStyle: "medium", fractionalSecondDigits: undefined,
});
const zone = new Intl.DateTimeFormat(undefined, { timeZoneName: "short" });
const two = (value) => String(value).padStart(2, "0");

function clock(at) {
  return `${two(at.getHours())}:${two(at.getMinutes())}:${two(at.getSeconds())}`;
}

function day(at) {
  return `${at.getFullYear()}-${two(at.getMonth() + 1)}-${two(at.getDate())}`;
}

function short(at, now) {
  return day(at) === day(now) ? clock(at) : `${day(at)} ${clock(at).slice(0, 5)}`;
}

// Windows that grow with the distance, so that a list of times stays calm.
function ago(at, now) {
  const seconds = Math.round((now - at) / 1000);
  const past = Math.abs(seconds);
  const text = past < 60 ? `${past} s` : past < 3600 ? `${Math.floor(past / 60)} min`
    : past < 86400 ? `${Math.floor(past / 3600)} h ${Math.floor((past % 3600) / 60)} min`
    : `${seconds < 0 ? Math.round(past / 86400) : Math.floor(past / 86400)} d`;
  return seconds < 0 ? `in ${text}` : `${text} ago`;
}

function zoneName(at) {
  return zone.formatToParts(at).find((part) => part.type === "timeZoneName")?.value ?? "";
}

export function showTimes(root) {
  const now = new Date();
  for (const element of root.querySelectorAll("time[datetime]")) {
    const at = new Date(element.dateTime);
    if (Number.isNaN(at.getTime())) continue;
    const ms = two(Math.floor(at.getMilliseconds() / 10)) + (at.getMilliseconds() % 10);
    element.title = `${exact.format(at)} (.${ms}) ${zoneName(at)} · ${element.dateTime}`;
    const text = "ago" in element.dataset ? ago(at, now)
      : "ms" in element.dataset ? `${clock(at)}.${ms}` : short(at, now);
    if (element.textContent !== text) element.textContent = text;
  }
}

setInterval(() => {
  if (!document.hidden) showTimes(document);
}, 1000);
