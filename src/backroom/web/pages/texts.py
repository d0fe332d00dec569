"""Text of jobs as HTML: what could hide or turn round what is beside it is shown as what it is."""

from __future__ import annotations

import json
import re
import unicodedata
from typing import Any, Final
from urllib.parse import quote

from markupsafe import Markup, escape

__all__ = ["compact_json", "first_line", "json_text", "paint_json", "plain", "urlpart", "visible"]

MOST: Final = 100_000
"""Characters of one text that a page shows."""
MOST_CHIPS: Final = 100
"""Chips of one text; each is about seventy bytes of the page."""
_SEEN: Final = re.compile(
    # C0 but tab and newline, DEL and C1, the marks and overrides of writing direction, line and
    # paragraph separators, what has no width (but the joiners, which letters and emoji need),
    # tags, and halves of surrogate pairs, which no encoding can say.
    "[\x00-\x08\x0b-\x1f\x7f-\x9f\u00ad\u061c\u180e\u200b\u200e\u200f\u2028-\u202e"
    "\u2060-\u206f\ufeff\ufff9-\ufffb\ud800-\udfff\U000e0000-\U000e007f]"
)
_SEEN_AGAIN: Final = re.compile(rf"({_SEEN.pattern})\1*")
_NAMES: Final = (
    "NUL SOH STX ETX EOT ENQ ACK BEL BS  HT  LF  VT  FF  CR  SO  SI  "
    "DLE DC1 DC2 DC3 DC4 NAK SYN ETB CAN EM  SUB ESC FS  GS  RS  US  "
)
"""What ASCII calls its control characters, four letters each."""
_TOKEN: Final = re.compile(
    r'(?P<key>"(?:[^"\\]|\\.)*")(?=\s*:)|(?P<text>"(?:[^"\\]|\\.)*")'
    r"|(?P<number>-?\d+(?:\.\d+)?(?:[eE][+-]?\d+)?)|(?P<word>\b(?:true|false|null)\b)"
)


def visible(text: object, most: int = MOST) -> Markup:
    """Escaped; a control character, an override of direction and the like is a chip with its
    name, many of the same are one chip. Tabs and line ends stay. Of `most` characters at most; what
    is left out is said. Where there are more chips than anybody reads, the others are "\ufffd"."""
    said = str(text)
    left = len(said) - most
    if left > 0:
        said = said[:most]
    parts: list[str] = []
    at = 0
    for number, found in enumerate(_SEEN_AGAIN.finditer(said)):
        if number == MOST_CHIPS:
            break
        parts.append(escape(said[at : found.start()]))
        parts.append(_chip(found[1], len(found[0])))
        at = found.end()
    parts.append(escape(_SEEN.sub("\ufffd", said[at:])))
    if left > 0:
        parts.append(_cut(left))
    return Markup("".join(parts))


def _chip(character: str, times: int) -> str:
    many = f" x {times:,}" if times > 1 else ""
    return f'<span class="chr" title="{_name(character)}{many}">{_sign(character)}{many}</span>'


def _cut(left: int) -> str:
    return f'<span class="quiet">… {left:,} more characters</span>'


def plain(text: object) -> str:
    """The same as text, for an attribute or a title: `[U+202E]` in the place of the character."""
    return _SEEN.sub(lambda found: f"[{_code(found[0])}]", str(text)).replace("\n", " ")


def urlpart(text: str) -> str:
    """One part of a path: slashes too are of the name, not of the path."""
    return quote(text, safe="")


def first_line(text: str, most: int = 200) -> str:
    """The first line that says something, at most so long."""
    line = next((line for line in text.splitlines() if line.strip()), "").strip()
    return line if len(line) <= most else line[: most - 1] + "…"


def json_text(value: Any) -> str:
    """JSON for people to read and to copy, every number exact. A character that would not be seen
    is written as its escape, which means the same. Of about 100,000 characters at most."""
    text, whole = _written(value, MOST, 2)
    return text if whole else f"{text}…"


def compact_json(value: Any, most: int = 200) -> str:
    """JSON in one line, at most so long; nothing for None."""
    if value is None:
        return ""
    text, whole = _written(value, most, None)
    return text if whole and len(text) <= most else text[: most - 1] + "…"


def paint_json(value: Any) -> Markup:
    """`json_text` with its tokens in spans; the text of the whole is that of `json_text`."""
    text, whole = _written(value, MOST, 2)
    parts: list[str] = []
    at = 0
    for found in _TOKEN.finditer(text):
        parts.append(escape(text[at : found.start()]))
        parts.append(f'<span class="j-{found.lastgroup}">{escape(found[0])}</span>')
        at = found.end()
    parts.append(escape(text[at:]))
    if not whole:
        parts.append('<span class="quiet">…</span>')
    return Markup("".join(parts))


def _written(value: Any, most: int, indent: int | None) -> tuple[str, bool]:
    """The first characters of a value as JSON, and whether that is all of it. No more of it is
    written than is shown."""
    parts: list[str] = []
    size = 0
    for part in json.JSONEncoder(ensure_ascii=False, indent=indent).iterencode(value):
        parts.append(part)
        size += len(part)
        if size > most:
            return _SEEN.sub(_escape, "".join(parts)[:most]), False
    return _SEEN.sub(_escape, "".join(parts)), True


def _code(character: str) -> str:
    return f"U+{ord(character):04X}"


def _sign(character: str) -> str:
    """What ASCII calls a control character; of others, the number."""
    number = ord(character)
    if number < 0x20:
        return _NAMES[4 * number : 4 * number + 4].strip()
    return "DEL" if number == 0x7F else _code(character)


def _name(character: str) -> str:
    number = ord(character)
    known = unicodedata.name(character, "a control character")
    return (
        f"{_code(character)} {known.lower()}" if number >= 0x20 else f"{_code(character)} control"
    )


def _escape(found: re.Match[str]) -> str:
    number = ord(found[0])
    if number <= 0xFFFF:
        return f"\\u{number:04x}"
    high, low = divmod(number - 0x10000, 0x400)
    return f"\\u{0xD800 + high:04x}\\u{0xDC00 + low:04x}"
