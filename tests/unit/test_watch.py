"""Who lives, judged from looks of which each says when it was asked and answered."""

from __future__ import annotations

import pytest

from backroom.storage.postgres.watch import (
    ALONE,
    APART,
    EVERY,
    GRACE,
    JITTER,
    LEAST,
    Doomed,
    Seen,
    Verdict,
    Watch,
)

LEASE = 30.0
LATE = 0.01
"""Seconds that an answer takes."""


class Observer:
    """Looks at one worker, at moments of its own uptime."""

    def __init__(self) -> None:
        self._watch = Watch(told=False, chance=lambda: 0.5)

    def look(
        self, at: float, beat: int = 0, gone: bool | None = False, late: float = LATE
    ) -> Verdict:
        return self._watch.look([Seen(1, LEASE, beat, None, gone)], at, at + late)

    def looks_silent(self, first: float, last: float) -> list[float]:
        """The moments of a look a second at which a worker without a beat was to be dead."""
        moments = [first + n for n in range(int(last - first) + 1)]
        return [at for at in moments if self.look(at).dead]


# -- beats -----------------------------------------------------------------------------------


def test_who_shows_no_beat_for_a_lease_of_our_own_time_is_dead() -> None:
    observer = Observer()
    assert observer.looks_silent(100, 130) == []  # The first answer came at 100.01.
    assert observer.look(130.02).dead == [Doomed(1, 0, True)]


def test_a_beat_begins_the_lease_anew() -> None:
    observer = Observer()
    assert observer.looks_silent(100, 129) == []
    observer.look(129.5, beat=1)
    for at in range(130, 160):
        assert observer.look(at, beat=1).dead == []
    assert observer.look(160, beat=1).dead


def test_a_lease_is_counted_from_the_answer_to_the_next_question() -> None:
    """The beat that we see may have been asked for right before the answer."""
    observer = Observer()
    observer.look(100, late=10)
    assert observer.look(120).dead == []
    assert observer.look(131, late=30).dead == []
    observer = Observer()
    observer.look(100)
    observer.look(115, late=14)
    # Asked before the lease is over, answered after it: it may have beaten in between.
    assert observer.look(130, late=1).dead == []


def test_a_beat_counts_from_the_answer_in_which_it_is_seen() -> None:
    observer = Observer()
    observer.look(100, late=0)
    observer.look(110, beat=1, late=5)
    observer.look(125, beat=1, late=0)
    assert observer.look(140, beat=1, late=0).dead == []
    assert observer.look(145, beat=1, late=0).dead


def test_who_did_not_look_for_a_while_begins_anew() -> None:
    observer = Observer()
    assert observer.looks_silent(100, 110) == []
    assert observer.look(3600).dead == []  # The machine was asleep.
    assert observer.looks_silent(3601, 3630) == []
    assert observer.look(3630.02).dead


def test_looks_that_are_just_near_enough_count() -> None:
    observer = Observer()
    observer.look(100, late=0)
    observer.look(100 + LEASE * APART, late=0)
    assert observer.look(100 + LEASE, late=0).dead


def test_a_look_that_was_under_way_while_we_slept_counts_from_its_answer() -> None:
    observer = Observer()
    observer.look(100, late=3600)
    assert observer.look(3701, late=0).dead == []
    assert observer.looks_silent(3702, 3729) == []


# -- sessions --------------------------------------------------------------------------------


def test_who_has_no_session_for_the_grace_is_dead() -> None:
    observer = Observer()
    first = observer.look(100, gone=True)
    assert (first.dead, first.doubted) == ([], True)
    assert first.again <= GRACE
    early = observer.look(100.4, gone=True)
    assert (early.dead, early.doubted) == ([], True)
    assert 0 < early.again < 0.11
    late = observer.look(100.01 + GRACE, gone=True)
    assert (late.dead, late.doubted) == ([Doomed(1, 0, False)], False)


def test_who_has_a_session_again_was_never_gone() -> None:
    observer = Observer()
    observer.look(100, gone=True)
    assert not observer.look(100.3).doubted
    assert observer.look(100.6, gone=True).dead == []


def test_sessions_of_an_earlier_life_of_the_server_tell_nothing() -> None:
    observer = Observer()
    observer.look(100, gone=True)
    silent = observer.look(100.6, gone=None)
    assert (silent.dead, silent.doubted) == ([], False)


def test_a_doubt_of_before_a_sleep_is_forgotten() -> None:
    observer = Observer()
    observer.look(100, gone=True)
    after = observer.look(3600, gone=True)
    assert (after.dead, after.doubted) == ([], True)


# -- how often -------------------------------------------------------------------------------


def _pace(count: int, gone: bool | None, chance: float = 0.5, lease: float = LEASE) -> float:
    workers = [Seen(number, lease, 0, None, gone) for number in range(count)]
    return Watch(told=False, chance=lambda: chance).look(workers, 1, 1).again


def test_all_workers_together_look_as_often_as_one() -> None:
    for count in (2, 10, 40):
        assert _pace(count, False) == EVERY * count


def test_however_many_there_are_each_looks_as_often_as_it_beats() -> None:
    assert _pace(1000, False) == LEASE / LEAST
    assert _pace(40, False, lease=1) == 1 / LEAST


def test_where_sessions_tell_nothing_a_second_is_soon_enough() -> None:
    assert _pace(0, None) == _pace(1, None) == _pace(7, None) == ALONE


def test_they_do_not_all_look_at_once() -> None:
    assert _pace(1, None, 0) == pytest.approx(ALONE * (1 - JITTER))
    assert _pace(1, None, 1) == pytest.approx(ALONE * (1 + JITTER))


def test_a_clock_that_a_test_tells_ends_a_lease_at_once() -> None:
    watch = Watch(told=True)
    assert watch.look([Seen(1, LEASE, 0, 130.0, None)], 129.9, 129.9).dead == []
    assert watch.look([Seen(1, LEASE, 0, 130.0, None)], 130.0, 130.0).dead
