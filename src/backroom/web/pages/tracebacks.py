"""A traceback as frames: where, in which function, which line. Pure.

Text that does not look like a traceback of Python's stays what it is.
"""

from __future__ import annotations

import re
from typing import Final

import msgspec

__all__ = ["Frame", "frames"]

_WHERE: Final = re.compile(r'\s*File "(?P<file>[^"\n]*)", line (?P<line>\d+)(?:, in (?P<name>.*))?')
_LIBRARY: Final = ("site-packages", "dist-packages", "/lib/python3", "/src/backroom/", "<frozen ")


_BETWEEN: Final = (
    "Traceback (most recent call last)",
    "The above exception was the direct cause",
    "During handling of the above exception",
)


class Frame(msgspec.Struct):
    """One place that the error came through; or, without a file, a line that says something."""

    file: str | None
    line: int
    name: str
    code: str
    ours: bool
    """Of the application: not of Python, of a package or of Backroom."""

    @property
    def between(self) -> bool:
        """Words of Python's between the errors."""
        return self.file is None and self.code.startswith(_BETWEEN)

    @property
    def short(self) -> str:
        """The last three parts of the path."""
        return "/".join((self.file or "").split("/")[-3:])


def frames(text: str) -> list[Frame]:
    """In the order of the text: the innermost frame is the last before the error."""
    found: list[Frame] = []
    for line in text.splitlines():
        where = _WHERE.fullmatch(line)
        if where is not None:
            file = where["file"]
            ours = not any(part in file for part in _LIBRARY)
            found.append(Frame(file, int(where["line"]), where["name"] or "", "", ours))
        elif line.startswith("    ") and found and found[-1].file is not None:
            # The line of code; a second one, of carets, says where in it.
            if line.strip(" ^~"):
                last = found[-1]
                last.code = f"{last.code}\n{line.strip()}" if last.code else line.strip()
        elif line.strip():
            found.append(Frame(None, 0, "", line, True))
    return found
