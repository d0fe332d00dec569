"""Whatever the expression, the zone and the moment."""

from __future__ import annotations

import os
from contextlib import suppress
from datetime import date, timedelta
from itertools import pairwise
from zoneinfo import ZoneInfo

from hypothesis import example, given, settings
from hypothesis import strategies as st

from backroom import ConfigurationError
from backroom.cron import Cron
from tests.cron import zones
from tests.cron.meaning import MONTHS, WEEKDAYS, Meaning
from tests.cron.oracle import HOUR, MINUTE, SECOND, Walk, day_of, shown

SETTINGS = settings(max_examples=150, deadline=None, derandomize="CI" in os.environ, database=None)
CLOSELY = 36 * HOUR
"""How much before a tick is looked at minute by minute; days further back as a whole."""


@st.composite
def fields(draw: st.DrawFn, low: int, high: int, names: list[str]) -> str:
    """One field: a list of values, ranges and steps."""

    def value(number: int) -> str:
        return draw(st.sampled_from([str(number), names[number]])) if names else str(number)

    terms = []
    for _ in range(draw(st.sampled_from([1, 1, 1, 2, 3]))):
        first, last = sorted((draw(st.integers(low, high)), draw(st.integers(low, high))))
        span = draw(st.sampled_from(["*", "*", value(first), f"{value(first)}-{value(last)}"]))
        step = draw(st.sampled_from(["", "", f"/{draw(st.integers(1, high - low + 1))}"]))
        terms.append(span + step)
    return ",".join(terms)


weekdays = st.one_of(
    st.just("*"),
    st.just("?"),
    fields(0, 6, WEEKDAYS),
    st.builds("{}#{}".format, st.sampled_from([*WEEKDAYS, 7]), st.integers(1, 5)),
    st.builds("{}L".format, st.sampled_from([*WEEKDAYS, 0])),
)
days = st.one_of(
    st.just("*"), st.just("?"), fields(1, 31, []), st.sampled_from(["L", "1,L", "L,15"])
)
months = st.one_of(st.just("*"), fields(1, 12, MONTHS))
minutes, hours = fields(0, 59, []), fields(0, 23, [])
texts = st.builds(" ".join, st.tuples(minutes, hours, days, months, weekdays))
moments = st.integers(zones.FIRST * SECOND, zones.LAST * SECOND)
near_turns = st.builds(
    lambda day, off: (zones.FIRST + day * 24 * HOUR) * SECOND + off,
    st.sampled_from([88, 298, 452, 1183, 2277]),
    st.integers(-10 * HOUR * SECOND, 34 * HOUR * SECOND),
)


@SETTINGS
@given(texts, st.sampled_from(zones.names()), moments | near_turns)
@example("0 0 29 2 *", "UTC", zones.FIRST * SECOND)
@example("*/30 2 * * *", "Europe/Paris", 1_743_292_800 * SECOND)
@example("30 2 * * *", "Europe/Paris", 1_761_438_600 * SECOND - 1)
def test_ticks_are_all_that_match_and_nothing_else(text: str, tz: str, after: int) -> None:
    cron, zone, meaning = Cron(text, tz), ZoneInfo(tz), Meaning(text)
    ticks: list[int] = []
    tick = cron.next(after)
    while tick is not None and len(ticks) < 4:
        ticks.append(tick)
        assert cron.next(tick - 1) == tick
        assert cron.next((tick + max(after, tick - SECOND)) // 2) == tick
        tick = cron.next(tick)
    if not ticks:
        later = after + 4 * 365 * 24 * HOUR * SECOND
        assert not any(map(meaning.on, _days_between(zone, after, later)))
    for earlier, later in pairwise([after, *ticks]):
        assert earlier < later
        moment = later // SECOND
        first = max(moment - CLOSELY, earlier // SECOND)
        first -= first % MINUTE
        found = Walk(zone, first - 3 * HOUR, moment).ticks(text, first, moment)
        assert [at for at in found if at * SECOND > earlier] == [moment]
        assert not any(map(meaning.on, _days_between(zone, earlier, first * SECOND)))


def _days_between(zone: ZoneInfo, first: int, last: int) -> list[date]:
    """Days that have begun after the first moment, and ended before the last."""
    day, end = day_of(shown(zone, first // SECOND)), day_of(shown(zone, last // SECOND))
    return [day + timedelta(days=more) for more in range(2, (end - day).days - 1)]


@settings(SETTINGS, max_examples=25)
@given(st.tuples(minutes, texts), st.sampled_from(zones.names()), near_turns)
def test_seconds_too(parts: tuple[str, str], tz: str, after: int) -> None:
    text = " ".join(parts)
    cron, zone = Cron(text, tz), ZoneInfo(tz)
    tick = cron.next(after)
    first = after // SECOND + 1
    last = first + 10 * MINUTE
    found = Walk(zone, first - 3 * HOUR, last, 1).ticks(text, first, last)
    assert found[:1] == ([tick // SECOND] if tick is not None and tick <= last * SECOND else [])


@SETTINGS
@given(texts)
def test_what_is_said_in_words_is_said_of_every_expression(text: str) -> None:
    words = Cron(text).explain()
    assert words.endswith(" (UTC)")
    assert "  " not in words
    assert ", ," not in words


@SETTINGS
@given(st.text(alphabet="*/-,#L?@ 0123456789MONFRIJAdaily\n", max_size=20))
def test_any_other_text_is_refused_or_has_a_meaning(text: str) -> None:
    with suppress(ConfigurationError):
        cron = Cron(text)
        assert (cron.next(0) or 1) > 0
        assert cron.explain()
