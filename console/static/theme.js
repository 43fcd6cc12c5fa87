// Runs before the page is painted, so that nobody sees the wrong colours first.
(() => {
  const root = document.documentElement;
  root.classList.remove("no-script");
  try {
    const theme = localStorage.getItem("headrace-theme");
    if (theme === "light" || theme === "dark") root.dataset.theme = theme;
  } catch { /* storage may be forbidden; then the system decides */ }
})();
