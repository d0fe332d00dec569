"""What handlers do to the world, and what a crash test says of it."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any

from backroom import Job, JobService
from backroom.testing import CrashReport, crash_test

__all__ = ["Handler", "World", "found"]

Handler = Callable[[Job[Any]], Any]


class World:
    """What handlers do to it lasts; a fake of it never waits, unless it says so."""

    def __init__(self) -> None:
        self.service = JobService("file:/nowhere/that/is/ever/opened")
        self.service.declare("FOLLOW_UP")
        self.setup()

    def setup(self) -> None:
        self.charges: list[str] = []
        self.book: set[str] = set()
        self.mails: list[str] = []
        self.locks: set[str] = set()

    def observe(self) -> dict[str, Any]:
        return {"charges": self.charges, "book": sorted(self.book), "mails": self.mails}

    async def charge(self, order: str, key: str | None = None) -> None:
        if key is None or key not in self.book:
            self.charges.append(order)
        if key is not None:
            self.book.add(key)

    async def charge_slowly(self, order: str) -> None:
        await asyncio.sleep(1)
        self.charges.append(order)
        await asyncio.sleep(1)

    async def send(self, mail: str) -> None:
        self.mails.append(mail)

    def test(self, handler: Handler, **options: Any) -> CrashReport:
        self.service.register_handler("IT", handler)
        how = {"setup": self.setup, "observe": self.observe, **options}
        return crash_test(self.service, "IT", {"order": "A1"}, **how)


def found(report: CrashReport) -> list[tuple[str, str, str]]:
    """Kind, line and moment of each."""
    return [(f.kind, f.line, f.interruption.point.moment) for f in report.unsafe]
