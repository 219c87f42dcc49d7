"use strict";
// The theme button: says which theme it will bring, and tells whoever draws of the change. The page
// starts as the system has it.
(() => {
  const button = document.getElementById("theme");
  const root = document.documentElement;
  const system = window.matchMedia("(prefers-color-scheme: dark)");
  const show = () => {
    const dark = root.dataset.theme ? root.dataset.theme === "dark" : system.matches;
    // What a press will do; the same words are read out, so that there is no pressed state beside.
    button.textContent = dark ? "Light theme" : "Dark theme";
    button.dataset.next = dark ? "light" : "dark";
    root.dispatchEvent(new CustomEvent("themechange"));
  };
  button.addEventListener("click", () => {
    root.dataset.theme = button.dataset.next;
    show();
  });
  system.addEventListener("change", show);
  button.hidden = false;
  show();
})();
