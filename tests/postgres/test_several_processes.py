"""Several worker processes under one supervisor share nothing but the database."""

from __future__ import annotations

import os
import signal
import uuid
from collections.abc import Iterator

import pytest

from backroom import JobRequest
from tests.process.fixtures import family
from tests.process.parts import (
    Child,
    Family,
    eventually,
    eventually_async,
    is_running,
    scheduling,
)
from tests.servers.postgres import Postgres

__all__ = ["family"]

pytestmark = pytest.mark.crash


class Database:
    """A database of one test, and who is connected to it."""

    def __init__(self, server: Postgres, name: str) -> None:
        self._server = server
        self._name = name
        self.url = server.url(name)

    def ports(self) -> set[int]:
        """Of the other ends of the connections to it."""
        rows = self._server.execute(
            b"SELECT client_port FROM pg_stat_activity"
            b" WHERE application_name = 'backroom' AND datname = current_database()",
            self._name,
        )
        return {port for (port,) in rows}


@pytest.fixture
def database(postgres_server: Postgres) -> Iterator[Database]:
    name = f"processes_{uuid.uuid4().hex[:12]}"
    postgres_server.create_database(name)
    yield Database(postgres_server, name)
    postgres_server.drop_database(name)


def ready(family: Family, database: Database, count: int) -> Child:
    """A supervisor whose workers have all begun."""
    supervisor = family.worker(
        *("--processes", str(count), "--concurrency", "2"),
        storage=database.url, poll_interval=0.2,
    )  # fmt: skip
    eventually(lambda: supervisor.text.count("\n  runs ") == count, "all workers run")
    return supervisor


def workers(child: Child) -> set[int]:
    """The worker processes that a supervisor has now."""
    with open(f"/proc/{child.pid}/task/{child.pid}/children") as children:
        return {int(number) for number in children.read().split() if is_running(int(number))}


def sockets(pid: int) -> set[str]:
    """The numbers of the sockets that a process has open."""
    found = set()
    for name in os.listdir(f"/proc/{pid}/fd"):
        try:
            target = os.readlink(f"/proc/{pid}/fd/{name}")
        except FileNotFoundError:  # It was closed meanwhile.
            continue
        if target.startswith("socket:["):
            found.add(target.removeprefix("socket:[").removesuffix("]"))
    return found


def connected(pid: int, ports: set[int]) -> set[str]:
    """The sockets of a process that are connections from one of these ports."""
    with open("/proc/net/tcp") as table:
        rows = [line.split() for line in table.readlines()[1:]]
    ours = {row[9] for row in rows if int(row[1].rpartition(":")[2], 16) in ports}
    return sockets(pid) & ours


async def test_each_process_has_connections_of_its_own_and_none_is_left(
    family: Family, database: Database
) -> None:
    supervisor = ready(family, database, 3)
    async with scheduling(database.url) as service:
        ids = await service.schedule_many([JobRequest("NAP", {"seconds": 0.05})] * 60)
        pids = {await service.result(job_id, timeout=30) for job_id in ids}
        assert pids == workers(supervisor)
        assert sum(family.starts().values()) == 60
        # What a worker has it opened after its start: nobody else has it, the supervisor none.
        ports = database.ports()
        assert connected(supervisor.pid, ports) == set()
        theirs = [connected(pid, ports) for pid in pids]
        assert all(len(own) >= 2 for own in theirs), "some do not listen, or do not work"
        assert len(set.union(*theirs)) == sum(map(len, theirs))
        supervisor.signal(signal.SIGTERM)
        assert supervisor.ends() == 0, supervisor.text
        assert (await service.get_stats()).workers == ()
    await eventually_async(lambda: not database.ports(), "all connections have ended")


async def test_a_killed_process_is_replaced_and_its_jobs_come_back(
    family: Family, database: Database
) -> None:
    supervisor = ready(family, database, 2)
    async with scheduling(database.url) as service:
        ids = await service.schedule_many([JobRequest("GATE", {})] * 4)
        await eventually_async(lambda: len(family.starts()) == 4, "they run")
        victim = min(workers(supervisor))
        hers = {one.job for one in family.entries("started") if one.pid == victim}
        assert len(hers) == 2
        os.kill(victim, signal.SIGKILL)
        supervisor.says(f"(process {victim}) was killed by SIGKILL; it is started again in 0.5 s")
        eventually(lambda: supervisor.text.count("\n  runs ") == 3, "another one runs")
        await eventually_async(lambda: len(family.entries("started")) == 6, "they run again")
        family.gate()
        for job_id in ids:
            assert await service.result(job_id, timeout=10) in workers(supervisor)
            info = await service.get_job(job_id)
            expected = ("completed", 2, 1) if job_id in hers else ("completed", 1, 0)
            assert (info.status, info.attempt, info.crashes) == expected
        # Told twice, they leave at once, and what ran is given back.
        again = await service.schedule_many([JobRequest("GATE", {"gate": "other"})] * 2)
        await eventually_async(lambda: len(family.entries("started")) == 8, "they run")
        supervisor.signal(signal.SIGTERM)
        supervisor.says("SIGTERM: all workers drain")
        supervisor.signal(signal.SIGTERM)
        assert supervisor.ends() == 0, supervisor.text
        for job_id in again:
            info = await service.get_job(job_id)
            assert (info.status, info.attempt, info.crashes) == ("pending", 0, 0)
        assert (await service.get_stats()).workers == ()
    await eventually_async(lambda: not database.ports(), "all connections have ended")
