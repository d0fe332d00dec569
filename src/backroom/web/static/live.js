// Keeps the page as the server sees it. The server says that something changed (SSE); the page is
// asked for again, and only what differs is touched. Hidden tabs rest.
import { morph } from "./morph.js";
import { OURS, foreign, signedOut, told, untell } from "./telling.js";

const LEAST = 1000; // milliseconds from one look to the next
const SILENT = 5000; // a look where the events do not come
const MOVING = "[data-moving]"; // what moves without an event, such as a change of many jobs: a look each LEAST

const state = { source: null, timer: 0, running: false, again: false, last: 0, took: 0, paused: false, tag: null, ended: false };

const light = () => document.getElementById("live-light");

function say(kind, text) {
  const lamp = light();
  if (!lamp) return;
  lamp.dataset.state = kind;
  lamp.querySelector("span").textContent = text;
}

// Lists that grow at their end, such as a log: who reads its end goes on to do so.
const followers = () => [...document.querySelectorAll("[data-follow]")];
const atEnd = (list) => list.scrollHeight - list.scrollTop - list.clientHeight < 8;

// What the server sent takes its place, part by part, by their ids. Whether any of it said something.
export function put(text, parts = ["side", "live"]) {
  state.tag = null;
  const followed = followers().filter(atEnd);
  const page = new DOMParser().parseFromString(text, "text/html");
  let said = false;
  for (const id of parts) {
    const here = document.getElementById(id);
    const there = page.getElementById(id);
    if (!here || !there) continue;
    morph(here, there);
    said ||= there.childElementCount > 0;
  }
  for (const list of followed) list.scrollTop = list.scrollHeight;
  if (page.title && parts.includes("live")) document.title = page.title;
  document.dispatchEvent(new Event("backroom:page"));
  return said;
}

export async function refresh() {
  if (state.running) {
    state.again = true;
    return;
  }
  state.running = true;
  const began = performance.now();
  try {
    const headers = { "Backroom-Live": "1" };
    if (state.tag) headers["If-None-Match"] = state.tag;
    const answer = await fetch(location.href, { headers, cache: "no-store", redirect: "manual" });
    // Pages lead nobody elsewhere but to the form to sign in, or a proxy to its own.
    const out = answer.status === 401 || answer.type === "opaqueredirect";
    if (out && !told("signed-out")) signedOut();
    if (!out) untell("signed-out");
    const ours = answer.headers.has(OURS);
    if (ours) untell("foreign");
    if (answer.ok && !ours) {
      lost();
      return;
    }
    if (answer.ok) {
      const text = await answer.text();
      if (!state.paused) {
        put(text);
        state.tag = answer.headers.get("ETag");
      }
    }
    if (answer.ok || answer.status === 304) say(state.paused ? "paused" : "live", state.paused ? "Paused" : "Live");
    else if (out) say("lost", "Signed out");
    else say("lost", answer.status === 404 ? "Gone" : `Error ${answer.status}`);
  } catch {
    say("lost", "No connection");
  } finally {
    state.last = performance.now();
    state.took = state.last - began;
    state.running = false;
    if (state.again) {
      state.again = false;
      soon();
    }
  }
}

// Somebody else has answered in place of the dashboard: what is shown stays, and is not the news.
export function lost() {
  if (!told("foreign")) foreign();
  say("lost", "Offline");
}

// A server that takes long to answer is asked less often.
function soon() {
  if (state.timer || state.paused || document.hidden) return;
  const wait = Math.max(0, state.last + Math.max(LEAST, 10 * state.took) - performance.now());
  state.timer = setTimeout(() => {
    state.timer = 0;
    refresh();
  }, wait);
}

function listen() {
  const where = document.body.dataset.events;
  if (!where || state.source || document.hidden || state.paused || state.ended) return;
  state.source = new EventSource(where);
  const heard = () => {
    heartbeat();
    soon();
  };
  state.source.onmessage = heard;
  for (const name of ["stats", "job", "log"]) state.source.addEventListener(name, heard);
  state.source.addEventListener("trouble", () => say("lost", "The storage does not answer"));
  state.source.addEventListener("end", () => {
    // Nothing more happens to this job: a last look, and no more listening.
    rest();
    state.ended = true;
    heard();
  });
  state.source.onopen = () => say("live", "Live");
  state.source.onerror = () => {
    if (state.source?.readyState === EventSource.CLOSED) {
      state.source = null; // Refused: looks alone, and asked again later.
      setTimeout(listen, 30_000);
    }
  };
}

function rest() {
  state.source?.close();
  state.source = null;
  clearTimeout(state.timer);
  state.timer = 0;
}

// Also where no event comes: moments grow old, and events may be refused.
let silence = 0;
function heartbeat() {
  clearTimeout(silence);
  silence = setTimeout(() => {
    if (!document.hidden && !state.paused) soon();
    heartbeat();
  }, document.querySelector(MOVING) ? LEAST : SILENT);
}

export function pause(on) {
  state.paused = on;
  if (on) {
    rest();
    say("paused", "Paused");
  } else {
    listen();
    refresh();
  }
}

export const paused = () => state.paused;

export function begin() {
  if (!document.body.dataset.events) return; // Nobody is signed in.
  document.addEventListener("visibilitychange", () => {
    if (document.hidden) {
      rest();
      say("paused", "Resting");
    } else {
      listen();
      refresh();
    }
  });
  addEventListener("pagehide", rest);
  addEventListener("pageshow", (event) => {
    if (event.persisted) {
      listen();
      refresh();
    }
  });
  for (const list of followers()) list.scrollTop = list.scrollHeight;
  listen();
  heartbeat();
  say("live", "Live");
}
