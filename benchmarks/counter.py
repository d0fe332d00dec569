"""What handlers of measurements do: they count."""

from __future__ import annotations

import asyncio
from typing import Any

from backroom import Job


class Counter:
    """Counts handler runs; `reached` is set at a number."""

    def __init__(self, number: int) -> None:
        self.number = number
        self.count = 0
        self.reached = asyncio.Event()

    async def handle(self, job: Job[Any]) -> None:
        self.count += 1
        if self.count == self.number:
            self.reached.set()
