"""Workers on hosts of their own, of which one is cut off from the database for longer than its
lease."""

from __future__ import annotations

import signal
import time
from collections.abc import Iterator
from contextlib import AbstractContextManager, ExitStack, nullcontext
from typing import Protocol

import pytest

from tests.process.parts import Child, Family, eventually, eventually_async, scheduling
from tests.servers.binaries import find_binaries
from tests.servers.fixtures import choose
from tests.servers.hosts import Network, no_hosts_here
from tests.servers.postgres import PostgresServer
from tests.servers.wires import Wire

pytestmark = pytest.mark.crash

LEASE = 1.5
CONNECTIONS = b"SELECT pid FROM pg_stat_activity WHERE application_name = 'backroom'"


class Hosts(Protocol):
    """A database, and two hosts with a way to it."""

    server: PostgresServer

    def url(self, host: int) -> str: ...
    def inside(self, host: int) -> AbstractContextManager[None]: ...
    def cut_off(self, host: int) -> None: ...
    def connect(self, host: int) -> None: ...


class Namespaces:
    """Three hosts, between them a real network; the server is on the middle one."""

    def __init__(self, network: Network, server: PostgresServer) -> None:
        self._network = network
        self.server = server
        self.inside = lambda host: network.others[host].inside()
        self.cut_off = network.take_down
        self.connect = network.bring_up

    def url(self, host: int) -> str:
        return self.server.url().replace("127.0.0.1", self._network.address(host))


class Wires:
    """Connections that stand still, where this machine allows no more."""

    def __init__(self, wires: list[Wire], server: PostgresServer) -> None:
        self._wires = wires
        self.server = server

    def url(self, host: int) -> str:
        return self._wires[host].url(self.server.url())

    def inside(self, host: int) -> AbstractContextManager[None]:
        return nullcontext()

    def cut_off(self, host: int) -> None:
        self._wires[host].stand_still()

    def connect(self, host: int) -> None:
        self._wires[host].go_on()


@pytest.fixture
def hosts() -> Iterator[Hosts]:
    """The test itself runs on the host of the server."""
    with ExitStack() as stack:
        why = no_hosts_here()
        if why:
            print(f"NO NAMESPACES ({why}): connections that stand still take their place")
            server = stack.enter_context(PostgresServer(choose(find_binaries())))
            wires = [Wire(server.port), Wire(server.port)]
            for wire in wires:
                stack.callback(wire.close)
            yield Wires(wires, server)
            return
        network = stack.enter_context(Network(2))
        stack.enter_context(network.middle.inside())
        everywhere = {"listen_addresses": "*"}
        server = stack.enter_context(PostgresServer(choose(find_binaries()), settings=everywhere))
        with (server.data / "pg_hba.conf").open("a") as rules:
            rules.write("host all all 10.203.0.0/16 scram-sha-256\n")
        server.execute(b"SELECT pg_reload_conf()")
        yield Namespaces(network, server)


async def test_a_host_that_is_cut_off_loses_its_jobs_and_comes_back(
    family: Family, hosts: Hosts
) -> None:
    def worker(host: int) -> Child:
        with hosts.inside(host):
            return family.ready(storage=hosts.url(host), lease=LEASE, poll_interval=0.2)

    async with scheduling(hosts.server.url(), poll_interval=0.2) as service:
        away = worker(0)
        thread = await service.schedule("THREAD_GATE", {"gate": "open"})
        coroutine = await service.schedule("GATE", {"gate": "open"})
        eventually(lambda: len(family.starts()) == 2, "both jobs run")
        other = worker(1)

        hosts.cut_off(0)
        since = time.monotonic()
        both = {thread: 2, coroutine: 2}
        eventually(lambda: family.starts() == both, "the other host runs them", 10)
        # It stopped by itself what can be stopped, before anybody else began.
        [interrupted] = family.entries("interrupted")
        [_, again] = [one for one in family.entries("started") if one.job == coroutine]
        assert interrupted.pid == away.pid
        assert again.pid == other.pid
        assert since < interrupted.at < again.at
        family.gate(f"open-{away.pid}")
        eventually(lambda: family.entries("finished"), "its thread has come to its end")

        hosts.connect(0)
        away.says("was not kept")
        info = await service.get_job(thread)
        assert (info.status, info.attempt, info.crashes) == ("active", 2, 1)
        family.gate(f"open-{other.pid}")
        for job_id in (thread, coroutine):
            assert await service.result(job_id, timeout=10) == other.pid
            info = await service.get_job(job_id)
            assert (info.status, info.attempt, info.crashes) == ("completed", 2, 1)

        # It works again, and leaves as it should.
        other.signal(signal.SIGTERM)
        assert other.ends() == 0, other.text
        later = await service.schedule("QUICK")
        assert await service.result(later, timeout=10) == away.pid
        away.signal(signal.SIGTERM)
        assert away.ends() == 0, away.text
        assert (await service.get_stats()).workers == ()
    await eventually_async(lambda: not hosts.server.execute(CONNECTIONS), "no connection is left")
