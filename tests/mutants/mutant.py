"""A guard of the engine, and the edit by which a careless colleague would remove it."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from textwrap import dedent

__all__ = ["SOURCE", "GuardMoved", "Mutant"]

SOURCE = Path("src/backroom")
"""Where the files of mutants are, in a checkout."""


class GuardMoved(Exception):
    """A mutant's old text is not in its file, or is there more than once."""


@dataclass(frozen=True, kw_only=True)
class Mutant:
    """Old text of one line is a fragment, wherever it stands; of several, whole lines at any
    depth. It must be in its file exactly once."""

    name: str
    promises: tuple[int, ...]
    """Of docs/design.md, section 2; the first is the one that it breaks above all."""
    guard: str
    """What is removed, and what for it is there."""
    file: str
    """Below `SOURCE`."""
    old: str
    new: str
    also: tuple[tuple[str, str], ...] = ()
    """Further edits of the same file, as old and new text."""
    tests: tuple[str, ...]
    """Files or node ids below tests/, of which at least one should go red."""
    limit: float = 60.0
    """Seconds that these tests may take."""
    hangs: bool = False
    """Without this guard something waits for ever: to be out of time counts as killed."""

    def mutate(self, text: str) -> str:
        """The file without the guard.

        Raises:
            GuardMoved: an old text is not there exactly once.
        """
        for old, new in ((self.old, self.new), *self.also):
            text = self._replace(text, old, new)
        return text

    def _replace(self, text: str, old: str, new: str) -> str:
        count, changed = _fragment(text, old, new) if "\n" not in old else _lines(text, old, new)
        if count != 1:
            raise GuardMoved(
                f"the guard has moved: {self.name} looks for this in {SOURCE / self.file}, where it"
                f" stands {count} times and not once; say anew what removes it:\n{dedent(old)}"
            )
        return changed


def _fragment(text: str, old: str, new: str) -> tuple[int, str]:
    return text.count(old), text.replace(old, new)


def _lines(text: str, old: str, new: str) -> tuple[int, str]:
    wanted = dedent(old).strip("\n").split("\n")
    lines = text.split("\n")
    found = [
        (at, depth)
        for at, first in enumerate(lines)
        if (depth := _depth(first, wanted[0])) is not None
        and lines[at : at + len(wanted)] == [_indented(line, depth) for line in wanted]
    ]
    for at, depth in found:
        fresh = dedent(new).strip("\n").split("\n") if new.strip() else []
        lines[at : at + len(wanted)] = [_indented(line, depth) for line in fresh]
    return len(found), "\n".join(lines)


def _depth(line: str, wanted: str) -> int | None:
    """By how much the wanted line is indented there; None where it is another one."""
    depth = len(line) - len(wanted)
    return depth if depth >= 0 and line == _indented(wanted, depth) else None


def _indented(line: str, depth: int) -> str:
    return " " * depth + line if line else line
