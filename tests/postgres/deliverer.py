"""A process that delivers what waits in a spool: `python -m tests.postgres.deliverer URL FOLDER`
ends when nothing is left there; with `die` it is killed once the server has committed; with
`schedule FIRST` it schedules a hundred jobs first."""

from __future__ import annotations

import asyncio
import os
import signal
import sys
from pathlib import Path
from typing import Any

from backroom import DatabaseJobStorage, FileJobStorage, JobService
from backroom.storage.postgres.spool import Spool
from tests.process.parts import eventually_async


async def die(self: Spool, jobs: Any) -> None:
    os.kill(os.getpid(), signal.SIGKILL)


async def main(url: str, folder: str, what: str = "", first: str = "0") -> None:
    spool = FileJobStorage(Path(folder) / "spool")
    if what == "die":
        Spool._drop = die  # type: ignore[method-assign]
    service = JobService(DatabaseJobStorage(url, spool=spool))
    service.declare("MAIL")
    await service.open()
    if what == "schedule":
        for n in range(int(first), int(first) + 100):
            await service.schedule("MAIL", {"n": n})
        print("scheduled", flush=True)

    async def nothing_is_left() -> bool:
        return not sum((await spool.stats(spool.clock.now())).by_status.values())

    await eventually_async(nothing_is_left, "all are delivered", 50)
    await service.stop()


if __name__ == "__main__":
    asyncio.run(main(*sys.argv[1:]))
