// Makes one tree like another, touching only what differs: focus, selected text, scrolling, open
// details and half-written fields stay as they are. Elements with an id or a data-key are the same
// ones wherever they move to.

// (`form.id` would be the field of that name.)
const keyOf = (node) =>
  node.nodeType === Node.ELEMENT_NODE ? node.getAttribute("id") || node.getAttribute("data-key") : null;

const alike = (one, other) =>
  one.nodeType === other.nodeType && one.nodeName === other.nodeName && keyOf(one) === keyOf(other);

export function morph(from, to) {
  if (from.nodeType !== Node.ELEMENT_NODE) {
    if (from.data !== to.data) from.data = to.data;
    return;
  }
  // What a script draws into, as long as it is asked to draw the same kind of thing.
  if (from.hasAttribute("data-drawn")) {
    const data = to.getAttribute("data-chart");
    if (data !== null && data !== from.getAttribute("data-chart")) {
      from.setAttribute("data-chart", data);
      from.dispatchEvent(new Event("backroom:data"));
    }
    return;
  }
  attributes(from, to);
  if (from.nodeName === "TEXTAREA" || from.nodeName === "SELECT") {
    if (from === document.activeElement || from.dataset.touched) return;
  }
  children(from, to);
}

function attributes(from, to) {
  for (const { name, value } of to.attributes) {
    if (local(from, name)) continue;
    if (from.getAttribute(name) !== value) from.setAttribute(name, value);
  }
  for (const { name } of [...from.attributes]) {
    if (!to.hasAttribute(name) && !local(from, name)) from.removeAttribute(name);
  }
}

// What the person at the screen has the say over.
function local(element, name) {
  if (name === "data-touched" || name === "data-drawn" || name === "data-row") return true;
  if (name === "open") return element.nodeName === "DETAILS" || element.nodeName === "DIALOG";
  if (name === "value" || name === "checked") {
    return element === document.activeElement || "touched" in element.dataset;
  }
  return name === "hidden" && "mine" in element.dataset;
}

function children(from, to) {
  const kept = new Map();
  for (const child of from.childNodes) {
    const key = keyOf(child);
    if (key !== null) kept.set(key, child);
  }
  const calm = from.hasAttribute("data-calm") && busy(from);
  const fresh = [];
  let at = from.firstChild;
  for (const wanted of [...to.childNodes]) {
    const key = keyOf(wanted);
    const same = key === null ? null : kept.get(key);
    if (same && same.nodeName === wanted.nodeName) {
      kept.delete(key);
      if (same === at) at = at.nextSibling;
      else if (!calm) from.insertBefore(same, at);
      morph(same, wanted);
    } else if (key === null && at && alike(at, wanted)) {
      const next = at.nextSibling;
      morph(at, wanted);
      at = next;
    } else if (calm && key !== null) {
      fresh.push(key);
    } else {
      from.insertBefore(document.importNode(wanted, true), at);
    }
  }
  while (at) {
    const next = at.nextSibling;
    const key = keyOf(at);
    // Where somebody is choosing rows, none goes away under the pointer.
    if (!(calm && key !== null)) at.remove();
    at = next;
  }
  if (calm && fresh.length) {
    from.dispatchEvent(new CustomEvent("backroom:held", { bubbles: true, detail: fresh.length }));
  }
}

// Whether somebody points at these rows, stands in them with the keyboard, or has chosen some.
function busy(rows) {
  return (
    rows.matches(":hover") ||
    rows.contains(document.activeElement) ||
    rows.querySelector("input:checked, [data-row]") !== null
  );
}
