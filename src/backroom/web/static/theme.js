// Light, dark, or what the system says. Loaded before the page is drawn, so that nothing flashes.
"use strict";
(() => {
  const root = document.documentElement;
  const kept = () => {
    try {
      return localStorage.getItem("backroom-theme");
    } catch {
      return null; // The browser keeps nothing for this page: the system decides.
    }
  };
  const show = (theme) => {
    if (theme === "light" || theme === "dark") root.dataset.theme = theme;
    else delete root.dataset.theme;
  };
  show(kept());
  root.classList.add("js");
  window.backroomTheme = {
    get: () => root.dataset.theme ?? "auto",
    set: (theme) => {
      show(theme);
      try {
        if (theme === "auto") localStorage.removeItem("backroom-theme");
        else localStorage.setItem("backroom-theme", theme);
      } catch {
        // It holds for this page only.
      }
      document.dispatchEvent(new Event("backroom:theme"));
    },
  };
})();
