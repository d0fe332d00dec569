"""The SQL for those who may make tables, and the rights that an application needs then."""

from __future__ import annotations

import secrets
from collections.abc import Iterator
from urllib.parse import urlsplit

import psycopg
import pytest

from backroom import Job, JobService
from backroom.errors import ConfigurationError, StorageError
from backroom.storage.postgres.migrations import MIGRATIONS
from tests.postgres.parts import NEWER, beside, columns, storage
from tests.process.parts import eventually_async
from tests.servers.fixtures import PostgresPlace


@pytest.fixture
def role(postgres_url: PostgresPlace) -> Iterator[str]:
    """A user with no rights but to connect, whose name wants quoting."""
    name = f'Ada "{secrets.token_hex(4)}"'
    with psycopg.connect(postgres_url.url, autocommit=True) as link:
        quoted = psycopg.sql.Identifier(name)
        link.execute(psycopg.sql.SQL("CREATE ROLE {} LOGIN PASSWORD 'ada'").format(quoted))
        yield name
        link.execute(psycopg.sql.SQL("DROP OWNED BY {0}; DROP ROLE {0}").format(quoted))


def url_of(place: PostgresPlace, role: str) -> str:
    parts = urlsplit(place.url)
    host = parts.netloc.rpartition("@")[2]
    user = role.replace(" ", "%20").replace('"', "%22")
    return parts._replace(netloc=f"{user}:ada@{host}").geturl()


def carry_out(place: PostgresPlace, sql: str) -> None:
    """As a program does that is handed a file: all at once, in no transaction of its own."""
    with psycopg.connect(place.url, autocommit=True) as link:
        link.execute(sql.encode())


async def test_what_an_administrator_carries_out_serves_a_user_with_these_rights_alone(
    postgres_url: PostgresPlace, role: str
) -> None:
    carry_out(postgres_url, storage(postgres_url).migration_sql(role=role))
    service = JobService(storage(postgres_url, url=url_of(postgres_url, role), migrate=False))
    tries: list[int] = []

    @service.handler("FIRST", retry_delay=0.01, retries=3)
    async def first(job: Job[dict[str, str]]) -> str:
        tries.append(job.attempt)
        job.log.info("is here")
        if job.attempt == 1:
            raise ValueError("not yet")
        return "done"

    async with service:
        one = await service.schedule("FIRST", {}, unique_key="a")
        assert await service.result(one, timeout=20) == "done"
        held = await service.schedule("FIRST", {}, delay=60)
        await service.cancel_job(held)
        await service.delete_job(held)
        await service.pause_queue("other")
        await service.resume_queue("other")
        await service.storage.prune(service.storage.clock.now() + 10**9, 100)
        found = await service.storage.examine()  # type: ignore[attr-defined]
        assert (found.user, found.rights, found.missing) == (role, (), ())
    assert tries == [1, 2]


async def test_the_script_names_a_schema_that_is_not_there(
    postgres_url: PostgresPlace, role: str
) -> None:
    name = f"Own_{postgres_url.schema}"
    one = storage(postgres_url, url=url_of(postgres_url, role), schema=name, table_name="Table")
    with pytest.raises(ConfigurationError, match="permission denied"):
        await one.migrate()
    carry_out(postgres_url, one.migration_sql(role=role))
    await one.open()
    await one.close()
    carry_out(postgres_url, f'DROP SCHEMA "{name}" CASCADE')


async def test_the_script_of_a_step_brings_what_is_there_forward(
    postgres_url: PostgresPlace,
) -> None:
    first, second = storage(postgres_url), storage(postgres_url, NEWER, migrate=False)
    place = f'"{postgres_url.schema}".'
    await first.open()
    found = await second.examine()
    assert found.missing == (NEWER.label,)
    sql = second.migration_sql(found.version)
    assert "CREATE TABLE" in sql
    assert f"CREATE TABLE {place}background_jobs_logs" not in sql
    carry_out(postgres_url, sql)
    await second.open()
    assert (await second.examine()).missing == ()
    await second.close()
    await first.close()


async def test_a_script_for_something_else_than_what_is_there_changes_nothing(
    postgres_url: PostgresPlace,
) -> None:
    newer = storage(postgres_url, NEWER)
    with pytest.raises(psycopg.errors.UndefinedTable):
        carry_out(postgres_url, newer.migration_sql(1))
    await newer.open()
    async with beside(postgres_url) as link:
        await link.execute("ALTER TABLE background_jobs_workers DROP COLUMN note")
        await link.execute("DROP TABLE background_jobs_notes")
        with pytest.raises(psycopg.errors.RaiseException, match="not of version 1"):
            carry_out(postgres_url, newer.migration_sql(1))
        with pytest.raises(psycopg.errors.DuplicateTable):
            carry_out(postgres_url, newer.migration_sql(0))
        assert await columns(link, "background_jobs_notes") == []
    await newer.close()


async def test_what_is_missing_is_found_without_a_change(
    postgres_url: PostgresPlace, role: str
) -> None:
    one = storage(postgres_url, NEWER)
    found = await one.examine()
    assert (found.version, found.known) == (0, NEWER.version)
    assert found.missing == (*(step.label for step in MIGRATIONS), NEWER.label)
    async with beside(postgres_url) as link:
        assert await columns(link, "background_jobs") == []
        assert found.user == await link.fetchval("SELECT current_user")
        assert f"{link.get_server_version().major}." in found.server
        # A user who may make nothing, and then one who may do a part.
        user = storage(postgres_url, url=url_of(postgres_url, role))
        quoted = role.replace('"', '""')
        await link.execute(f'GRANT USAGE ON SCHEMA {postgres_url.schema} TO "{quoted}"')
        assert (await user.examine()).rights == (f"CREATE on schema {postgres_url.schema}",)
        none = storage(postgres_url, url=url_of(postgres_url, role), schema="none_such")
        [right] = (await none.examine()).rights
        assert right.startswith("CREATE on database ")
        await storage(postgres_url).migrate()
        await link.execute(
            f'GRANT SELECT ON ALL TABLES IN SCHEMA {postgres_url.schema} TO "{quoted}"'
        )
        lacks = (await user.examine()).rights
    assert f'UPDATE on "{postgres_url.schema}"."background_jobs_keys"' in lacks
    assert f'USAGE on "{postgres_url.schema}"."background_jobs_tokens"' in lacks
    assert not [right for right in lacks if right.startswith("SELECT")]


def test_the_rights_are_shown_for_nobody_where_no_role_is_named() -> None:
    place = PostgresPlace("postgresql://localhost/app", "s")
    sql = storage(place).migration_sql()
    assert '-- GRANT SELECT, INSERT, UPDATE, DELETE ON\n--     "s"."background_jobs",\n' in sql
    assert "\nGRANT" not in sql
    nothing = storage(place).migration_sql(MIGRATIONS[-1].version, "ada")
    assert "nothing is missing" in nothing
    assert "CREATE" not in nothing
    assert '\nGRANT USAGE ON SCHEMA "s" TO "ada";' in nothing


@pytest.mark.parametrize("role", ["", "x" * 64, "a\0b", "ö" * 32])
def test_what_can_be_no_role_is_refused(role: str) -> None:
    place = PostgresPlace("postgresql://localhost/app", "s")
    with pytest.raises(ConfigurationError, match="can be no role"):
        storage(place).migration_sql(role=role)


async def test_an_examination_leaves_no_connection(postgres_url: PostgresPlace) -> None:
    async with beside(postgres_url) as link:

        async def theirs() -> set[int]:
            rows = await link.fetch(
                "SELECT pid FROM pg_stat_activity WHERE application_name = 'backroom' AND"
                " datname = current_database()"
            )
            return {row[0] for row in rows}

        before = await theirs()
        one = storage(postgres_url)
        await one.migrate()
        await one.examine()

        async def none_left() -> bool:
            return await theirs() <= before

        await eventually_async(none_left, "the server has no connection of ours")
    with pytest.raises(StorageError, match="not open"):
        await one.queues()
