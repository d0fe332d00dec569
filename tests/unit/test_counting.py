"""What is counted in memory: exact sums, and a bounded size whatever comes."""

from hypothesis import given
from hypothesis import strategies as st

from backroom.counting import MOST_KINDS, MOST_SERIES, Counts
from backroom.figure import OTHER, Figures, bin_of
from backroom.job import SECOND, JobRecord
from backroom.ports import Rescued
from backroom.transition import Claim, Failure, Transition

NOW = 1_750_000_000 * SECOND


def claim(type_: str = "SEND", queue: str = "mail", run_at: int = NOW, made: int = 0) -> Claim:
    return Claim(1, 1, "id", type_, queue, 2, run_at, made, "{}", None, None)


def failure(kind: str, at: int = NOW) -> Failure:
    return Failure(1, at, kind, "no", None)


def counted(*outcomes: tuple[Claim, Transition]) -> list[Figures]:
    counts = Counts()
    counts.ended(outcomes)
    return counts.take(0)


@given(st.lists(st.tuples(st.integers(-5, 2**50), st.integers(-5, 2**50))))
def test_every_duration_is_in_its_bin_and_in_the_sum(durations: list[tuple[int, int]]) -> None:
    counts = Counts()
    for wait, run in durations:
        end = Transition.completed(claim(), NOW + wait, NOW + wait + run, "1")
        counts.ended([(claim(), end)])
    waits = [max(0, wait) for wait, _ in durations]
    runs = [max(0, run) for _, run in durations]
    for one in counts.take(0):
        assert one.waited == sum(waits)
        assert one.ran == sum(runs)
        assert one.waits == {n: [*map(bin_of, waits)].count(n) for n in map(bin_of, waits)}
        assert one.runs == {n: [*map(bin_of, runs)].count(n) for n in map(bin_of, runs)}
        assert one.completed == len(durations)


def test_a_job_waits_from_the_moment_it_was_due_but_not_from_before_it_was_made() -> None:
    early = claim(run_at=NOW - 3600 * SECOND, made=NOW)
    [one] = counted((early, Transition.completed(early, NOW + 7 * SECOND, NOW + 8 * SECOND, "1")))
    assert one.waited == 7 * SECOND


def test_an_attempt_that_never_began_has_neither_waited_nor_run() -> None:
    [one] = counted(
        (claim(), Transition.cancelled(claim(), None, NOW, "by request")),
        (claim(), Transition.failed(claim(), None, NOW, 0, failure("crash"))),
        (claim(), Transition.released(claim())),
        (claim(), Transition.parked(claim())),
    )
    assert (one.cancelled, one.failed, one.put_off) == (1, 1, 0)
    assert (one.waits, one.runs) == ({}, {})


def test_what_is_put_off_has_waited_and_is_no_end() -> None:
    [one] = counted(
        (claim(), Transition.snoozed(claim(), NOW, NOW + SECOND)),
        (claim(), Transition.released(claim(), NOW)),
    )
    assert (one.put_off, sum(one.waits.values()), one.runs) == (2, 2, {})


def test_a_retry_is_an_attempt_that_failed_of_a_job_that_did_not() -> None:
    [one] = counted(
        (claim(), Transition.retry(claim(), NOW, NOW + SECOND, failure("OSError", NOW + 5)))
    )
    assert (one.retried, one.failed, one.errors, one.ran) == (1, 0, {"OSError": 1}, 5)


def test_queues_and_types_beyond_two_hundred_are_counted_together() -> None:
    counts = Counts()
    for number in range(500):
        counts.made([JobRecord("id", f"T{number}", "mail", 2, NOW, NOW, "{}")] * 2)
    told = counts.take(0)
    assert len(told) == MOST_SERIES + 1
    assert sum(one.scheduled for one in told) == 1000
    assert [one.scheduled for one in told if one.type == OTHER] == [600]
    assert not counts
    counts.made([JobRecord("id", "T499", "mail", 2, NOW, NOW, "{}")])
    assert [one.type for one in counts.take(0)] == ["T499"]


def test_kinds_of_errors_beyond_fifty_are_counted_together_and_all_are_printable() -> None:
    kinds = [f"Error{number}" for number in range(60)] + ["Z\0ero", "x" * 500, "line\nbreak"]
    ends = [Transition.failed(claim(), NOW, NOW, 1, failure(kind)) for kind in kinds]
    [one] = counted(*((claim(), end) for end in ends), *((claim(), end) for end in ends))
    assert len(one.errors) == MOST_KINDS + 1
    assert sum(one.errors.values()) == 2 * len(kinds)
    [few] = counted(*((claim(), end) for end in ends[-3:]))
    assert few.errors == {"Z\\x00ero": 1, "x" * 100: 1, "line\\nbreak": 1}


def test_what_dead_workers_had_is_rescued_and_what_had_begun_has_crashed() -> None:
    counts = Counts()
    counts.rescued([Rescued("mail", "SEND", 3, 2), Rescued("mail", "READ", 1, 0)])
    told = {one.type: (one.rescued, one.errors) for one in counts.take(0)}
    assert told == {"SEND": (3, {"crash": 2}), "READ": (1, {})}
