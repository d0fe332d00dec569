// What the page itself has to say, where the server's own word would stand.

// What every page of ours is sent with. What comes without it, whatever its status, is of somebody
// else in between, such as a proxy that wants its visitors to sign in.
export const OURS = "Backroom-Page";

// Of a cause there is one note, which goes when the cause does.
export function tell(cause, text, link = null) {
  const note = document.createElement("p");
  note.className = "note bad";
  note.dataset.cause = cause;
  note.textContent = text;
  if (link) {
    const anchor = document.createElement("a");
    anchor.href = link.href;
    anchor.textContent = link.text;
    note.append(" ", anchor);
  }
  document.getElementById("flash")?.replaceChildren(note);
}

export const told = (cause) => document.querySelector(`#flash [data-cause="${cause}"]`) !== null;

export function untell(cause) {
  document.querySelector(`#flash [data-cause="${cause}"]`)?.remove();
}

// The address of this page leads to the form to sign in, and from there back.
export const signedOut = () =>
  tell("signed-out", "You are signed out: this page stands still, and what you ask for is not done.", { href: location.href, text: "Sign in" });

export const foreign = () =>
  tell("foreign", "Offline: this page stands still, as somebody else answers in place of the dashboard, such as a proxy.", { href: location.href, text: "Sign in again" });

// Of an answer that has no word of ours in it, such as that of a proxy.
export function refused(status, text) {
  let why = "";
  try {
    const { detail } = JSON.parse(text);
    if (typeof detail === "string") why = `: ${detail}`;
  } catch {
    // No document of a problem; its status is all that there is to say.
  }
  const unknown = status >= 500 ? " Whether it was done is not known; look before you ask again." : "";
  tell("refused", `The server answered ${status}${why}.${unknown}`);
}
