"""What is made of an error: who of a group fails, who is asked again, and what the log says."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Iterator

import asyncpg
import pytest

from backroom import DatabaseJobStorage, JobService
from backroom.errors import (
    BackroomError,
    ConfigurationError,
    LeaseLostError,
    StorageError,
    StorageFullError,
    level_of,
)
from backroom.job import JobRecord
from backroom.ports import Inserted, Wake
from backroom.storage.postgres.mishaps import Mishap, is_of_values, mishap_of, no_connection, told
from backroom.storage.postgres.outage import CALM, Outage
from tests.postgres.bustle import by_way_of
from tests.process.parts import eventually_async
from tests.servers.fixtures import PostgresPlace
from tests.servers.proxy import Proxy

URL = "postgresql://ada:hunter22@db.example.com/jobs"
EXC = asyncpg.exceptions


@pytest.fixture
def proxy(postgres_url: PostgresPlace) -> Iterator[Proxy]:
    with Proxy(postgres_url.url) as proxy:
        yield proxy


# -- who of a group fails -------------------------------------------------------------------------


@pytest.mark.parametrize(
    "error",
    [EXC.DataError("22003"), EXC.NotNullViolationError("23502"), EXC.StatementTooComplexError("x"),
     OverflowError("int too big"), UnicodeEncodeError("utf-8", "\ud800", 0, 1, "no")],
    ids=repr,
)  # fmt: skip
def test_a_value_is_one_jobs_fault(error: Exception) -> None:
    said = told(error, URL, True)
    said.__cause__ = error
    assert is_of_values(said)


@pytest.mark.parametrize(
    "error",
    [ConnectionResetError(), TimeoutError(), EXC.AdminShutdownError("x"), EXC.DiskFullError("x"),
     EXC.ReadOnlySQLTransactionError("x"), EXC.OutOfMemoryError("x"), EXC.QueryCanceledError("x"),
     EXC.LockNotAvailableError("x"), EXC.DeadlockDetectedError("x"), EXC.UndefinedTableError("x"),
     EXC.InsufficientPrivilegeError("x"), EXC.IdleInTransactionSessionTimeoutError("x")],
    ids=repr,
)  # fmt: skip
def test_what_befalls_a_connection_or_the_server_befalls_all(error: Exception) -> None:
    said = told(error, URL, True)
    said.__cause__ = error
    assert not is_of_values(said)


def job(number: int, priority: int = 2) -> JobRecord:
    return JobRecord(f"018f0000-0000-7000-8000-{number:012x}", "MAIL", "q", priority, 0, 0, "{}")


async def test_a_job_that_cannot_be_written_does_not_spoil_those_that_others_add(
    postgres_url: PostgresPlace,
) -> None:
    storage = DatabaseJobStorage(postgres_url.url, schema=postgres_url.schema)
    await storage.open()
    jobs = [job(number, 2**20 if number == 3 else 2) for number in range(7)]
    answers = await asyncio.gather(
        *[storage.insert([one], 0) for one in jobs], return_exceptions=True
    )
    assert isinstance(answers[3], StorageError)
    assert "did not answer" not in str(answers[3])
    others = [answer for answer in answers if answer is not answers[3]]
    assert others == [[Inserted(one.id, True)] for one in jobs if one is not jobs[3]]
    assert (await storage.stats(0)).by_status["pending"] == 6
    await storage.close()


async def test_a_server_that_is_away_is_not_asked_once_for_each_of_a_group(
    proxy: Proxy, postgres_url: PostgresPlace
) -> None:
    storage = by_way_of(proxy, postgres_url)
    await storage.open()
    await storage.insert([job(1000)], 0)
    proxy.refuse()
    before = proxy.accepted
    answers = await asyncio.gather(
        *[storage.insert([job(number)], 0) for number in range(100)], return_exceptions=True
    )
    assert all(isinstance(answer, StorageError) for answer in answers)
    assert proxy.accepted - before <= 4
    await storage.close()


# -- what is tried again, and what is said --------------------------------------------------------


@pytest.mark.parametrize(
    ("error", "mishap", "kind", "words"),
    [
        (EXC.SerializationError("x"), Mishap.AGAIN, StorageError, "nothing was changed"),
        (EXC.DeadlockDetectedError("x"), Mishap.AGAIN, StorageError, "nothing was changed"),
        (EXC.InvalidCachedStatementError("x"), Mishap.AGAIN, StorageError, "nothing was changed"),
        (EXC.LockNotAvailableError("x"), Mishap.REFUSED, StorageError, "gave it up"),
        (EXC.QueryCanceledError("x"), Mishap.REFUSED, StorageError, "gave it up"),
        (EXC.OutOfMemoryError("x"), Mishap.REFUSED, StorageError, "nothing was changed"),
        (EXC.DiskFullError("x"), Mishap.REFUSED, StorageFullError, "disk of the server is full"),
        (EXC.InsufficientPrivilegeError("x"), Mishap.REFUSED, ConfigurationError, "grant it"),
        (EXC.ReadOnlySQLTransactionError("x"), Mishap.STALE, StorageError, "is read-only"),
        (EXC.InvalidSQLStatementNameError("x"), Mishap.STALE, ConfigurationError, "pooled=True"),
        (EXC.DuplicatePreparedStatementError("x"), Mishap.STALE, ConfigurationError, "pooled=True"),
        (EXC.AdminShutdownError("x"), Mishap.CUT, StorageError, "is not known"),
        (EXC.IdleInTransactionSessionTimeoutError("x"), Mishap.CUT, StorageError, "is not known"),
        (EXC.ConnectionDoesNotExistError("x"), Mishap.CUT, StorageError, "is not known"),
        (asyncpg.InterfaceError("x"), Mishap.CUT, StorageError, "is not known"),
        (asyncpg.InternalClientError("x"), Mishap.CUT, StorageError, "is not known"),
        (TimeoutError(), Mishap.CUT, StorageError, "TimeoutError; whether"),
        (LeaseLostError("gone"), Mishap.REFUSED, LeaseLostError, "gone"),
        (KeyError("a bug"), Mishap.ODD, KeyError, "a bug"),
        (asyncio.CancelledError(), Mishap.ODD, asyncio.CancelledError, ""),
    ],
    ids=lambda value: type(value).__name__ if isinstance(value, BaseException) else "",
)
def test_an_error_of_the_driver_in_our_words(
    error: BaseException, mishap: Mishap, kind: type[BaseException], words: str
) -> None:
    assert mishap_of(error) is mishap
    said = told(error, URL, True)
    assert type(said) is kind
    assert words in str(said)
    assert "hunter22" not in str(said)
    if isinstance(said, StorageError) and mishap is not Mishap.CUT:
        assert "is not known" in str(told(error, URL, False))


@pytest.mark.parametrize(
    ("error", "kind", "words"),
    [
        (OSError(111, "refused"), StorageError, "no connection to postgresql://ada:***@"),
        (TimeoutError(), StorageError, "no answer within 5 s; check host and port"),
        (EXC.TooManyConnectionsError("x"), StorageError, "nothing was changed"),
        (EXC.CannotConnectNowError("starting"), StorageError, "starting"),
        (EXC.InvalidPasswordError("x"), ConfigurationError, "check user, password"),
        (EXC.InvalidCatalogNameError("x"), ConfigurationError, "make it (CREATE DATABASE)"),
        (EXC.ProtocolViolationError("unsupported startup parameter: jit"), ConfigurationError,
         "pooled=True"),
    ],
    ids=lambda value: type(value).__name__ if isinstance(value, BaseException) else "",
)  # fmt: skip
def test_no_connection_in_our_words(error: Exception, kind: type, words: str) -> None:
    said = no_connection(error, URL, True, within=5)
    assert type(said) is kind
    assert words in str(said)
    assert "hunter22" not in str(said)


# -- what the log says ----------------------------------------------------------------------------


class Uptime:
    def __init__(self) -> None:
        self.now = 100.0

    def __call__(self) -> float:
        return self.now


def test_a_server_that_is_away_for_a_minute_is_spoken_of_twice(
    caplog: pytest.LogCaptureFixture,
) -> None:
    uptime = Uptime()
    outage = Outage("the server", uptime)
    outage.past()
    for _ in range(300):
        outage.note(StorageError("no connection"))
        outage.past()  # Of what it is asked, some goes well.
        uptime.now += 0.2
    assert outage.on
    assert [record.getMessage() for record in caplog.records] == [
        "no connection (it is asked again, and this is said once)"
    ]
    uptime.now += CALM
    for _ in range(3):
        outage.past()
    assert not outage.on
    [_, over] = [record.getMessage() for record in caplog.records]
    assert over == "the server does its part again; it did not for 59.8 s"
    outage.note(StorageError("no connection"))
    assert len(caplog.records) == 3


def test_another_kind_of_mishap_is_spoken_of_too(caplog: pytest.LogCaptureFixture) -> None:
    outage = Outage("the server", Uptime())
    for error in (StorageError("away"), StorageFullError("full"), StorageError("away")):
        outage.note(error)
    said = [record.getMessage().partition(" (")[0] for record in caplog.records]
    assert said == ["away", "full"]


def test_what_the_log_has_already_is_for_those_who_look_closely() -> None:
    error: BackroomError = StorageError("away")
    assert level_of(error, logging.ERROR) == logging.ERROR
    Outage("the server").note(error)
    assert level_of(error, logging.ERROR) == logging.DEBUG
    assert not StorageError("another").logged
    assert level_of(KeyError(), logging.WARNING) == logging.WARNING


# -- who listens ----------------------------------------------------------------------------------


async def test_no_error_leaves_a_listener_deaf(proxy: Proxy, postgres_url: PostgresPlace) -> None:
    here = by_way_of(proxy, postgres_url)
    await here.open()
    proxy.lose_reply("LISTEN")
    heard: list[Wake] = []
    raised: list[Wake] = []

    def hear(wake: Wake) -> None:
        if len(raised) < 3:  # What it is told first, when it has begun to listen.
            raised.append(wake)
            raise RuntimeError("a bug of who listens")
        heard.append(wake)

    unsubscribe = here.subscribe(hear)
    await eventually_async(lambda: proxy.lost, "the first LISTEN was lost")
    await eventually_async(lambda: Wake.JOBS in heard, "it listens")
    heard.clear()
    service = JobService(DatabaseJobStorage(postgres_url.url, schema=postgres_url.schema))
    service.declare("NEWS")
    await service.schedule("NEWS", {})
    await eventually_async(lambda: Wake.JOBS in heard, "it hears of a job")
    unsubscribe()
    await here.close()
    await service.stop()
