"""A process that claims what is due, has begun the first 200 of it, and then does nothing."""

from __future__ import annotations

import asyncio
import json
import os

from backroom import DatabaseJobStorage
from backroom.ports import Want, WorkerSpec
from tests.process.parts import die_with_parent


async def main() -> None:
    die_with_parent()
    storage = DatabaseJobStorage(**json.loads(os.environ["PROCESS_TEST_DATABASE"]))
    await storage.open()
    worker = (await storage.enlist(WorkerSpec(f"host:{os.getpid()}", 30))).worker
    now = storage.clock.now()
    claims = (await storage.claim(worker, Want(("default",), (), (1000,) * 4), now)).claims
    await storage.start(worker, [claim.key for claim in claims[:200]])
    print("holds", len(claims), flush=True)
    await asyncio.get_running_loop().create_future()


if __name__ == "__main__":
    asyncio.run(main())
