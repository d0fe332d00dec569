"""Histograms, and what a history is made of."""

from hypothesis import given
from hypothesis import strategies as st

from backroom.figure import Figures, Histogram, bin_of, edge_of, percentiles
from backroom.history import FINE, WHOLE, Depth, begin_of, history_of, step_of
from backroom.job import SECOND, to_datetime

NOW = 1_750_000_000 * SECOND


@given(st.integers(0, 2**52))
def test_a_duration_is_in_a_bin_that_is_narrow_for_it(microseconds: int) -> None:
    number = bin_of(microseconds)
    assert edge_of(number) <= microseconds < edge_of(number + 1)
    assert edge_of(number + 1) - edge_of(number) <= max(1, microseconds / 4)


@given(st.lists(st.integers(1, 2**40), min_size=1))
def test_percentiles_are_off_by_less_than_a_fifth(durations: list[int]) -> None:
    bins: dict[int, int] = {}
    for one in durations:
        bins[bin_of(one)] = bins.get(bin_of(one), 0) + 1
    found = percentiles(bins)
    durations.sort()
    for share, seconds in ((50, found.p50), (95, found.p95), (99, found.p99)):
        at = (share * len(durations) + 99) // 100 - 1
        assert seconds is not None
        assert abs(seconds * SECOND - durations[at]) <= max(1, durations[at] / 5)


def test_a_histogram_says_how_many_were_below_each_bound() -> None:
    bins = {bin_of(one): 1 for one in (900, 9_000, 90_000, 900_000)}
    histogram = Histogram(bins, 0.9999)
    assert histogram.count == 4
    assert histogram.below([0.0001, 0.002, 0.02, 0.2, 2.0]) == [0, 1, 2, 3, 4]


def test_an_hour_a_day_and_a_week_have_120_to_360_points() -> None:
    for seconds in (3600, 86_400, 7 * 86_400):
        assert 120 <= seconds / step_of(seconds) <= 360


def test_a_history_has_a_point_for_each_step_and_none_twice() -> None:
    since = begin_of(NOW, FINE) - 5 * FINE * SECOND
    told = [Figures("", "", since + n * FINE * SECOND, completed=1) for n in (0, 0, 3, 5, 6, -1)]
    found = history_of(FINE, since, NOW, told, [], [])
    assert [point.completed for point in found.points] == [2, 0, 0, 1, 0, 1]
    assert [point.at for point in found.points] == [
        to_datetime(since + n * FINE * SECOND) for n in range(6)
    ]
    assert found.points[1].waiting.p50 is None


def test_a_sample_stands_until_the_next_one_but_not_for_ever() -> None:
    since = begin_of(NOW, FINE)
    samples = [
        (since - SECOND, {WHOLE: Depth(7), "mail": Depth(7)}),
        (since + 25 * SECOND, {WHOLE: Depth(2), "slow": Depth(2)}),
    ]
    found = history_of(FINE, since, since + 119 * SECOND, [], [], samples)
    pending = [None if point.total is None else point.total.pending for point in found.points]
    assert pending == [7, 7, 2, 2, 2, 2, 2, 2, 2, 2, 2, None]
    assert found.points[0].depth == {"mail": Depth(7)}
    assert found.points[-1].depth == {}
    of_queue = history_of(FINE, since, since + 40 * SECOND, [], [], samples, "mail")
    assert [point.total for point in of_queue.points][1:3] == [Depth(7), Depth()]


def test_errors_are_counted_by_kind_and_type_the_most_frequent_first() -> None:
    errors = [("KeyError", "A", 1), ("OSError", "A", 5), ("KeyError", "A", 1), ("KeyError", "B", 2)]
    found = history_of(FINE, NOW, NOW, [], errors, [])
    told = [(one.kind, one.type, one.attempts) for one in found.errors]
    assert told == [("OSError", "A", 5), ("KeyError", "A", 2), ("KeyError", "B", 2)]
