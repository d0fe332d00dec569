"""Ids of jobs, and of all else that sorts by when it was made."""

from __future__ import annotations

import os
import weakref
from collections.abc import Callable
from typing import Final

__all__ = ["JobIds"]


class JobIds:
    """Makes job ids: UUIDv7 as text, each of which sorts behind those made before it.

    The 12 bits after the version hold the fraction of the millisecond, as RFC 9562 (6.2,
    method 3) allows; of the 62 bits that follow, the first is 0 and the others are random. Within
    one microsecond, and where the clock has stepped back, they grow by a random step instead
    (method 2). Random bytes are fetched from the system a page at a time, and never shared with
    a forked child.
    """

    def __init__(self, entropy: Callable[[int], bytes] = os.urandom) -> None:
        self._entropy = entropy
        self._tails: list[str] = []
        self._last = -1
        self._tail = ""
        self._millisecond = -1
        self._head = ""
        _id_sources.add(self)

    def __call__(self, now: int) -> str:
        """A new id for `now`, in microseconds since 1970."""
        if not self._tails:
            page = self._entropy(4096).hex()
            self._tails = [_tail(page[at : at + 16]) for at in range(0, len(page), 16)]
        tail = self._tails.pop()
        if now <= self._last:
            now, tail = self._last, _behind(self._tail, tail)
        self._last, self._tail = now, tail
        millisecond, microsecond = divmod(now, 1000)
        if millisecond != self._millisecond:
            self._millisecond = millisecond
            self._head = f"{millisecond >> 16:08x}-{millisecond & 0xFFFF:04x}-7"
        return f"{self._head}{_FRACTION[microsecond]}-{tail}"

    def forget(self) -> None:
        """Drops the bytes that are left."""
        self._tails = []
        self._last = -1


def _tail(digits: str) -> str:
    """The last two groups: their first digit holds the two bits of the variant."""
    return f"{_VARIANT[digits[0]]}{digits[1:4]}-{digits[4:]}"


def _behind(tail: str, chance: str) -> str:
    """A tail that sorts behind this one, by a step between 1 and 2**32."""
    step = 1 + int(chance[-8:], 16)
    digits = f"{int(tail.replace('-', ''), 16) + step:016x}"
    return f"{digits[:4]}-{digits[4:]}"


_FRACTION: Final = [f"{microsecond << 2:03x}" for microsecond in range(1000)]
_VARIANT: Final = {digit: "89"[int(digit, 16) & 1] for digit in "0123456789abcdef"}
"""The first digit after the version holds the two bits of the variant, a 0 and a random one."""

_id_sources: weakref.WeakSet[JobIds] = weakref.WeakSet()


def _forget_entropy() -> None:
    for source in _id_sources:
        source.forget()


os.register_at_fork(after_in_child=_forget_entropy)
