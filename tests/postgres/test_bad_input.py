"""What is wrong with a URL, a server or a database is said with what mends it, and never with a
password."""

from __future__ import annotations

import asyncio
import logging
import socket
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from urllib.parse import urlsplit

import asyncpg
import pytest

from backroom import DatabaseJobStorage, JobService
from backroom.errors import (
    BackroomError,
    ConfigurationError,
    StorageCorruptError,
    StorageError,
)
from backroom.storage.postgres import links, schema
from backroom.storage.postgres.migrations import MIGRATIONS
from tests.postgres.parts import SECRET, WRITTEN, a_user, beside, columns, storage
from tests.servers.fixtures import PostgresPlace


@contextmanager
def refused(error: type[BackroomError], *words: str) -> Iterator[None]:
    """With these words, and without the password, also in what the error stands on."""
    with pytest.raises(error) as caught:
        yield
    for word in words:
        assert word in str(caught.value)
    whole = ""
    cause: BaseException | None = caught.value
    while cause is not None:
        whole += f"{cause!r} {cause}"
        assert cause.__cause__ is not cause
        cause = cause.__cause__ or (None if cause.__suppress_context__ else cause.__context__)
    assert SECRET not in whole
    assert WRITTEN not in whole
    assert "s3cr" not in whole


# -- the URL -------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("url", "mend"),
    [
        (f"mysql://ada:{WRITTEN}@host/app", "write postgresql://user:password@host:port/database"),
        (f"postgresql+asyncpg://ada:{WRITTEN}@host/app", "write postgresql://ada:***@host/app"),
        (f"postgresql+psycopg2://ada:{WRITTEN}@host/app", "names a driver"),
        (f"postgresql:ada:{WRITTEN}@host", "no URL of PostgreSQL"),
        (f"host=localhost password={SECRET}", "no URL of PostgreSQL"),
        (f"postgresql://ada:{WRITTEN}@host:99999/app", "port from 1 to 65535"),
        (f"postgresql://ada:{WRITTEN}@host:0/app", "port from 1 to 65535"),
        (f"postgresql://ada:{WRITTEN}@host:http/app", "port from 1 to 65535"),
        (f"postgresql://ada:{WRITTEN}@one:1,two:x/app", "port from 1 to 65535"),
        (f"postgresql://ada:{SECRET}@host/app", "urllib.parse.quote"),
        ("postgresql://ada:s3cr#t@host/app", "urllib.parse.quote"),
        ("postgresql://ada:s3cr?t@host/app", "urllib.parse.quote"),
        ("postgresql://ada:12?s3cr@host/app", "urllib.parse.quote"),
        ("postgresql://ada:s3cr@t@host/app", "urllib.parse.quote"),
        ("postgresql://ada:[s3cr@host/app", "urllib.parse.quote"),
        (f"postgresql://ada:{WRITTEN}@host/app?sslmode", "name=value"),
        ("", "no URL of PostgreSQL"),
    ],
)
def test_a_url_that_makes_no_sense_is_refused_before_anything_is_asked(url: str, mend: str) -> None:
    with refused(ConfigurationError, mend):
        DatabaseJobStorage(url)


@pytest.mark.parametrize(
    "url",
    [
        "postgres://host",
        "postgresql://ada@[::1]:5432/app",
        "postgresql://ada:x@one:5432,two:5433/app?target_session_attrs=primary",
        "postgresql:///app?host=/tmp&user=ada@example.com",
        "postgresql://ada:p%40ss@host/app?options=-c%20geqo=off",
    ],
)
def test_a_url_that_makes_sense_is_taken(url: str) -> None:
    DatabaseJobStorage(url)


@pytest.mark.parametrize("given", [None, 5, b"postgresql://host/app", object()])
def test_what_is_neither_url_nor_pool_nor_engine_is_refused(given: object) -> None:
    with refused(ConfigurationError, "a URL, an asyncpg pool or an engine"):
        DatabaseJobStorage(given)


def test_a_storage_shows_no_password() -> None:
    one = DatabaseJobStorage(f"postgresql://ada:{WRITTEN}@host/app", schema="s")
    for shown in (repr(one), one.url, repr(one._links.source), f"{JobService(one).storage}"):
        assert "postgresql://ada:***@host/app" in shown
        assert "s3cr" not in shown


@pytest.mark.parametrize("command", [["migrate"], ["doctor", "--storage"]])
def test_a_driver_that_is_not_there_is_told(command: list[str]) -> None:
    said = [*command, f"postgresql://ada:{WRITTEN}@host/app"]
    done = subprocess.run(
        [sys.executable, "-c", "import sys; sys.modules['asyncpg'] = None\n"
         f"from backroom.cli import main\nmain({said})"],
        capture_output=True, text=True, timeout=60, check=False,
    )  # fmt: skip
    assert done.returncode == 2
    assert "pip install 'backroom[postgres]'" in done.stderr
    assert "s3cr" not in done.stderr


# -- the way to the server -----------------------------------------------------------------------


async def test_a_host_without_a_server_is_told() -> None:
    with socket.socket() as nobody:
        nobody.bind(("127.0.0.1", 0))
        port = nobody.getsockname()[1]
        with refused(StorageError, "no connection to", "check host and port", f":{port}"):
            await DatabaseJobStorage(f"postgresql://ada:{WRITTEN}@127.0.0.1:{port}/app").open()


async def test_a_host_that_has_no_address_is_told() -> None:
    with refused(StorageError, "no connection to", "check host and port"):
        await DatabaseJobStorage(f"postgresql://ada:{WRITTEN}@nowhere.invalid/app").open()


async def test_a_host_that_does_not_answer_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(links, "CONNECT", 0.3)
    with socket.create_server(("127.0.0.1", 0)) as silent:
        port = silent.getsockname()[1]
        url = f"postgresql://ada:{WRITTEN}@127.0.0.1:{port}/app"
        with refused(StorageError, "no answer within 0.3 s", "check host and port"):
            await asyncio.wait_for(DatabaseJobStorage(url).open(), 10)


async def test_a_wrong_password_is_told(
    postgres_url: PostgresPlace, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG)
    async with a_user(postgres_url) as url:
        wrong = url.replace(WRITTEN, "s3cr-not")
        with refused(ConfigurationError, "check user, password", ":***@"):
            await DatabaseJobStorage(wrong).open()
        service = JobService(wrong)
        service.declare("MAIL")
        with refused(ConfigurationError, "check user, password"):
            await service.schedule("MAIL", {})
    assert "s3cr" not in caplog.text


async def test_a_database_that_is_not_there_is_told(postgres_url: PostgresPlace) -> None:
    async with a_user(postgres_url) as url:
        with refused(ConfigurationError, '"nosuch" does not exist', "CREATE DATABASE"):
            await DatabaseJobStorage(url.replace(urlsplit(url).path, "/nosuch")).open()


async def test_a_setting_that_the_server_does_not_know_is_told(
    postgres_url: PostgresPlace,
) -> None:
    async with a_user(postgres_url) as url:
        with refused(ConfigurationError, "connect_timeout", "after the ?"):
            await DatabaseJobStorage(f"{url}?connect_timeout=5").open()


async def test_a_server_that_is_too_old_is_refused(
    postgres_url: PostgresPlace, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(schema, "OLDEST_SERVER", 99)  # Each server is too old now.
    with refused(ConfigurationError, "needs version 99 or newer", "upgrade the server"):
        await storage(postgres_url).open()
    async with beside(postgres_url) as link:
        assert await columns(link, "background_jobs") == []


async def test_a_server_that_is_read_only_is_refused(postgres_url: PostgresPlace) -> None:
    first = storage(postgres_url)
    await first.open()
    url = f"{postgres_url.url}?default_transaction_read_only=on"
    for migrate in (True, False):
        with refused(StorageError, "is read-only", "default_transaction_read_only"):
            await storage(postgres_url, url=url, migrate=migrate).open()
    await first.close()


# -- rights --------------------------------------------------------------------------------------


async def test_who_may_make_no_tables_is_told_what_to_hand_to_whom(
    postgres_url: PostgresPlace,
) -> None:
    async with a_user(postgres_url, f"GRANT USAGE ON SCHEMA {postgres_url.schema}") as url:
        with refused(ConfigurationError, "permission denied", "`backroom migrate --sql --role"):
            await storage(postgres_url, url=url).open()
    async with beside(postgres_url) as link:
        assert await columns(link, "background_jobs") == []


async def test_a_schema_that_may_not_be_made_is_told(postgres_url: PostgresPlace) -> None:
    async with a_user(postgres_url) as url:
        with refused(ConfigurationError, "permission denied for database", "backroom migrate"):
            await storage(postgres_url, url=url, schema="nosuch_schema").open()


async def test_a_schema_that_is_there_needs_no_right_to_make_one(
    postgres_url: PostgresPlace,
) -> None:
    async with a_user(postgres_url, f"GRANT USAGE, CREATE ON SCHEMA {postgres_url.schema}") as url:
        one = storage(postgres_url, url=url)
        await one.open()
        await one.close()


async def test_a_search_path_that_leads_nowhere_is_told(postgres_url: PostgresPlace) -> None:
    url = f"{postgres_url.url}?search_path=nosuch_schema"
    with refused(ConfigurationError, "no schema has been selected", "schema="):
        await storage(postgres_url, url=url, schema=None).open()


async def test_tables_that_may_not_be_read_are_told(postgres_url: PostgresPlace) -> None:
    first = storage(postgres_url)
    await first.open()
    async with a_user(postgres_url, f"GRANT USAGE ON SCHEMA {postgres_url.schema}") as url:
        with refused(ConfigurationError, "permission denied", "GRANTs"):
            await storage(postgres_url, url=url).open()
    await first.close()


# -- what has our names --------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("made", "named"),
    [
        ("CREATE TABLE background_jobs (id integer)", "background_jobs"),
        ("CREATE VIEW background_jobs AS SELECT 1 AS id", "background_jobs"),
        ("CREATE TABLE background_jobs_meta (name text, said text)", "background_jobs_meta"),
        ("CREATE TABLE background_jobs_meta (name integer, value text)", "background_jobs_meta"),
        ("CREATE TABLE background_jobs_meta (name text, value text);"
         "INSERT INTO background_jobs_meta VALUES ('schema', 'one')", "background_jobs_meta"),
        ("CREATE TABLE background_jobs_meta (name text, value bigint)", "background_jobs_meta"),
        ("CREATE VIEW background_jobs_meta AS SELECT 'schema' AS name, 1::bigint AS value",
         "background_jobs_meta"),
        ("CREATE SEQUENCE background_jobs_tokens", "background_jobs_tokens"),
    ],
)  # fmt: skip
async def test_what_is_not_ours_is_refused_and_not_touched(
    postgres_url: PostgresPlace, made: str, named: str
) -> None:
    async with beside(postgres_url) as link:
        await link.execute(made)
        before = await link.fetch(
            "SELECT relname, xmin FROM pg_class WHERE relnamespace = $1::regnamespace ORDER BY 1",
            postgres_url.schema,
        )
        for migrate in (True, False):
            with refused(ConfigurationError, "there is already a", named, "another table_name"):
                await storage(postgres_url, migrate=migrate).open()
        assert before == await link.fetch(
            "SELECT relname, xmin FROM pg_class WHERE relnamespace = $1::regnamespace ORDER BY 1",
            postgres_url.schema,
        )
        # And another name does.
        other = storage(postgres_url, table_name="other")
        await other.open()
        await other.close()


async def test_an_index_or_a_type_of_our_name_leaves_nothing_half_made(
    postgres_url: PostgresPlace,
) -> None:
    async with beside(postgres_url) as link:
        for made in (
            "CREATE TABLE mine (id integer); CREATE INDEX background_jobs_keys_id ON mine (id)",
            "DROP TABLE mine; CREATE TYPE background_jobs_logs AS ENUM ('a')",
        ):
            await link.execute(made)
            with refused(ConfigurationError, "already exists", "nothing was changed"):
                await storage(postgres_url).open()
            assert await columns(link, "background_jobs") == []


async def test_a_store_of_which_a_table_is_missing_is_refused(postgres_url: PostgresPlace) -> None:
    first = storage(postgres_url)
    await first.open()
    await first.close()
    async with beside(postgres_url) as link:
        await link.execute("DROP TABLE background_jobs_keys")
        with refused(StorageCorruptError, 'background_jobs_keys" of this job store is missing'):
            await storage(postgres_url).open()
        assert await columns(link, "background_jobs_keys") == []
        await link.execute("DROP TABLE background_jobs_meta")
        with refused(ConfigurationError, "what is left of one"):
            await storage(postgres_url).open()


async def test_names_are_quoted_wherever_they_stand(postgres_url: PostgresPlace) -> None:
    name = f"Order{postgres_url.schema}"
    one = storage(postgres_url, table_name="Select", schema=name)
    await one.open()
    await one.close()
    async with beside(postgres_url) as link:
        version = await link.fetchval(f'SELECT value FROM "{name}"."Select_meta" LIMIT 1')
        await link.execute(f'DROP SCHEMA "{name}" CASCADE')
        assert version == MIGRATIONS[-1].version


async def test_refused_once_it_can_be_opened_when_all_is_well(postgres_url: PostgresPlace) -> None:
    async with beside(postgres_url) as link:
        await link.execute("CREATE TABLE background_jobs (id integer)")
        service = JobService(storage(postgres_url))
        service.declare("MAIL")
        for _ in range(2):
            with pytest.raises(ConfigurationError):
                await service.schedule("MAIL", {})
        await link.execute("DROP TABLE background_jobs")
        await service.schedule("MAIL", {})
        await service.stop()


def test_the_driver_raises_what_is_told_in_other_words() -> None:
    """Should a new asyncpg give these other parents, the words above would be lost."""
    assert issubclass(asyncpg.InvalidPasswordError, asyncpg.InvalidAuthorizationSpecificationError)
    assert issubclass(asyncpg.ClientConfigurationError, (asyncpg.InterfaceError, ValueError))
