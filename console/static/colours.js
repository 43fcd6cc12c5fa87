// The switch between the system's colours, light and dark. theme.js puts the choice in force at the next page.

const NEXT = { system: "light", light: "dark", dark: "system" };

export function startTheme() {
  const button = document.querySelector("[data-theme-switch]");
  if (!button) return;
  const root = document.documentElement;
  const show = () => {
    button.querySelector("[data-theme-name]").textContent = `Colours: ${root.dataset.theme ?? "system"}`;
  };
  show();
  button.addEventListener("click", () => {
    const next = NEXT[root.dataset.theme ?? "system"];
    if (next === "system") delete root.dataset.theme;
    else root.dataset.theme = next;
    try {
      localStorage.setItem("headrace-theme", next);
    } catch { /* it holds for this page then */ }
    show();
    document.dispatchEvent(new CustomEvent("headrace:theme"));
  });
}
