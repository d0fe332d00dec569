"""Jobs that wait for company in the lanes: how many are claimed for them, and when they go."""

from __future__ import annotations

from typing import Any

from backroom.crowds import GROWTH, LATE, Crowd, Item, claims_of
from backroom.job import SECOND
from backroom.lanes import MOST_AHEAD, Lanes
from backroom.options import Bulk
from backroom.transition import Claim

NOW = 1000 * SECOND


class Bench:
    """Lanes with a clock that the test moves, and a bulk handler for jobs of type MANY."""

    def __init__(self, slots: int = 4, batch: int = 10, within: float = 5.0, **more: Any) -> None:
        self.now = 100.0
        bulk = {"MANY": Bulk(batch, within)}
        self.lanes = Lanes("all", None, (), slots, 60, lambda: self.now, bulk, **more)
        self._key = 0

    def claims(self, many: int, type_: str = "MANY", priority: int = 2) -> list[Claim]:
        made = []
        for _ in range(many):
            self._key += 1
            made.append(
                Claim(
                    key=self._key, token=1, id=f"id-{self._key}", type=type_, queue="q",
                    priority=priority, run_at=NOW, created_at=NOW, data="{}", options=None,
                    expires_at=None,
                )
            )  # fmt: skip
        return made

    def come(
        self, many: int, type_: str = "MANY", priority: int = 2, *, more: bool = False
    ) -> None:
        self.lanes.accept(self.claims(many, type_, priority), 0, more=more)

    def begin(self) -> list[int]:
        """How many jobs each slot begins with, of those that are free."""
        self.lanes.cleared(self.lanes.clear(NOW))
        began = []
        while self.lanes.ready():
            began.append(size(self.lanes.take()))
        return began

    def rooms(self) -> tuple[int, int, int, int] | None:
        want = self.lanes.want(NOW)
        return None if want is None else want.rooms


def size(item: Item) -> int:
    return len(claims_of([item]))


# -- when they go ----------------------------------------------------------------------------------


def test_a_full_crowd_goes_at_once_and_takes_one_slot() -> None:
    bench = Bench(slots=2, batch=10)
    bench.come(9)
    assert bench.begin() == []
    assert bench.lanes.held == 1
    bench.come(1)
    assert bench.begin() == [10]
    assert (bench.lanes.busy, bench.lanes.held) == (1, 0)


def test_no_crowd_is_larger_than_its_batch() -> None:
    bench = Bench(slots=4, batch=10)
    bench.come(34)
    assert bench.begin() == [10, 10, 10]
    bench.now += 5
    assert bench.begin() == [4]


def test_who_has_waited_long_enough_goes_with_who_is_there() -> None:
    bench = Bench(within=5.0)
    bench.come(1)
    bench.now += 4
    bench.come(2)
    assert bench.lanes.until_crowded() == 1.0
    assert bench.begin() == []
    bench.now += 1
    assert bench.lanes.until_crowded() == 0.0
    assert bench.begin() == [3]
    assert bench.lanes.until_crowded() is None


def test_a_crowd_that_waits_for_a_slot_takes_in_who_comes() -> None:
    bench = Bench(slots=1, batch=10)
    bench.come(1, "OTHER")
    assert bench.begin() == [1]
    bench.come(3)
    bench.now += 5
    assert bench.begin() == []
    bench.come(4)
    assert bench.begin() == []
    bench.lanes.ended()
    assert bench.begin() == [7]


def test_a_crowd_that_was_chosen_takes_in_nobody() -> None:
    bench = Bench(slots=1, batch=10)
    bench.come(3)
    bench.now += 5
    [crowd] = bench.lanes.clear(NOW)
    bench.come(2)
    bench.lanes.cleared([crowd])
    assert size(bench.lanes.take()) == 3


def test_while_it_grows_a_crowd_waits_for_claims_that_are_on_their_way_but_not_for_ever() -> None:
    bench = Bench(within=0.0)
    bench.come(2, more=True)
    assert bench.begin() == []
    bench.come(2, more=False)
    assert bench.begin() == [4]
    bench.come(2, more=True)
    bench.now += LATE
    assert bench.begin() == [2]


def test_who_is_not_patient_waits_for_no_time() -> None:
    bench = Bench(within=5.0, patient=False)
    bench.come(2, more=True)
    assert bench.begin() == []
    bench.come(1)
    assert bench.begin() == [3]


# -- their place among others ----------------------------------------------------------------------


def test_a_crowd_stands_where_its_most_urgent_job_would() -> None:
    bench = Bench(slots=1, batch=3)
    bench.come(2, "OTHER", priority=1)
    bench.come(2, priority=2)
    bench.come(1, priority=0)
    assert bench.begin() == [3]
    bench.lanes.ended()
    assert bench.begin() == [1]


def test_an_urgent_job_moves_the_crowd_that_waits_for_a_slot() -> None:
    bench = Bench(slots=1, batch=3)
    bench.come(1, "OTHER", priority=1)
    bench.come(1, priority=3)
    bench.now += 5
    assert bench.begin() == [1]  # It was the crowd's time, but not its turn.
    bench.come(1, "OTHER", priority=1)
    bench.come(1, priority=0)
    bench.lanes.ended()
    assert bench.begin() == [2]


def test_a_crowd_that_gathers_keeps_no_slot_from_others() -> None:
    bench = Bench(slots=1)
    bench.come(1)
    assert bench.rooms() == (1, 1, 1, 1)
    bench.come(1, "OTHER")
    assert bench.begin() == [1]


# -- how many are claimed --------------------------------------------------------------------------


def test_nothing_counts_as_started_by_its_claim_where_some_wait_for_company() -> None:
    bench = Bench(slots=4)
    want = bench.lanes.want(NOW)
    assert want is not None
    assert (want.rooms, want.starts) == ((4, 4, 4, 4), 0)


def test_claims_have_room_for_a_crowd_while_they_bring_more_for_it() -> None:
    bench = Bench(slots=1, batch=100)
    bench.come(1, more=True)
    assert bench.rooms() == (1 + GROWTH,) * 4
    bench.come(1 + GROWTH, more=True)
    assert bench.rooms() == (1 + GROWTH * 6,) * 4
    bench.come(50, more=True)
    assert bench.rooms() == (1 + 44,) * 4
    bench.come(3)
    assert bench.rooms() == (1,) * 4


def test_jobs_of_other_types_are_not_fetched_for_a_crowd_beyond_one_claim() -> None:
    bench = Bench(slots=1, batch=100)
    bench.come(1, more=True)
    bench.come(1 + GROWTH, "OTHER", more=True)
    assert bench.rooms() == (1, 1, 0, 0)


def test_a_worker_with_no_free_slot_claims_nothing_for_company() -> None:
    bench = Bench(slots=1, batch=10)
    bench.come(10, more=True)
    assert bench.begin() == [10]
    assert bench.rooms() is None


def test_quick_calls_are_claimed_ahead_by_what_each_of_them_runs() -> None:
    bench = Bench(slots=2, batch=50)
    for _ in range(200):
        bench.come(50)
        assert bench.begin() == [50]
        bench.now += 0.005
        bench.lanes.ended(50)
    rooms = bench.rooms()
    assert rooms is not None
    assert 200 < rooms[3] <= MOST_AHEAD + 12
    for _ in range(200):  # Single jobs now.
        bench.come(1, "OTHER")
        assert bench.begin() == [1]
        bench.now += 0.005
        bench.lanes.ended()
    rooms = bench.rooms()
    assert rooms is not None
    assert rooms[3] <= 12


# -- who goes back ---------------------------------------------------------------------------------


def test_all_that_wait_for_company_go_back_when_a_worker_leaves() -> None:
    bench = Bench(slots=1, batch=4)
    bench.come(6)
    bench.come(1, "OTHER")
    [_] = bench.lanes.clear(NOW)
    assert len(bench.lanes.claims()) == 7
    back = bench.lanes.empty()
    assert sorted(claim.key for claim in back) == [5, 6, 7]  # The rest is being counted.
    assert len(bench.lanes.claims()) == 4
    bench.now += 5
    assert bench.lanes.until_crowded() is None


def test_single_jobs_are_taken_out_of_crowds_wherever_these_are() -> None:
    bench = Bench(slots=1, batch=4)
    bench.come(4)  # To be counted,
    clearing = bench.lanes.clear(NOW)
    bench.come(4)  # full,
    bench.come(2)  # and waiting.
    assert [c.key for c in bench.lanes.empty(lambda claim: claim.key in (5, 10))] == [5, 10]
    bench.lanes.returned([claim for claim in clearing[0].claims if claim.key == 2])  # type: ignore[union-attr]
    bench.lanes.cleared(clearing)
    taken = bench.lanes.take()
    assert [claim.key for claim in claims_of([taken])] == [1, 3, 4]
    bench.lanes.ended(3)
    assert bench.begin() == [3]


def test_a_crowd_of_which_nobody_is_left_is_gone() -> None:
    bench = Bench(slots=2, batch=2)
    bench.come(2)
    clearing = bench.lanes.clear(NOW)
    bench.lanes.returned(claims_of(clearing))
    bench.lanes.cleared(clearing)
    assert not bench.lanes.ready()
    bench.come(1)
    assert [claim.key for claim in bench.lanes.empty()] == [3]
    assert (bench.lanes.held, bench.lanes.claims()) == (0, [])
    bench.come(2)
    assert bench.begin() == [2]


def test_what_was_claimed_for_a_pace_that_has_fallen_goes_back_whole() -> None:
    bench = Bench(slots=1, batch=4)
    bench.come(12)
    bench.come(1)
    bench.lanes.trim()
    bench.now += 1
    back = bench.lanes.trim()
    assert [claim.key for claim in back] == [9, 10, 11, 12]
    assert type(bench.lanes.clear(NOW)[0]) is Crowd
