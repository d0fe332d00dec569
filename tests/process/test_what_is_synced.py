"""What stands on the disk before anything is promised."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from tests.process.parts import scheduling


@pytest.fixture
def synced(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The paths of what was synced but by SQLite."""
    paths: list[str] = []
    plain = os.fsync

    def fsync(descriptor: int) -> None:
        paths.append(os.readlink(f"/proc/self/fd/{descriptor}"))
        plain(descriptor)

    monkeypatch.setattr(os, "fsync", fsync)
    return paths


@pytest.mark.parametrize("there", ["", "storage", "storage/jobs"])
async def test_a_new_store_syncs_every_folder_that_leads_to_it(
    tmp_path: Path, synced: list[str], there: str
) -> None:
    (tmp_path / there).mkdir(parents=True, exist_ok=True)  # By somebody who synced nothing.
    folder = tmp_path / "storage" / "jobs"
    async with scheduling(folder) as service:
        await service.schedule("QUICK")
    before_mark = synced[: synced.index(str(folder / "store.json"))]
    assert {str(folder), str(folder.parent), str(tmp_path), str(tmp_path.parent)} <= set(
        before_mark
    )
