"""What a worker notes where `kill -9` leaves it: that user code has begun."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from backroom import FileJobStorage, Job, JobService
from backroom.storage.starts import StartBoard


@pytest.mark.parametrize("where", ["loop", "thread"])
async def test_a_start_is_noted_before_the_first_line(where: str, tmp_path: Path) -> None:
    service = JobService(FileJobStorage(tmp_path))
    noted: list[int] = []

    def look(job: Job[Any]) -> None:
        [board] = tmp_path.glob("*.starts")
        noted.extend(key for key, token in StartBoard.read(board) or ())
        assert job._claim.key in noted

    async def look_on_the_loop(job: Job[Any]) -> None:
        look(job)

    service.register_handler("LOOK", look if where == "thread" else look_on_the_loop)
    async with service:
        await service.result(await service.schedule("LOOK", retries=0), timeout=30)
    assert len(noted) == 1
