"""Text of jobs as HTML: what could hide or turn round what is beside it is shown as what it is."""

from __future__ import annotations

import json
import re
import unicodedata
from typing import Any, Final
from urllib.parse import quote

from markupsafe import Markup, escape

__all__ = ["compact_json", "first_line", "json_text", "paint_json", "plain", "urlpart", "visible"]

_SEEN: Final = re.compile(
    # C0 but tab and newline, DEL and C1, the marks and overrides of writing direction, line and
    # paragraph separators, what has no width (but the joiners, which letters and emoji need),
    # tags, and halves of surrogate pairs, which no encoding can say.
    "[\x00-\x08\x0b-\x1f\x7f-\x9f\u00ad\u061c\u180e\u200b\u200e\u200f\u2028-\u202e"
    "\u2060-\u206f\ufeff\ufff9-\ufffb\ud800-\udfff\U000e0000-\U000e007f]"
)
_NAMES: Final = (
    "NUL SOH STX ETX EOT ENQ ACK BEL BS  HT  LF  VT  FF  CR  SO  SI  "
    "DLE DC1 DC2 DC3 DC4 NAK SYN ETB CAN EM  SUB ESC FS  GS  RS  US  "
)
"""What ASCII calls its control characters, four letters each."""
_TOKEN: Final = re.compile(
    r'(?P<key>"(?:[^"\\]|\\.)*")(?=\s*:)|(?P<text>"(?:[^"\\]|\\.)*")'
    r"|(?P<number>-?\d+(?:\.\d+)?(?:[eE][+-]?\d+)?)|(?P<word>\b(?:true|false|null)\b)"
)


def visible(text: object) -> Markup:
    """Escaped; a control character, an override of direction and the like is a chip with its
    name. Tabs and line ends stay."""
    said = str(text)
    if _SEEN.search(said) is None:
        return escape(said)
    parts: list[Markup] = []
    at = 0
    for found in _SEEN.finditer(said):
        parts.append(escape(said[at : found.start()]))
        parts.append(
            Markup('<span class="chr" title="{}">{}</span>').format(
                _name(found[0]), _sign(found[0])
            )
        )
        at = found.end()
    parts.append(escape(said[at:]))
    return Markup("").join(parts)


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
    is written as its escape, which means the same."""
    text = json.dumps(value, ensure_ascii=False, indent=2)
    return _SEEN.sub(_escape, text)


def compact_json(value: Any, most: int = 200) -> str:
    """JSON in one line, at most so long; nothing for None."""
    if value is None:
        return ""
    text = _SEEN.sub(_escape, json.dumps(value, ensure_ascii=False))
    return text if len(text) <= most else text[: most - 1] + "…"


def paint_json(value: Any) -> Markup:
    """`json_text` with its tokens in spans; the text of the whole is that of `json_text`."""
    text = json_text(value)
    parts: list[Markup] = []
    at = 0
    for found in _TOKEN.finditer(text):
        parts.append(escape(text[at : found.start()]))
        parts.append(Markup('<span class="j-{}">{}</span>').format(found.lastgroup, found[0]))
        at = found.end()
    parts.append(escape(text[at:]))
    return Markup("").join(parts)


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
