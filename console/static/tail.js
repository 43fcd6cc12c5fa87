// A log that grows stays at its end, unless somebody has scrolled up in it.

const NEAR = 40;

export function startTail() {
  let atEnd = true;
  const box = () => document.querySelector("[data-tail]");
  const toEnd = () => {
    const log = box();
    if (log && atEnd) log.scrollTop = log.scrollHeight;
  };
  document.addEventListener("scroll", (event) => {
    const log = box();
    if (log && event.target === log) atEnd = log.scrollHeight - log.scrollTop - log.clientHeight < NEAR;
  }, true);
  document.addEventListener("headrace:refreshed", toEnd);
  toEnd();
}
