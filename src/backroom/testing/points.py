"""Where an attempt can be interrupted: the points of its code, and whose code that is."""

from __future__ import annotations

import linecache
import os
import sysconfig
import types
from pathlib import Path
from typing import Final, Literal, TypeAlias

import msgspec

import backroom

__all__ = ["BACKROOM", "Moment", "Point", "is_of_user", "point_at"]

Moment: TypeAlias = Literal["begun", "waiting", "resumed", "answered", "inserted", "ended"]
"""Where an attempt can be interrupted: an await begins, waits, goes on, has its answer; jobs were
scheduled; the handler's last line has run."""

BACKROOM: Final = str(Path(backroom.__file__).parent) + os.sep
LIBRARIES: Final = tuple(
    path + os.sep
    for name in ("stdlib", "platstdlib", "purelib", "platlib")
    for path in {sysconfig.get_path(name), os.path.realpath(sysconfig.get_path(name))}
)


class Point(msgspec.Struct, frozen=True):
    """A moment of an attempt at a line of the user's code; the place is empty at its end."""

    moment: Moment
    place: str = ""
    line: str = ""


def is_of_user(frame: types.FrameType, root: str) -> bool:
    """Whether it runs the user's own code: no library's, but for the package `root`."""
    name = frame.f_code.co_filename
    if name.startswith(("<", BACKROOM)):
        return False
    if frame.f_globals.get("__name__", "").partition(".")[0] == root:
        return True
    parts = f"{os.sep}site-packages{os.sep}", f"{os.sep}dist-packages{os.sep}"
    return not name.startswith(LIBRARIES) and not any(part in name for part in parts)


def point_at(moment: Moment, frame: types.FrameType) -> Point:
    name = frame.f_code.co_filename
    inside = os.path.relpath(name)
    place = name if inside.startswith(os.pardir) else inside
    line = linecache.getline(name, frame.f_lineno).strip()
    return Point(moment, f"{place}:{frame.f_lineno}", line)
