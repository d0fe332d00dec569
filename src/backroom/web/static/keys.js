// The keyboard. Every key is an ordinary link or button of the page, pressed from afar, so nothing
// can be done here that cannot be done with the pointer, and what is not there cannot be pressed.

import { tell, untell } from "./telling.js";

const GO = {
  o: "overview", j: "jobs", f: "failures", q: "queues", w: "workers", s: "schedules",
  g: "workflows", a: "audit",
};

let leader = 0;

const writing = (target) =>
  target.closest("input:not([type=checkbox]):not([type=radio]), textarea, select, [contenteditable]") !== null;

const rows = () => [...document.querySelectorAll("[data-rows] > [data-key]")];

function stand(row) {
  for (const other of document.querySelectorAll("[data-row]")) other.removeAttribute("data-row");
  untell("key");
  if (!row) return;
  row.setAttribute("data-row", "");
  row.querySelector("a")?.focus({ preventScroll: true });
  row.scrollIntoView({ block: "nearest" });
}

function step(by) {
  const all = rows();
  const at = all.findIndex((row) => row.hasAttribute("data-row"));
  stand(all[Math.min(all.length - 1, Math.max(0, at < 0 ? (by > 0 ? 0 : all.length - 1) : at + by))]);
}

// Of the row that one stands in, or, where one stands in none, of the page; never of a row that nobody
// has chosen. Capital letters are about more than a row.
function press(key) {
  const row = document.querySelector("[data-row]");
  const all = [...document.querySelectorAll(`[data-press="${key}"]`)];
  let button = all.find((one) => row?.contains(one));
  if (!row || key !== key.toLowerCase()) button ??= all.find((one) => !one.closest("[data-rows]"));
  if (!button && all.length > 0) {
    tell("key", row ? `${key} does nothing to this row; Esc leaves the rows.` : "Choose a row with j or k first.");
  }
  if (!button || button.disabled) return false;
  button.click();
  return true;
}

function pick(event) {
  const row = document.querySelector("[data-row]");
  const box = row?.querySelector("input[type=checkbox]");
  if (!box) return;
  event.preventDefault();
  box.click();
}

function down(event) {
  if (event.ctrlKey || event.metaKey || event.altKey || event.isComposing) return;
  const help = document.getElementById("keys");
  if (event.key === "Escape") {
    if (writing(event.target)) event.target.blur();
    else stand(null);
    return;
  }
  if (writing(event.target) || document.querySelector("dialog[open]")) return;
  const led = leader && performance.now() - leader < 1500;
  leader = 0;
  if (led && GO[event.key]) {
    document.querySelector(`[data-go="${GO[event.key]}"]`)?.click();
    return;
  }
  switch (event.key) {
    case "g": leader = performance.now(); break;
    case "?": event.preventDefault(); help?.showModal(); break;
    case "/": {
      const search = document.querySelector("[data-search]");
      event.preventDefault();
      if (search) { search.focus(); search.select(); }
      else document.querySelector('[data-go="jobs"]')?.click();
      break;
    }
    case "j": step(1); break;
    case "k": step(-1); break;
    case "x": pick(event); break;
    case "o": document.querySelector("[data-row] a")?.click(); break;
    default: if (/^[a-zA-Z]$/.test(event.key) && press(event.key)) event.preventDefault();
  }
}

export function begin() {
  document.addEventListener("keydown", down);
  document.addEventListener("click", (event) => {
    if (event.target.closest("[data-keys]")) document.getElementById("keys")?.showModal();
  });
}
