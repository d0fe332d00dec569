"""The machine was started anew, as after a power cut: leases and boards of before say nothing."""

from __future__ import annotations

from pathlib import Path

import apsw

from backroom import FileJobStorage
from tests.contract.parts import Bench, SettableClock

YEAR = 365 * 86_400.0


def start_anew(folder: Path, worker: int) -> None:
    """What the next start of the machine finds of a worker: another one's boot id, and a lease
    that ends at an uptime that this start has not reached by far."""
    database = apsw.Connection(str(folder / "jobs.db"))
    database.execute(
        "UPDATE worker SET boot = 'of another start', lease_until = lease_until + ? WHERE id = ?",
        (YEAR, worker),
    )
    database.close()


async def test_the_workers_of_an_earlier_start_of_the_machine_are_dead(tmp_path: Path) -> None:
    clock = SettableClock()
    bench = Bench(FileJobStorage(tmp_path, clock=clock), clock)
    await bench.storage.open()
    started, waiting = await bench.add(), await bench.add()
    gone, lives = await bench.enlist("gone"), await bench.enlist("lives")
    claims = await bench.claim(gone, 2)
    # Counted as started, but not on its board: that may have been lost with the system's memory.
    await bench.storage.start(gone, [claim.key for claim in claims if claim.id == started])
    assert (await bench.reclaim()).workers == ()

    start_anew(tmp_path, gone)

    reclaimed = await bench.reclaim()
    assert (reclaimed.workers, reclaimed.crashed, reclaimed.untouched) == (("gone",), 1, 1)
    assert {claim.id: claim.attempt for claim in await bench.claim(lives, 2)} == {
        started: 1,
        waiting: 0,
    }
    await bench.storage.retire(lives)
    await bench.storage.close()
