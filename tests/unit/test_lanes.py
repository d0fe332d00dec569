"""The in-memory queue: how much is held, and what is next."""

from __future__ import annotations

from collections.abc import Sequence

import pytest

from backroom.job import SECOND
from backroom.lanes import EVERY, FALLEN, MOST_AHEAD, Lanes
from backroom.transition import Claim

NOW = 1000 * SECOND


class Bench:
    """Lanes with a clock that the test moves."""

    def __init__(self, slots: int = 4, starvation_after: float = 60) -> None:
        self.now = 100.0
        self.lanes = Lanes("all", None, (), slots, starvation_after, lambda: self.now)
        self._key = 0

    def claims(self, many: int, *, priority: int = 2, run_at: int = NOW) -> list[Claim]:
        made = []
        for _ in range(many):
            self._key += 1
            queue = "q" if priority else "urgent"
            made.append(
                Claim(
                    key=self._key, token=1, id=f"id-{self._key}", type="T", queue=queue,
                    priority=priority, run_at=run_at, created_at=run_at, data="{}",
                    options=None, expires_at=None,
                )
            )  # fmt: skip
        return made

    def run(self, many: int, seconds: float) -> None:
        """Lets so many jobs begin and end, evenly over so many seconds."""
        for _ in range(many):
            self.lanes.accept(self.claims(1), 1)
            self.lanes.take()
            self.now += seconds / many
            self.lanes.ended()
            self.lanes.pace()

    def next(self, many: int) -> list[Claim]:
        """Clears, begins and ends so many jobs one after the other."""
        taken = []
        for _ in range(many):
            self.lanes.cleared(self.lanes.clear(NOW))
            taken.append(self.lanes.take())
            self.lanes.ended()
        return taken


def keys(claims: Sequence[Claim]) -> list[int]:
    return [claim.key for claim in claims]


def test_a_worker_of_slow_jobs_wants_as_many_as_it_has_slots() -> None:
    bench = Bench(slots=4)
    want = bench.lanes.want(NOW)
    assert want is not None
    assert (want.rooms, want.starts) == ((4, 4, 4, 4), 4)
    bench.lanes.accept(bench.claims(4), 4)
    assert bench.lanes.want(NOW) is None
    for _ in range(4):
        bench.lanes.take()
    assert bench.lanes.want(NOW) is None
    bench.lanes.ended()
    want = bench.lanes.want(NOW)
    assert want is not None
    assert want.rooms == (1, 1, 1, 1)


def test_a_worker_of_quick_jobs_claims_ahead_but_not_without_bound() -> None:
    bench = Bench(slots=4)
    bench.run(20_000, seconds=1)
    want = bench.lanes.want(NOW)
    assert want is not None
    assert 100 < want.rooms[3] <= MOST_AHEAD + 4
    bench.run(50_000, seconds=0.1)
    want = bench.lanes.want(NOW)
    assert want is not None
    assert want.rooms[3] <= MOST_AHEAD + 4


@pytest.mark.parametrize(("counting", "cleared"), [(0.001, 1 + 1), (0.01, 1 + 15), (1.0, 50 // 2)])
def test_no_more_is_cleared_than_begins_while_starts_are_counted(
    counting: float, cleared: int
) -> None:
    """Where the worker dies, each of them may have begun, for all that others know."""
    bench = Bench(slots=20)
    for _ in range(50):
        bench.lanes.counted(counting)
    bench.run(5000, seconds=5)
    bench.lanes.accept(bench.claims(500), 0)
    assert len(bench.lanes.clear(NOW)) == pytest.approx(20 + cleared, abs=1)


def test_few_are_counted_together_with_those_that_follow() -> None:
    bench = Bench(slots=20)
    for _ in range(50):
        bench.lanes.counted(1.0)
    bench.run(5000, seconds=5)
    lanes = bench.lanes
    lanes.accept(bench.claims(500), 0)
    counted = lanes.clear(NOW)
    lanes.cleared(counted[:30])  # The others are on their way.
    for _ in range(20):
        lanes.take()
    lanes.ended()
    lanes.take()
    assert lanes.clear(NOW) == [], "one more may be counted, and others have been"
    lanes.cleared(counted[30:])
    assert len(lanes.clear(NOW)) == 1, "nobody is on their way any more"


def test_a_critical_job_has_room_however_full_the_rest_is() -> None:
    bench = Bench(slots=4)
    bench.run(2000, seconds=1)
    want = bench.lanes.want(NOW)
    assert want is not None
    room = want.rooms[3]
    bench.lanes.accept(bench.claims(room, priority=3), 0)
    want = bench.lanes.want(NOW)
    assert want is not None
    assert want.rooms == (room, room, room, 0)


def test_priorities_are_strict_and_within_one_the_order_is_kept() -> None:
    bench = Bench(slots=1)
    made = {priority: bench.claims(2, priority=priority) for priority in (3, 1, 0, 2)}
    for priority in (3, 2, 1, 0):
        bench.lanes.accept(made[priority], 0)
    order = [key for priority in (0, 1, 2, 3) for key in keys(made[priority])]
    assert keys(bench.next(8)) == order[:7] + order[7:]


def test_every_eighth_is_the_oldest_that_starves() -> None:
    bench = Bench(slots=1, starvation_after=60)
    old = bench.claims(3, priority=3, run_at=NOW - 60 * SECOND)
    young = bench.claims(40, priority=0, run_at=NOW - 59 * SECOND)
    bench.lanes.accept([*old, *young], 0)
    order = bench.next(3 * EVERY)
    assert [n for n, claim in enumerate(order, 1) if claim.priority == 3] == [8, 16, 24]


def test_nothing_that_has_not_waited_long_overtakes() -> None:
    bench = Bench(slots=1, starvation_after=60)
    bench.lanes.accept(bench.claims(3, priority=3, run_at=NOW - 59 * SECOND), 0)
    bench.lanes.accept(bench.claims(40, priority=0), 0)
    assert {claim.priority for claim in bench.next(40)} == {0}


@pytest.mark.parametrize("slots", [1, 2, 5, 8, 100])
def test_every_eighth_place_of_a_claim_is_for_the_oldest(slots: int) -> None:
    bench = Bench(slots=slots)
    places = total = 0
    while total < 800:
        want = bench.lanes.want(NOW)
        assert want is not None
        places += want.starving
        total += want.rooms[3]
        bench.lanes.accept(bench.claims(want.rooms[3]), want.rooms[3])
        for _ in range(want.rooms[3]):
            bench.lanes.take()
            bench.lanes.ended()
    assert places == total // EVERY


def test_no_more_begin_than_there_are_slots() -> None:
    bench = Bench(slots=2)
    bench.lanes.accept(bench.claims(5), 5)
    bench.lanes.take()
    assert bench.lanes.ready()
    bench.lanes.take()
    assert not bench.lanes.ready()
    bench.lanes.ended()
    assert bench.lanes.ready()


def test_an_insert_passes_straight_only_where_nothing_waits() -> None:
    bench = Bench(slots=2)
    lanes = bench.lanes
    assert lanes.expect() is True
    assert lanes.expect() is True
    assert lanes.expect() is None  # both slots are spoken for
    lanes.arrived(None, True)
    assert lanes.expect() is True
    [claim] = bench.claims(1)
    lanes.arrived(claim, True)
    assert lanes.coming == 1
    assert lanes.take() is claim


def test_no_insert_passes_into_closed_lanes() -> None:
    bench = Bench(slots=2)
    bench.lanes.closed += 1
    assert bench.lanes.expect() is None
    bench.lanes.closed -= 1
    assert bench.lanes.expect() is True


def test_everything_held_is_named_until_it_begins() -> None:
    bench = Bench(slots=4)
    ready, waiting = bench.claims(1), bench.claims(2)
    bench.lanes.accept([*ready, *waiting], 1)
    clearing = bench.lanes.clear(NOW)
    assert sorted(claim.key for claim in bench.lanes.claims()) == [1, 2, 3]
    assert bench.lanes.held == 3
    bench.lanes.returned(clearing[:1])
    bench.lanes.cleared(clearing[1:])
    assert sorted(claim.key for claim in bench.lanes.claims()) == [1, 3]
    bench.lanes.take()
    assert [claim.key for claim in bench.lanes.claims()] == [3]


def test_what_has_not_begun_can_be_taken_out() -> None:
    bench = Bench(slots=1)
    bench.lanes.accept([*bench.claims(2), *bench.claims(2, priority=0)], 1)
    assert keys(bench.lanes.empty(lambda claim: claim.queue == "urgent")) == [3, 4]
    assert keys(bench.lanes.empty()) == [1, 2]
    assert bench.lanes.empty() == []
    assert bench.lanes.held == 0


def test_what_was_claimed_for_a_pace_that_has_fallen_goes_back() -> None:
    bench = Bench(slots=2)
    bench.lanes.counted(0.2)  # All that is claimed ahead may be cleared.
    bench.run(10_000, seconds=1)
    want = bench.lanes.want(NOW)
    assert want is not None
    many = want.rooms[3]
    assert many > 50
    bench.lanes.accept([*bench.claims(many // 2), *bench.claims(many // 2, priority=3)], many // 2)
    bench.lanes.take(), bench.lanes.take()
    assert bench.lanes.trim() == []  # at this pace all of it is wanted
    bench.now += 1
    bench.lanes.pace()
    assert bench.lanes.trim() == []  # this may be a pause
    bench.now += FALLEN
    back = bench.lanes.trim()
    assert len(back) == many // 2 * 2 - 2 - 2 * 2
    assert {claim.priority for claim in back[: many // 2]} == {3}  # the least urgent first
    assert bench.lanes.held == 4
    # What had been cleared waits again, so that a more urgent one overtakes it.
    [urgent] = bench.claims(1, priority=0)
    bench.lanes.accept([urgent], 0)
    bench.lanes.ended()
    assert keys(bench.lanes.clear(NOW)) == [urgent.key]
