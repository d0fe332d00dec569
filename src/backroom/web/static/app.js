// What a browser adds to pages that work without it.
import * as charts from "./charts.js";
import * as keys from "./keys.js";
import * as live from "./live.js";
import { OURS, refused, signedOut, tell } from "./telling.js";

// -- fields: what somebody has touched is theirs until it is sent -------------------------------------

document.addEventListener("input", (event) => {
  if (event.target.matches("input, textarea, select")) event.target.dataset.touched = "";
});

// -- choosing jobs ------------------------------------------------------------------------------------

function count() {
  const bar = document.getElementById("chosen");
  if (!bar) return;
  const boxes = [...document.querySelectorAll("input[name=id]")];
  const chosen = boxes.filter((box) => box.checked).length;
  bar.hidden = chosen === 0;
  bar.querySelector("[data-count]").textContent = `${chosen} selected`;
  const all = document.getElementById("choose-all");
  if (all) {
    all.checked = chosen > 0 && chosen === boxes.length;
    all.indeterminate = chosen > 0 && chosen < boxes.length;
  }
}

document.addEventListener("change", (event) => {
  if (event.target.id === "choose-all") {
    for (const box of document.querySelectorAll("input[name=id]")) {
      box.checked = event.target.checked;
      box.dataset.touched = "";
    }
  }
  if (event.target.matches("input[name=id], #choose-all")) count();
  if (event.target.matches("[data-submit]")) event.target.form.requestSubmit();
});

let last = null;
document.addEventListener("click", (event) => {
  const box = event.target.closest?.("input[name=id]");
  if (!box) return;
  const boxes = [...document.querySelectorAll("input[name=id]")];
  if (event.shiftKey && last?.isConnected) {
    const [from, to] = [boxes.indexOf(last), boxes.indexOf(box)].sort((a, b) => a - b);
    for (const between of boxes.slice(from, to + 1)) {
      between.checked = box.checked;
      between.dataset.touched = "";
    }
    count();
  }
  last = box;
});

// -- rows that were held back while somebody was among them ---------------------------------------------

let held = 0;
document.addEventListener("backroom:held", (event) => {
  held = event.detail;
});
document.addEventListener("backroom:page", () => {
  const note = document.getElementById("held");
  if (note) {
    note.hidden = held === 0;
    note.querySelector("[data-count]").textContent = `${held} more`;
  }
  held = 0;
});

// Whoever leaves the rows sees the news at once.
function left(event) {
  const note = document.getElementById("held");
  if (!note || note.hidden || event.target.closest?.("[data-calm]")) return;
  note.hidden = true;
  live.refresh();
}
document.addEventListener("pointerover", left);
document.addEventListener("focusin", left);

// -- small things ---------------------------------------------------------------------------------------

document.addEventListener("click", async (event) => {
  const copy = event.target.closest("[data-copy]");
  if (copy) {
    const source = document.getElementById(copy.dataset.copy);
    const before = copy.textContent;
    try {
      await navigator.clipboard.writeText(source.textContent);
      copy.textContent = "Copied";
    } catch {
      // Without the right to write to the clipboard: selected, so that a key press copies it.
      getSelection().selectAllChildren(source);
      copy.textContent = "Selected";
    }
    setTimeout(() => { copy.textContent = before; }, 1500);
  }
  if (event.target.closest("[data-close]")) event.target.closest("dialog").close();
  if (event.target.closest("#live-light")) live.pause(!live.paused());
  if (event.target.closest("[data-reload]")) location.reload();
});

document.addEventListener("submit", (event) => {
  const said = event.submitter?.dataset.confirm;
  if (said && !confirm(said)) event.preventDefault();
});

// -- the theme -----------------------------------------------------------------------------------------

const themes = document.getElementById("theme");
if (themes) {
  themes.value = window.backroomTheme.get();
  themes.addEventListener("change", () => window.backroomTheme.set(themes.value));
}

// -- moments in the zone of who reads them ---------------------------------------------------------------

document.addEventListener("pointerover", (event) => {
  const time = event.target.closest?.("time[datetime]");
  if (time && !time.dataset.here) {
    time.dataset.here = "1";
    const at = new Date(time.dateTime);
    time.title = `${at.toLocaleString()} here · ${time.dateTime}`;
  }
});

// -- forms without a reload (htmx): what comes back is morphed into the page ------------------------------

document.addEventListener("submit", (event) => {
  const form = event.target;
  if (event.defaultPrevented || !form.matches("[data-send]")) return;
  event.preventDefault();
  const { submitter } = event;
  const path = submitter?.getAttribute("formaction") ?? form.getAttribute("action");
  const values = submitter?.name ? { [submitter.name]: submitter.value } : {};
  if (submitter && "asks" in submitter.dataset) values.confirmed = "true"; // It was asked here.
  htmx.ajax("POST", path, { source: form, swap: "none", values });
});

document.addEventListener("htmx:beforeSwap", (event) => {
  const { xhr } = event.detail;
  event.detail.shouldSwap = false;
  event.detail.isError = false;
  if (xhr.status === 401) {
    signedOut();
    return;
  }
  if (xhr.status >= 400) {
    if (!live.put(xhr.responseText, ["flash"])) refused(xhr.status, xhr.responseText);
    return;
  }
  if (!xhr.getResponseHeader(OURS)) {
    live.lost();
    return;
  }
  const where = new URL(xhr.responseURL || location.href, location.href);
  if (where.pathname !== location.pathname) {
    location.assign(where);
    return;
  }
  history.replaceState(null, "", where.pathname + where.search);
  for (const box of document.querySelectorAll("input[name=id]:checked")) box.checked = false;
  for (const field of document.querySelectorAll("[data-touched]")) delete field.dataset.touched;
  live.put(xhr.responseText, ["side", "live", "flash"]);
});

document.addEventListener("htmx:sendError", () => {
  tell("silence", "The server did not answer. Nothing is known of what was asked; look before you ask again.");
});

document.addEventListener("backroom:page", () => {
  count();
  // What was done is said once, and not again by the next look.
  const url = new URL(location.href);
  if (url.searchParams.has("did")) {
    for (const name of ["did", "changed", "about"]) url.searchParams.delete(name);
    history.replaceState(null, "", url.pathname + url.search);
  }
});

// On a narrow screen the list of pages is a row: where one is stands in it.
const here = document.querySelector("nav a[aria-current=page]");
if (here && here.closest("nav").scrollWidth > here.closest("nav").clientWidth) {
  here.scrollIntoView({ block: "nearest", inline: "center" });
}

charts.begin();
keys.begin();
live.begin();
count();
document.dispatchEvent(new Event("backroom:page"));
document.documentElement.dataset.ready = "";
