"""Programs that the tests start beside workers: `python -m tests.process.programs NAME ...`."""

from __future__ import annotations

import asyncio
import os
import sys
from pathlib import Path

from backroom import JobRequest
from tests.process.parts import die_with_parent, scheduling

FOLDER = Path(os.environ["PROCESS_TEST_FOLDER"])


async def produce(count: str) -> None:
    """Schedules so many jobs: half of them one by one from fifty coroutines, half in batches."""
    singles = int(count) // 2
    async with scheduling(FOLDER / "jobs") as service:

        async def some(number: int) -> None:
            for _ in range(number):
                await service.schedule("QUICK")

        async def batches() -> None:
            for start in range(singles, int(count), 500):
                size = min(500, int(count) - start)
                await service.schedule_many([JobRequest("QUICK", {})] * size)

        await asyncio.gather(batches(), *(some(singles // 50) for _ in range(50)))


PROGRAMS = {program.__name__: program for program in (produce,)}

if __name__ == "__main__":
    die_with_parent()
    asyncio.run(PROGRAMS[sys.argv[1]](*sys.argv[2:]))
