"""When an expression ticks: what its fields say, and what becomes of times that a clock skips or
shows twice."""

from __future__ import annotations

from datetime import UTC, datetime
from itertools import pairwise
from zoneinfo import ZoneInfo

import pytest

from backroom.cron import Cron
from tests.cron.oracle import HOUR, MINUTE, Walk, ticks_of

SECOND = 1_000_000


def at(text: str, tz: str = "UTC") -> int:
    """A moment, of a text such as "2025-03-30 02:00"."""
    return round(datetime.fromisoformat(text).replace(tzinfo=ZoneInfo(tz)).timestamp() * SECOND)


def ticks(text: str, after: str, count: int, tz: str = "UTC") -> list[str]:
    """The next ones, as the clock of the zone shows them."""
    found, moment = [], at(after, tz)
    for _ in range(count):
        tick = Cron(text, tz).next(moment)
        assert tick is not None
        assert tick > moment
        local = datetime.fromtimestamp(tick // SECOND, ZoneInfo(tz))
        found.append(f"{local:%Y-%m-%d %H:%M}" + (f"{local:%z}" if tz != "UTC" else ""))
        moment = tick
    return found


@pytest.mark.parametrize(
    ("text", "wanted"),
    [
        ("* * * * *", ["2025-01-15 10:31", "2025-01-15 10:32"]),
        ("*/20 * * * *", ["2025-01-15 10:40", "2025-01-15 11:00", "2025-01-15 11:20"]),
        ("10/25 * * * *", ["2025-01-15 10:35", "2025-01-15 11:10", "2025-01-15 11:35"]),
        ("30 10 * * *", ["2025-01-16 10:30", "2025-01-17 10:30"]),
        ("0 9-17/4 * * *", ["2025-01-15 13:00", "2025-01-15 17:00", "2025-01-16 09:00"]),
        ("0 9 * * MON-FRI", ["2025-01-16 09:00", "2025-01-17 09:00", "2025-01-20 09:00"]),
        ("0 9 * * sat-sun", ["2025-01-18 09:00", "2025-01-19 09:00", "2025-01-25 09:00"]),
        ("0 9 * * 7", ["2025-01-19 09:00", "2025-01-26 09:00"]),
        ("0 9 * * 0", ["2025-01-19 09:00", "2025-01-26 09:00"]),
        ("0 9 * * 5-7", ["2025-01-17 09:00", "2025-01-18 09:00", "2025-01-19 09:00"]),
        ("0 9 * * 7-1", ["2025-01-19 09:00", "2025-01-20 09:00", "2025-01-26 09:00"]),
        ("0 0 1 jan,Mar *", ["2025-03-01 00:00", "2026-01-01 00:00"]),
        ("0 0 29 2 *", ["2028-02-29 00:00", "2032-02-29 00:00"]),
        ("0 0 31 * *", ["2025-01-31 00:00", "2025-03-31 00:00", "2025-05-31 00:00"]),
        ("0 0 L * *", ["2025-01-31 00:00", "2025-02-28 00:00", "2025-03-31 00:00"]),
        ("0 0 L 2 ?", ["2025-02-28 00:00", "2026-02-28 00:00", "2027-02-28 00:00"]),
        ("0 0 15,L * *", ["2025-01-31 00:00", "2025-02-15 00:00", "2025-02-28 00:00"]),
        ("0 0 30,L 2,4 *", ["2025-02-28 00:00", "2025-04-30 00:00", "2026-02-28 00:00"]),
        ("0 0 ? * FRIL", ["2025-01-31 00:00", "2025-02-28 00:00", "2025-03-28 00:00"]),
        ("0 0 * * 7L", ["2025-01-26 00:00", "2025-02-23 00:00", "2025-03-30 00:00"]),
        ("0 0 * * MON#2", ["2025-02-10 00:00", "2025-03-10 00:00", "2025-04-14 00:00"]),
        ("0 0 * * 0#1,3#3", ["2025-02-02 00:00", "2025-02-19 00:00", "2025-03-02 00:00"]),
        ("0 0 * * FRI#5", ["2025-01-31 00:00", "2025-05-30 00:00", "2025-08-29 00:00"]),
        ("0 0 * 2 MON#5", ["2044-02-29 00:00", "2072-02-29 00:00"]),
        ("@yearly", ["2026-01-01 00:00", "2027-01-01 00:00"]),
        ("@Annually", ["2026-01-01 00:00"]),
        ("@monthly", ["2025-02-01 00:00", "2025-03-01 00:00"]),
        ("@weekly", ["2025-01-19 00:00", "2025-01-26 00:00"]),
        ("@daily", ["2025-01-16 00:00", "2025-01-17 00:00"]),
        ("@midnight", ["2025-01-16 00:00"]),
        (" @hourly\t", ["2025-01-15 11:00", "2025-01-15 12:00"]),
        ("\t5  4 *\t* * \n", ["2025-01-16 04:05"]),
    ],
)
def test_the_next_ticks_of(text: str, wanted: list[str]) -> None:
    assert ticks(text, "2025-01-15 10:30", len(wanted)) == wanted


@pytest.mark.parametrize(
    ("text", "wanted"),
    [
        # Both are given: either will do.
        ("0 0 13 * FRI", ["2025-06-06", "2025-06-13", "2025-06-20"]),
        ("0 0 31 * FRI#5", ["2025-07-31", "2025-08-29", "2025-08-31"]),
        ("0 0 L * MON#1", ["2025-06-02", "2025-06-30", "2025-07-07"]),
        ("0 0 1-31 * FRI", ["2025-06-02", "2025-06-03", "2025-06-04"]),
        # One of them begins with an asterisk: it has to be both.
        ("0 0 1-7 * */7", ["2025-07-06", "2025-08-03", "2025-09-07"]),
        ("0 0 */2 * MON", ["2025-06-09", "2025-06-23", "2025-07-07"]),
        ("0 0 ? * FRI", ["2025-06-06", "2025-06-13", "2025-06-20"]),
        ("0 0 13 * ?", ["2025-06-13", "2025-07-13", "2025-08-13"]),
    ],
)
def test_days_of_the_month_and_of_the_week(text: str, wanted: list[str]) -> None:
    assert [day[:10] for day in ticks(text, "2025-06-01 12:00", 3)] == wanted


@pytest.mark.parametrize("text", ["0 0 30 2 *", "0 0 31 2,4,6,9,11 *", "0 0 */30 2 MON#5"])
def test_of_what_never_comes_there_is_no_next(text: str) -> None:
    assert Cron(text).next(at("2025-01-01")) is None


def test_the_rarest_days_of_all_are_found_across_a_century_without_a_leap_day() -> None:
    found = Cron("0 0 29 2 */7").next(at("2088-03-01"))
    assert found is not None
    assert datetime.fromtimestamp(found / SECOND, UTC) == datetime(2128, 2, 29, tzinfo=UTC)


def test_seconds_come_first() -> None:
    moment = at("2025-01-15 10:30")
    found = ticks_of(Cron("*/20 30 10 * * *"), moment // SECOND, moment // SECOND + HOUR)
    assert [tick - moment // SECOND for tick in found] == [0, 20, 40]


def test_next_is_later_to_the_microsecond() -> None:
    noon, cron = at("2025-01-15 12:00"), Cron("0 12 * * *")
    assert cron.next(noon - 1) == noon
    assert cron.next(noon - SECOND) == noon
    assert cron.next(noon) == noon + 86_400 * SECOND
    assert cron.next(noon + 1) == noon + 86_400 * SECOND


@pytest.mark.parametrize("after", [-(10**18), -62_135_596_800 * SECOND, 0, -1, -SECOND])
def test_any_moment_of_the_past_has_a_next(after: int) -> None:
    for tz in ("UTC", "Asia/Tokyo", "America/Los_Angeles"):
        for text in ("* * * * *", "0 0 * * *"):
            found = Cron(text, tz).next(after)
            assert found is not None
            assert found > after


def test_a_calendar_ends() -> None:
    assert Cron("* * * * *", "Asia/Tokyo").next(10**18) is None
    assert Cron("0 0 1 1 *", "America/Los_Angeles").next(at("9999-06-01")) is None


# --- clocks that are set forward or back ----------------------------------------------------------

PARIS = "Europe/Paris"  # 2025-03-30 from 02:00 to 03:00, 2025-10-26 from 03:00 to 02:00


@pytest.mark.parametrize(
    ("text", "wanted"),
    [
        ("30 2 * * *", ["03-30 03:00+0200", "03-31 02:30+0200"]),
        ("0 2 * * *", ["03-30 03:00+0200", "03-31 02:00+0200"]),
        ("*/30 2 * * *", ["03-30 03:00+0200", "03-31 02:00+0200", "03-31 02:30+0200"]),
        ("0 2,3 * * *", ["03-30 03:00+0200", "03-31 02:00+0200", "03-31 03:00+0200"]),
        ("0 3 * * *", ["03-30 03:00+0200", "03-31 03:00+0200"]),
        ("59 1 * * *", ["03-30 01:59+0100", "03-31 01:59+0200"]),
        ("* 2 30 3 *", ["03-30 03:00+0200"]),
        ("* 2 * * SUN", ["03-30 03:00+0200", "04-06 02:00+0200"]),
    ],
)
def test_a_time_that_is_skipped_ticks_as_soon_as_the_clock_is_set_forward_and_once(
    text: str, wanted: list[str]
) -> None:
    found = ticks(text, "2025-03-30 00:00", len(wanted), PARIS)
    assert [tick.removeprefix("2025-") for tick in found] == wanted


@pytest.mark.parametrize(
    ("text", "wanted"),
    [
        ("30 2 * * *", ["10-26 02:30+0200", "10-27 02:30+0100"]),
        ("0 2 * * *", ["10-26 02:00+0200", "10-27 02:00+0100"]),
        ("*/30 2 * * *", ["10-26 02:00+0200", "10-26 02:30+0200", "10-27 02:00+0100"]),
        ("0 3 * * *", ["10-26 03:00+0100", "10-27 03:00+0100"]),
        ("0 2,3 * * *", ["10-26 02:00+0200", "10-26 03:00+0100", "10-27 02:00+0100"]),
    ],
)
def test_a_time_that_is_shown_twice_ticks_the_first_time(text: str, wanted: list[str]) -> None:
    found = ticks(text, "2025-10-26 00:00", len(wanted), PARIS)
    assert [tick.removeprefix("2025-") for tick in found] == wanted


def test_who_asks_between_the_two_times_is_told_of_what_the_clock_has_not_shown_yet() -> None:
    again = at("2025-10-26 00:59:59.999999")  # UTC: the clock shows 02:59:59.999999, the first time
    assert Cron("*/10 2-3 * * *", PARIS).next(again) == at("2025-10-26 02:00")
    for minutes in range(60):
        moment = again + 1 + minutes * MINUTE * SECOND
        assert Cron("*/10 2-3 * * *", PARIS).next(moment) == at("2025-10-26 02:00")


@pytest.mark.parametrize(
    ("text", "hours"),
    [("30 * * * *", [0.5, 1.5, 2.5, 3.5, 4.5]), ("0 */2 * * *", [1, 2, 4]), ("0 */3 * * *", [3])],
)
def test_with_an_asterisk_for_the_hour_it_ticks_whenever_the_clock_shows_it(
    text: str, hours: list[float]
) -> None:
    # At 00:00 UTC the clock shows 02:00, at 01:00 again, at 02:00 it shows 03:00.
    midnight = at("2025-10-25 23:00") // SECOND
    cron = Cron(text, PARIS)
    found = ticks_of(cron, midnight + 1, midnight + 5 * HOUR - 1)
    assert [(tick - midnight) / HOUR for tick in found] == hours


@pytest.mark.parametrize("day", ["2025-03-30", "2025-10-26"])
def test_every_quarter_of_an_hour_is_just_that_whatever_the_clock_does(day: str) -> None:
    first = at(day) // SECOND
    for text in ("*/15 * * * *", "*/15 */1 * * *"):
        found = ticks_of(Cron(text, PARIS), first, first + 24 * HOUR)
        assert {later - earlier for earlier, later in pairwise(found)} == {15 * MINUTE}


@pytest.mark.parametrize(
    ("tz", "text", "after", "wanted"),
    [
        # Half an hour, forward and back.
        ("Australia/Lord_Howe", "15 2 * * *", "2025-10-05 00:00", "2025-10-05 02:30+1100"),
        ("Australia/Lord_Howe", "45 1 * * *", "2025-04-06 00:00", "2025-04-06 01:45+1100"),
        # A whole day that there was not.
        ("Pacific/Apia", "0 9 * * *", "2011-12-29 10:00", "2011-12-31 00:00+1400"),
        ("Pacific/Apia", "0 9 30 12 *", "2011-12-29 10:00", "2011-12-31 00:00+1400"),
        ("Pacific/Apia", "0 * * * *", "2011-12-29 23:00", "2011-12-31 00:00+1400"),
        ("Pacific/Apia", "0 * 30 12 *", "2011-12-29 23:00", "2012-12-30 00:00+1400"),
        # At midnight: there is no 00:00, or it is yesterday again.
        ("Asia/Beirut", "0 0 * * *", "2025-03-29 12:00", "2025-03-30 01:00+0300"),
        ("Asia/Beirut", "30 23 * * *", "2025-10-25 12:00", "2025-10-25 23:30+0300"),
        ("America/Santiago", "30 0 * * *", "2025-09-06 12:00", "2025-09-07 01:00-0300"),
        ("Africa/Cairo", "@daily", "2025-04-24 12:00", "2025-04-25 01:00+0300"),
        ("America/Havana", "0 0 9 3 *", "2025-03-08 12:00", "2025-03-09 01:00-0400"),
        # The standard time itself.
        ("Asia/Pyongyang", "45 23 * * *", "2018-05-04 12:00", "2018-05-05 00:00+0900"),
        ("America/Caracas", "45 2 * * *", "2016-05-01 00:00", "2016-05-01 03:00-0400"),
        ("Europe/Volgograd", "30 1 * * *", "2020-12-27 00:00", "2020-12-27 01:30+0400"),
        # Summer time is the standard time, and winter time a negative one.
        ("Europe/Dublin", "30 1 * * *", "2025-03-30 00:00", "2025-03-30 02:00+0100"),
        ("Europe/Dublin", "30 1 * * *", "2025-10-26 00:00", "2025-10-26 01:30+0100"),
        # Back for Ramadan, and forward after it.
        ("Africa/Casablanca", "30 2 * * *", "2025-02-23 00:00", "2025-02-23 02:30+0100"),
        ("Africa/Casablanca", "30 2 * * *", "2025-04-06 00:00", "2025-04-06 03:00+0100"),
    ],
)
def test_clocks_of_all_kinds(tz: str, text: str, after: str, wanted: str) -> None:
    assert ticks(text, after, 1, tz) == [wanted]


@pytest.mark.parametrize(
    ("tz", "turn"),
    [
        ("Pacific/Apia", "2011-12-30 10:00"),
        ("Pacific/Kwajalein", "1993-08-21 12:00"),
        ("America/Caracas", "2007-12-09 07:00"),
        ("Asia/Pyongyang", "2015-08-14 15:00"),
        ("Antarctica/Casey", "2010-03-04 15:00"),
        ("Antarctica/Troll", "2010-03-28 01:00"),
    ],
)
def test_what_clocks_did_in_other_years(tz: str, turn: str) -> None:
    middle = at(turn) // SECOND // MINUTE * MINUTE
    first, last = middle - 60 * HOUR, middle + 60 * HOUR
    walk = Walk(ZoneInfo(tz), first, last)
    for text in ("*/10 * * * *", "*/20 0-23 * * *", "0 9 * * *", "0 */5 * * *", "30 23,0 * * *"):
        assert ticks_of(Cron(text, tz), first, last) == walk.ticks(text, first, last), text


# --- a value --------------------------------------------------------------------------------------


def test_a_cron_is_a_value() -> None:
    assert Cron("0 9 * * *") == Cron("0 9 * * *", "UTC") == Cron("0 9 * * *", tz="UTC")
    assert len({Cron("0 9 * * *"), Cron("0 9 * * *"), Cron("0 9 * * *", PARIS)}) == 2
    assert Cron("0 9 * * *") != Cron("0  9 * * *")
    assert repr(Cron("0 9 * * *")) == "Cron(text='0 9 * * *', tz='UTC')"
    with pytest.raises(AttributeError):
        Cron("0 9 * * *").text = "* * * * *"  # type: ignore[misc]
