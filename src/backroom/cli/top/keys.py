"""Keys of a terminal, one by one."""

from __future__ import annotations

import asyncio
import contextlib
import os
import re
import sys
import termios
import tty
from collections.abc import Callable, Iterator
from typing import Final

__all__ = ["keys_of", "reading_keys"]

_NAMES: Final = {
    "\x1b[A": "up", "\x1b[B": "down", "\x1b[C": "right", "\x1b[D": "left",
    "\x1bOA": "up", "\x1bOB": "down", "\x1bOC": "right", "\x1bOD": "left",
    "\x1b[5~": "pageup", "\x1b[6~": "pagedown", "\x1b[Z": "shift-tab",
    "\t": "tab", "\x03": "ctrl-c", "\x04": "ctrl-d", "\x1b": "escape", "\r": "enter", "\n": "enter",
}  # fmt: skip
_KEY: Final = re.compile(r"\x1b\[[0-9;]*[A-Za-z~]|\x1bO[A-Za-z]|.", re.DOTALL)


def keys_of(text: str) -> list[str]:
    """The names of the keys that a terminal sends as this text; other sequences are one key."""
    return [_NAMES.get(found, found) for found in _KEY.findall(text)]


@contextlib.contextmanager
def reading_keys(pressed: Callable[[str], None]) -> Iterator[None]:
    """Within this block keys of standard input come as they are pressed, and are not shown; the
    terminal is as it was when the block ends, however it ends. The end of input is "ctrl-d"."""
    loop, source = asyncio.get_running_loop(), sys.stdin.fileno()
    before = termios.tcgetattr(source)

    def read() -> None:
        sent = os.read(source, 1024)
        for key in keys_of(sent.decode(errors="replace")) if sent else ["ctrl-d"]:
            pressed(key)

    tty.setcbreak(source)
    loop.add_reader(source, read)
    try:
        yield
    finally:
        loop.remove_reader(source)
        termios.tcsetattr(source, termios.TCSADRAIN, before)
