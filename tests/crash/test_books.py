"""The checker of the chaos finds each kind of wrong in books that are right but for that."""

from __future__ import annotations

from collections.abc import Sequence

import pytest

from tests.crash.books import Blow, Books, Kept
from tests.process.parts import Entry

PRODUCER, WORKER, OTHER, CHILD = 1, 2, 3, 4
ASKED = [Entry("attempted", "a", 1, PRODUCER, 1.0), Entry("acknowledged", "a", 1, PRODUCER, 2.0)]
RAN = [Entry("started", "a", 1, WORKER, 3.0), Entry("finished", "a", 1, WORKER, 4.0)]
AGAIN = [Entry("started", "a", 2, OTHER, 6.0), Entry("finished", "a", 2, OTHER, 7.0)]
DONE = Kept("a", "QUICK", "completed", 1, 0, 3, WORKER)
DONE_AGAIN = Kept("a", "QUICK", "completed", 2, 1, 3, OTHER)
KILL = Blow("kill", WORKER, 4.5, 5.0)


def wrong(
    entries: Sequence[Entry], jobs: Sequence[Kept], blows: Sequence[Blow] = ()
) -> Sequence[str]:
    return Books(sorted(entries, key=lambda entry: entry.at), jobs, blows).violations


def test_books_that_are_right_have_no_violations() -> None:
    assert wrong([*ASKED, *RAN], [DONE]) == []
    assert wrong([*ASKED, *RAN, *AGAIN], [DONE_AGAIN], [KILL]) == []
    # A call without an answer, of which the job is there or is not.
    assert wrong([ASKED[0], *RAN], [DONE]) == []
    assert wrong([ASKED[0]], []) == []
    assert Books([ASKED[0], *RAN], [DONE]).recovered == {"a"}
    # Its only attempt died under it.
    dead = Kept("a", "QUICK", "failed", 1, 1, 0, None)
    assert wrong([*ASKED, RAN[0]], [dead], [KILL]) == []
    # A child process died with its worker.
    child = [Entry("child-of", "a", WORKER, CHILD, 2.9), RAN[0]._replace(pid=CHILD)]
    assert wrong([*ASKED, *child, *AGAIN], [DONE_AGAIN], [KILL]) == []


@pytest.mark.parametrize(
    ("entries", "jobs", "blows", "sentence"),
    [
        (ASKED, [], [], "a is lost: acknowledged, never finished, and not there"),
        (ASKED, [DONE._replace(state="waiting")], [], "never finished, and waiting"),
        ([*ASKED, *RAN], [], [], "a is lost: acknowledged, finished, and not there"),
        ([*ASKED, *RAN], [DONE._replace(state="active")], [], "is active at the end"),
        (RAN, [DONE], [], "a is unexpected: started"),
        ([], [DONE], [], "a is unexpected: kept"),
        ([*ASKED, *RAN], [DONE, DONE], [], "a is there 2 times"),
        ([ASKED[0], ASKED[1]._replace(event="refused"), *RAN], [DONE], [], "a was refused"),
        ([*ASKED, *RAN, *AGAIN], [DONE_AGAIN], [], "started again in 3, for no reason"),
        # The kill came before the one start, or after the other.
        ([*ASKED, *RAN, *AGAIN], [DONE_AGAIN], [KILL._replace(begun=1, over=2)], "for no reason"),
        ([*ASKED, *RAN, *AGAIN], [DONE_AGAIN], [KILL._replace(begun=8, over=9)], "for no reason"),
        ([*ASKED, *RAN, *AGAIN], [DONE_AGAIN], [KILL._replace(pid=OTHER)], "for no reason"),
        (
            [*ASKED, *RAN, *AGAIN],
            [DONE_AGAIN._replace(attempt=1, result=WORKER, crashes=0)],
            [KILL],
            "was started 2 times and charged 1 attempts",
        ),
        # The stale attempt's outcome was kept, not that of the last one.
        ([*ASKED, *RAN, *AGAIN], [DONE_AGAIN._replace(result=WORKER)], [KILL], "has not told"),
        ([*ASKED, RAN[0]], [DONE], [], "has not told"),
        ([*ASKED, *RAN], [DONE._replace(crashes=1)], [], "charged 1 crashes"),
        ([*ASKED, *AGAIN], [DONE_AGAIN._replace(crashes=0)], [], "and no crash"),
        (ASKED, [DONE._replace(state="failed", attempt=1)], [KILL], "failed for no reason"),
        (
            [*ASKED, *RAN, ASKED[0]._replace(job="b"), ASKED[1]._replace(job="b")],
            [DONE],
            [],
            "1 of the 2 jobs of call 1 of 1 are kept",
        ),
    ],
)
def test_each_kind_of_wrong_is_named(
    entries: Sequence[Entry], jobs: Sequence[Kept], blows: Sequence[Blow], sentence: str
) -> None:
    violations = wrong(entries, jobs, blows)
    assert any(sentence in violation for violation in violations), violations


def test_what_counts_as_started_ahead_is_charged_to_so_many_a_blow() -> None:
    started = [Kept(f"{n}", "QUICK", "completed", 2, 1, 3, OTHER) for n in range(6)]
    entries = [
        entry._replace(job=job.serial)
        for job in started
        for entry in (*ASKED, *(one._replace(number=2) for one in AGAIN))
    ]
    sentence = "6 of 6 crashes were charged to jobs that had not begun"
    assert Books(entries, started, [KILL]).violations == [sentence]
    assert Books(entries, started, [KILL], counted_ahead=5).violations == [sentence]
    assert Books(entries, started, [KILL, KILL], counted_ahead=3).violations == []
