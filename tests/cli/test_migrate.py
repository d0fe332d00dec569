"""The tables of a PostgreSQL storage from the command line, and what the doctor says of one."""

from __future__ import annotations

import json
import os
import sys
from pathlib import Path
from typing import Any
from urllib.parse import quote, urlsplit

import psycopg
import pytest
from click.testing import CliRunner

from backroom.cli import main
from backroom.storage.postgres.migrations import MIGRATIONS
from tests.cli.parts import Shown, backroom
from tests.servers.fixtures import PostgresPlace

LABELS = [one.label for one in MIGRATIONS]
APPLIED = "".join(f"applied {label}\n" for label in LABELS)


def tables(place: PostgresPlace) -> int:
    with psycopg.connect(place.url) as link:
        row = link.execute(
            "SELECT count(*) FROM pg_class WHERE relnamespace = %s::regnamespace", [place.schema]
        ).fetchone()
    assert row is not None
    return int(row[0])


def url_of(place: PostgresPlace) -> str:
    """Whose tables are in the schema of the test."""
    return f"{place.url}?search_path={place.schema}"


def run(*arguments: str, **env: str) -> Shown:
    """The same as `backroom`, in this process, which takes a tenth of the time."""
    clean = {key: None for key in os.environ if key.startswith("BACKROOM_")}
    done = CliRunner(env={**clean, **env}).invoke(main, ["migrate", *arguments])
    if done.exception is not None and not isinstance(done.exception, SystemExit):
        raise done.exception
    return Shown(done.exit_code, done.stdout, done.stderr)


def migrate(place: PostgresPlace, *options: str) -> Shown:
    shown = run(place.url, "--schema", place.schema, *options)
    password = urlsplit(place.url).password
    assert password is not None
    assert f":{password}@" not in shown.out + shown.err
    return shown


def findings(url: str, code: int) -> dict[str, dict[str, Any]]:
    shown = backroom("doctor", "--json", "--storage", url)
    assert shown.code == code, shown
    return {finding["check"]: finding for finding in json.loads(shown.out)}


def test_it_makes_the_tables_and_then_has_nothing_to_do(postgres_url: PostgresPlace) -> None:
    missing = migrate(postgres_url, "--check")
    assert (missing.code, tables(postgres_url)) == (1, 0)
    assert "0001 the first tables" in missing.out
    assert migrate(postgres_url) == (0, APPLIED, "")
    assert tables(postgres_url) > 10
    assert "nothing is missing" in migrate(postgres_url).out
    current = migrate(postgres_url, "--check")
    assert current.code == 0
    assert f"nothing is missing (version {len(LABELS)})" in current.out
    other = migrate(postgres_url, "--check", "--table-name", "other_jobs")
    assert other.code == 1


def test_it_answers_in_json(postgres_url: PostgresPlace) -> None:
    checked = migrate(postgres_url, "--check", "--json")
    assert checked.code == 1
    said = json.loads(checked.out)
    assert (said["version"], said["known"], said["missing"]) == (0, len(LABELS), LABELS)
    assert json.loads(migrate(postgres_url, "--json").out)["applied"] == LABELS
    assert json.loads(migrate(postgres_url, "--json").out)["applied"] == []


def test_the_sql_that_it_prints_makes_a_store(postgres_url: PostgresPlace) -> None:
    printed = migrate(postgres_url, "--sql")
    assert (printed.code, printed.err, tables(postgres_url)) == (0, "", 0)
    assert "TO ROLE;" in printed.out
    with psycopg.connect(postgres_url.url, autocommit=True) as link:
        link.execute(printed.out.encode())
    assert migrate(postgres_url, "--check").code == 0
    again = migrate(postgres_url, "--sql", "--role", "postgres")
    assert "nothing is missing" in again.out
    assert 'TO "postgres";' in again.out


def test_the_sql_needs_no_database() -> None:
    nowhere = "postgresql://ada:s3cret@nowhere.invalid/app"
    given = run(nowhere, "--sql", "--from", "0", "--role", "ada")
    assert (given.code, given.err) == (0, "")
    assert 'CREATE TABLE "background_jobs_meta"' in given.out
    assert 'TO "ada";' in given.out
    asked = run(nowhere, "--sql", "--role", "ada")
    assert (asked.code, asked.out) == (0, given.out)
    assert "could not be asked" in asked.err
    assert "s3cret" not in asked.err + asked.out
    refused = run(nowhere)
    assert refused.code == 1
    assert "check host and port" in refused.err
    assert "s3cret" not in refused.err


def test_who_is_refused_is_told_how_the_sql_is_had_anyway(postgres_url: PostgresPlace) -> None:
    host = urlsplit(postgres_url.url).netloc.rpartition("@")[2]
    shown = run(f"postgresql://postgres:s3cret@{host}/postgres", "--sql")
    assert shown.code == 1
    assert "check user, password" in shown.err
    assert "--from 0" in shown.err
    assert "s3cret" not in shown.err


def test_an_application_is_named_as_elsewhere(
    postgres_url: PostgresPlace, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", [*sys.path])
    monkeypatch.delitem(sys.modules, "jobs_of_ours", raising=False)
    (tmp_path / "jobs_of_ours.py").write_text(
        "from backroom import DatabaseJobStorage, JobService\n"
        f"storage = DatabaseJobStorage({postgres_url.url!r}, schema={postgres_url.schema!r},\n"
        "    table_name='app_jobs', migrate=False)\n"
        "service = JobService(storage)\n"
    )
    for said in (("jobs_of_ours:service",), ("--app", "jobs_of_ours:service")):
        assert run(*said, "--check").code == 1
    applied = run(BACKROOM_APP="jobs_of_ours:service")
    assert (applied.code, applied.out) == (0, APPLIED)
    # The argument counts before what the environment says.
    elsewhere = "file:./other"
    assert run("jobs_of_ours:service", "--check", BACKROOM_STORAGE=elsewhere).code == 0  # fmt: skip
    (tmp_path / "backroom.toml").write_text('app = "jobs_of_ours:service"\n')
    assert "nothing is missing" in run("--check").out
    refused = run("jobs_of_ours:service", "--schema", "x")
    assert refused.code == 2
    assert "go with a URL" in refused.err


@pytest.mark.parametrize("where", ["file:./jobs", "memory:"])
def test_other_storages_have_nothing_to_migrate(
    where: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    shown = run(where)
    assert shown.code == 0
    assert "no tables to migrate" in shown.out
    assert list(tmp_path.iterdir()) == []
    assert run(where, "--sql").out.startswith("-- ")
    assert json.loads(run(where, "--json").out)["missing"] == []


@pytest.mark.parametrize(
    ("said", "why"),
    [
        (("--sql", "--check"), "--sql cannot be combined"),
        (("--role", "ada"), "belong to --sql"),
        (("--from", "0"), "belong to --sql"),
        (("--storage", "postgresql://other/app"), "name the storage once"),
        (("--table-name", "a b"), "must be a plain name"),
        (("--schema", "a.b"), "must be a plain name"),
    ],
)
def test_wrong_usage_is_told(said: tuple[str, ...], why: str) -> None:
    shown = run("postgresql://ada:s3cret@nowhere.invalid/app", *said)
    assert shown.code == 2
    assert why in " ".join(shown.err.split())
    assert "s3cret" not in shown.err


def test_a_url_for_another_program_is_told_how_to_write() -> None:
    shown = run("postgresql+asyncpg://ada:s3cret@host/app")
    assert shown.code == 2
    assert "write postgresql://ada:***@host/app" in " ".join(shown.err.split())


def test_help_says_how_to_hand_it_to_an_administrator() -> None:
    shown = run("--help", COLUMNS="100")
    assert shown.code == 0
    assert "backroom migrate URL --sql --role USER" in shown.out
    assert "BACKROOM_MIGRATE_SCHEMA" in shown.out


# -- the others ----------------------------------------------------------------------------------


@pytest.mark.parametrize("command", [("stats",), ("jobs", "list"), ("queues", "list")])
def test_a_look_at_a_database_without_a_store_makes_none(
    postgres_url: PostgresPlace, command: tuple[str, ...]
) -> None:
    shown = backroom(*command, "--storage", url_of(postgres_url))
    assert shown.code == 1
    assert "no tables of a job store" in shown.err
    assert tables(postgres_url) == 0


def test_a_rehearsal_makes_no_tables(postgres_url: PostgresPlace, tmp_path: Path) -> None:
    (tmp_path / "rehearsed.py").write_text(
        "import os\nfrom backroom import DatabaseJobStorage, JobService\n"
        f"storage = DatabaseJobStorage({postgres_url.url!r}, schema={postgres_url.schema!r},\n"
        "    migrate=os.environ['MIGRATE'] == 'yes')\n"
        "service = JobService(storage)\n@service.handler('MAIL')\nasync def mail(job): ...\n"
    )
    command = ("worker", "rehearsed:service", "--dry-run")
    shown = backroom(*command, cwd=tmp_path, MIGRATE="yes")
    assert (shown.code, tables(postgres_url)) == (0, 0)
    assert "the first start makes them" in shown.out
    shown = backroom(*command, cwd=tmp_path, MIGRATE="no")
    assert (shown.code, tables(postgres_url)) == (1, 0)
    assert "run `backroom migrate`" in shown.err


def test_the_doctor_tells_of_a_sound_store(postgres_url: PostgresPlace) -> None:
    migrate(postgres_url)
    found = findings(url_of(postgres_url), 0)
    assert {finding["level"] for finding in found.values()} == {"ok"}
    assert set(found) == {
        *("server", "schema", "rights"),
        *("storage", "clock", "types", "waiting", "counts", "places"),
    }
    assert "PostgreSQL " in found["server"]["says"]
    assert "connections in use" in found["server"]["says"]
    assert ":***@" in found["storage"]["says"]
    assert found["schema"]["says"] == f"version {len(LABELS)}"


def test_the_doctor_tells_of_a_store_that_is_not_there_and_makes_none(
    postgres_url: PostgresPlace,
) -> None:
    found = findings(url_of(postgres_url), 1)
    assert found["schema"]["level"] == "error"
    assert "backroom migrate" in found["schema"]["mend"]
    assert tables(postgres_url) == 0


def test_the_doctor_tells_which_rights_are_missing(postgres_url: PostgresPlace) -> None:
    migrate(postgres_url)
    role = f"ada_{postgres_url.schema}"
    with psycopg.connect(postgres_url.url, autocommit=True) as link:
        link.execute(f"CREATE ROLE {role} LOGIN PASSWORD 's3cr@t'".encode())
        try:
            link.execute(f"GRANT USAGE ON SCHEMA {postgres_url.schema} TO {role}".encode())
            tables = f"ALL TABLES IN SCHEMA {postgres_url.schema} TO {role}"
            link.execute(f"GRANT SELECT, INSERT, UPDATE ON {tables}".encode())
            parts = urlsplit(url_of(postgres_url))
            host = parts.netloc.rpartition("@")[2]
            url = parts._replace(netloc=f"{role}:{quote('s3cr@t')}@{host}").geturl()
            found = findings(url, 1)
        finally:
            link.execute(f"DROP OWNED BY {role}; DROP ROLE {role}".encode())
    assert "DELETE on background_jobs" in found["rights"]["says"].replace('"', "")
    assert f"--role {role}" in found["rights"]["mend"]
    assert "s3cr" not in str(found)


def test_the_doctor_tells_of_newer_tables(postgres_url: PostgresPlace) -> None:
    migrate(postgres_url)
    with psycopg.connect(postgres_url.url, autocommit=True) as link:
        meta = f"{postgres_url.schema}.background_jobs_meta"
        link.execute(f"UPDATE {meta} SET value = 9".encode())
    found = findings(url_of(postgres_url), 1)
    assert "version 9" in found["schema"]["says"]


def test_the_doctor_tells_of_a_server_that_is_not_there() -> None:
    found = findings("postgresql://ada:s3cret@nowhere.invalid/app", 1)
    assert "check host and port" in found["storage"]["says"]
    assert "s3cret" not in str(found)
