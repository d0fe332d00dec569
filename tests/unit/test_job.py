"""Ids, moments and durations."""

from __future__ import annotations

import math
import os
import uuid
from datetime import UTC, datetime, timedelta, timezone, tzinfo
from typing import Any

import pytest

from backroom import Cancel, JobId, JobPage, JobStatus, OptionError, Snooze
from backroom.identity import JobIds
from backroom.job import LONGEST, State, duration, microseconds, moment, status_of, to_datetime

NOW = microseconds(datetime(2026, 3, 1, 12, tzinfo=UTC))


def test_an_id_is_a_uuid_of_version_7_of_its_moment() -> None:
    make = JobIds()
    for now in (0, 1, NOW, NOW + 999_999, (1 << 48) * 1000 - 1):
        read = uuid.UUID(make(now))
        assert (read.version, read.variant) == (7, uuid.RFC_4122)
        assert read.int >> 80 == now // 1000  # milliseconds
        assert (read.int >> 64 & 0xFFF) >> 2 == now % 1000  # and the rest in microseconds


def test_ids_of_one_process_sort_by_their_moment() -> None:
    make = JobIds()
    moments = [NOW + n for n in range(3000)]
    ids = [make(now) for now in moments]
    assert sorted(ids) == ids


def test_ids_of_one_moment_differ_and_sort_in_the_order_in_which_they_were_made() -> None:
    make = JobIds()
    ids = [make(NOW) for _ in range(10_000)]
    assert len(set(ids)) == 10_000
    assert sorted(ids) == ids


def test_ids_sort_in_the_order_in_which_they_were_made_though_the_clock_steps_back() -> None:
    make = JobIds()
    ids = [make(NOW - 1000 * n) for n in range(100)]
    assert sorted(ids) == ids


def test_ids_of_two_sources_differ() -> None:
    one, other = JobIds(), JobIds()
    assert not {one(NOW) for _ in range(1000)} & {other(NOW) for _ in range(1000)}


def test_a_forked_child_makes_other_ids_than_its_parent() -> None:
    make = JobIds()
    make(NOW)  # There are random bytes left, which a child would inherit.
    read, write = os.pipe()
    child = os.fork()
    if child == 0:
        os.write(write, "\n".join(make(NOW) for _ in range(50)).encode())
        os._exit(0)
    os.waitpid(child, 0)
    os.close(write)
    theirs = set(os.read(read, 65_536).decode().split())
    os.close(read)
    assert len(theirs) == 50
    assert not theirs & {make(NOW) for _ in range(1000)}


def test_an_id_remembers_its_type_and_is_a_text() -> None:
    job_id: JobId[int] = JobId("019c")
    assert job_id == "019c"
    by_id: dict[str, int] = {job_id: 1}
    assert by_id["019c"] == 1
    assert f"{job_id:>6}" == "  019c"
    assert type(JobId[int]("a")) is JobId


@pytest.mark.parametrize(
    ("value", "seconds"),
    [(0, 0), (1, 1), (0.25, 0.25), (timedelta(minutes=2), 120), (LONGEST, LONGEST)],
)
def test_a_duration_is_seconds_or_a_timedelta(value: Any, seconds: float) -> None:
    assert duration("delay", value) == seconds
    assert type(duration("delay", value)) is float


@pytest.mark.parametrize(
    "value",
    [
        -1, -0.001, timedelta(seconds=-1), math.nan, math.inf, -math.inf, LONGEST * 1.01,
        10**400, timedelta.max, True, False, None, "60", "1h", [60], 1 + 2j, datetime.now(UTC),
    ],
)  # fmt: skip
def test_what_is_no_duration_is_refused(value: Any) -> None:
    with pytest.raises(OptionError, match="delay must be"):
        duration("delay", value)


def test_a_duration_of_zero_is_refused_where_it_makes_no_sense() -> None:
    assert duration("delay", 0) == 0
    with pytest.raises(OptionError, match="timeout must be more than 0 to 3162240000 seconds"):
        duration("timeout", 0, zero=False)


class Nowhere(tzinfo):
    def utcoffset(self, when: datetime | None) -> timedelta | None:
        return None

    def dst(self, when: datetime | None) -> timedelta | None:
        return None

    def tzname(self, when: datetime | None) -> str | None:
        return None


@pytest.mark.parametrize(
    "naive", [datetime(2026, 3, 1, 12), datetime(2026, 3, 1, tzinfo=Nowhere())]
)
def test_a_naive_moment_is_refused_with_what_to_do(naive: datetime) -> None:
    with pytest.raises(OptionError, match=r"naive 2026-03-01T.*datetime\.now\(timezone\.utc\)"):
        moment("run_at", naive)


@pytest.mark.parametrize(
    "value", [None, 7, 1.5, "2026-03-01", timedelta(1), datetime.now(UTC).date()]
)
def test_what_is_no_moment_is_refused(value: Any) -> None:
    with pytest.raises(OptionError, match="run_at must be an aware datetime, got"):
        moment("run_at", value)


@pytest.mark.parametrize(
    "value",
    [
        datetime(1970, 1, 1, tzinfo=UTC),
        datetime(1969, 12, 31, 23, 59, 59, 999_999, tzinfo=UTC),
        datetime(1, 1, 1, tzinfo=UTC),
        datetime.max.replace(tzinfo=UTC),
        datetime(2026, 3, 29, 2, 30, 0, 123_457, tzinfo=timezone(timedelta(hours=5, minutes=45))),
    ],
)
def test_a_moment_comes_back_to_the_microsecond(value: datetime) -> None:
    assert to_datetime(microseconds(value)) == value
    assert to_datetime(moment("run_at", value)).tzinfo is UTC


def test_a_moment_beyond_what_a_datetime_can_say_is_the_first_or_the_last_one() -> None:
    earliest = datetime.min.replace(tzinfo=timezone(timedelta(hours=14)))
    assert to_datetime(moment("run_at", earliest)) == datetime.min.replace(tzinfo=UTC)
    assert to_datetime(-(10**40)) == datetime.min.replace(tzinfo=UTC)
    assert to_datetime(10**18) == datetime.max.replace(tzinfo=UTC)
    assert to_datetime(10**40) == datetime.max.replace(tzinfo=UTC)


@pytest.mark.parametrize(
    ("state", "run_at", "status"),
    [
        (State.WAITING, NOW + 1, JobStatus.SCHEDULED),
        (State.WAITING, NOW, JobStatus.PENDING),
        (State.ACTIVE, NOW + 1, JobStatus.ACTIVE),
        (State.COMPLETED, 0, JobStatus.COMPLETED),
        (State.FAILED, 0, JobStatus.FAILED),
        (State.CANCELLED, 0, JobStatus.CANCELLED),
        (State.BLOCKED, 0, JobStatus.BLOCKED),
        (State.PARKED, NOW + 1, JobStatus.PENDING),
    ],
)
def test_every_state_has_a_status(state: State, run_at: int, status: JobStatus) -> None:
    assert status_of(state, run_at, NOW) is status
    assert status_of(int(state), run_at, NOW) is status


def test_terminal_are_the_last_three() -> None:
    assert [status for status in JobStatus if status.terminal] == [
        "completed", "failed", "cancelled",
    ]  # fmt: skip


def test_what_handlers_return_checks_itself() -> None:
    assert Snooze(timedelta(minutes=1)).delay == 60
    assert repr(Snooze(5)) == "Snooze(5)"
    assert repr(Cancel("gone")) == "Cancel('gone')"
    with pytest.raises(OptionError, match="delay must be"):
        Snooze(-1)


def test_a_page_is_iterable_and_has_a_cursor() -> None:
    page = JobPage([], "7")
    assert list(page) == []
    assert page.cursor == "7"
