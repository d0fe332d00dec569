"""What pages make of values: text, numbers, timelines, drawings. Nothing here is a request."""

from __future__ import annotations

import html
import json
import re
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from backroom.figure import Percentiles
from backroom.flow import WorkflowJob
from backroom.history import History, HistoryPoint
from backroom.job import AttemptError, JobId, JobInfo, JobStatus, LogLine, to_datetime
from backroom.step import FOREVER, UNTIL_TOLD
from backroom.web.pages import charts, graph, numbers, texts, timeline, tracebacks
from backroom.web.pages.saying import Asked, back_to, said_of

NOW = datetime(2026, 1, 31, 3, 0, tzinfo=UTC)


def at(seconds: float) -> datetime:
    return NOW + timedelta(seconds=seconds)


# -- text ------------------------------------------------------------------------------------------


@given(st.text())
def test_no_text_becomes_markup_nor_hides_anything(text: str) -> None:
    shown = str(texts.visible(text))
    inside = shown.replace('<span class="chr" title="', "").replace("</span>", "")
    assert "<" not in inside
    for hidden in "\u202e\u2066\u200b\ufeff\x1b\x00\x7f\x9b\r":
        assert hidden not in shown
        assert hidden not in texts.plain(text)


def test_what_is_hidden_is_named() -> None:
    assert str(texts.visible("a\u202eb")) == (
        'a<span class="chr" title="U+202E right-to-left override">U+202E</span>b'
    )
    assert str(texts.visible("a" + "\u202e" * 8000)) == (
        'a<span class="chr" title="U+202E right-to-left override x 8,000">U+202E x 8,000</span>'
    )
    assert ">ESC</span>[31m" in texts.visible("\x1b[31m")
    assert texts.plain("a\u202e\nb") == "a[U+202E] b"


def test_what_letters_and_emoji_need_stays() -> None:
    text = "👩‍🚀 می‌خواهم\tx\n"
    assert str(texts.visible(text)) == text


@given(
    st.recursive(
        st.none() | st.booleans() | st.integers() | st.text(),
        lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
        max_leaves=10,
    )
)
def test_json_that_is_copied_is_the_same_value(value: Any) -> None:
    text = texts.json_text(value)
    assert json.loads(text) == value
    assert html.unescape(re.sub(r"</?span[^>]*>", "", texts.paint_json(value))) == text


def test_numbers_are_exact_however_large() -> None:
    assert str(2**70) in texts.paint_json({"sum": 2**70})


# -- numbers ---------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (0, "0 s"), (0.00034, "340 µs"), (0.012, "12 ms"), (1.24, "1.2 s"), (42.4, "42 s"),
        (184, "3 min 4 s"), (7500, "2 h 5 min"), (273_600, "3 d 4 h"), (None, "\N{EN DASH}"),
        (-2, "\N{MINUS SIGN}2.0 s"),
    ],
)  # fmt: skip
def test_stretches_of_time_are_told_in_two_units(value: float | None, text: str) -> None:
    shown = numbers.seconds(value)
    assert shown.replace("\xa0", " ") == text
    # No line ends between a number and its unit.
    assert re.search(r"\d [a-zµ]", shown) is None


def test_moments_are_told_by_their_distance() -> None:
    assert ">3 min ago<" in numbers.ago(at(-185), NOW)
    assert ">in 2 h<" in numbers.ago(at(7300), NOW)
    assert numbers.ago(to_datetime(FOREVER), NOW) == UNTIL_TOLD


# -- timelines -------------------------------------------------------------------------------------


def a_job(status: JobStatus, **said: Any) -> JobInfo:
    said = {"created_at": at(0), "run_at": at(0), **said}
    return JobInfo(
        id=JobId("x"), type="T", queue="q", priority="normal", status=status, data={}, **said
    )


def error(attempt: int, seconds: float, began: float | None = None) -> AttemptError:
    started_at = None if began is None else at(began)
    return AttemptError(attempt, at(seconds), "ValueError", "no", None, started_at)


def kinds(job: JobInfo, now: float = 100) -> list[list[str]]:
    return [[span.kind for span in lane.spans] for lane in timeline.lanes(job, at(now))]


def test_a_job_that_completed_waited_and_then_ran() -> None:
    job = a_job(JobStatus.COMPLETED, attempt=1, started_at=at(10), finished_at=at(30))
    (lane,) = timeline.lanes(job, at(99))
    assert [(span.kind, span.seconds) for span in lane.spans] == [("wait", 10), ("good", 20)]
    assert lane.spans[0].width == pytest.approx(333.33)


def test_an_attempt_whose_begin_is_not_kept_is_drawn_as_not_known() -> None:
    job = a_job(
        JobStatus.FAILED, attempt=2, errors=(error(1, 10), error(2, 30)), started_at=at(25),
        finished_at=at(30),
    )  # fmt: skip
    assert kinds(job) == [["unknown"], ["wait", "bad"]]


def test_each_attempt_is_drawn_from_its_begin_to_its_end() -> None:
    job = a_job(
        JobStatus.FAILED, attempt=2, started_at=at(25), finished_at=at(30),
        errors=(error(1, 10, began=4), error(2, 30, began=25)),
        log=(LogLine(at(6), 1, "info", "later than its begin"),),
    )  # fmt: skip
    drawn = [
        [(span.kind, span.seconds) for span in lane.spans] for lane in timeline.lanes(job, at(99))
    ]
    assert drawn == [[("wait", 4), ("bad", 6)], [("wait", 15), ("bad", 5)]]


def test_the_first_line_of_a_log_tells_that_the_attempt_ran_by_then() -> None:
    job = a_job(
        JobStatus.SCHEDULED, attempt=1, errors=(error(1, 10),), run_at=at(200),
        log=(LogLine(at(4), 1, "info", "begun"),),
    )  # fmt: skip
    assert kinds(job) == [["wait", "bad"], ["wait"]]


def test_what_failed_lay_until_an_operators_retry_and_waited_from_then_on() -> None:
    said = {"errors": (error(1, 10, began=4),), "attempt": 1, "budget": 1}
    waits = a_job(JobStatus.PENDING, run_at=at(70), finished_at=None, **said)
    (_, lane) = timeline.lanes(waits, at(90))
    assert [(span.kind, span.seconds) for span in lane.spans] == [("lay", 60), ("wait", 20)]
    said["attempt"] = 2
    done = a_job(
        JobStatus.COMPLETED, run_at=at(70), started_at=at(72), finished_at=at(75), **said
    )  # fmt: skip
    assert kinds(done) == [["wait", "bad"], ["lay", "wait", "good"]]
    assert kinds(a_job(JobStatus.ACTIVE, run_at=at(70), **said)) == [
        ["wait", "bad"], ["lay", "unknown"],
    ]  # fmt: skip
    # Its worker has retried it: that is a wait, whoever retried it before.
    assert kinds(a_job(JobStatus.SCHEDULED, run_at=at(70), **{**said, "budget": 0})) == [
        ["wait", "bad"], ["wait"],
    ]  # fmt: skip


def test_where_the_moment_of_a_retry_is_not_kept_nothing_is_said_of_it() -> None:
    again = (error(1, 10, began=4), error(2, 60, began=55))
    job = a_job(JobStatus.SCHEDULED, attempt=2, budget=1, run_at=at(200), errors=again)
    assert kinds(job) == [["wait", "bad"], ["either", "bad"], ["wait"]]
    put_off = a_job(JobStatus.SCHEDULED, attempt=1, budget=1, run_at=at(200), errors=again[:1])
    assert kinds(put_off) == [["wait", "bad"], ["either"]]


def test_a_line_of_time_has_its_ends_in_words() -> None:
    job = a_job(JobStatus.COMPLETED, attempt=1, started_at=at(10), finished_at=at(30))
    assert timeline.ends(timeline.lanes(job, at(99))) == (at(0), at(30))
    assert timeline.ends([]) is None


def test_every_span_lies_within_its_lane() -> None:
    job = a_job(
        JobStatus.ACTIVE, attempt=3, errors=(error(1, 1), error(2, 1.0001)), started_at=at(1),
    )  # fmt: skip
    for lane in timeline.lanes(job, at(1.0002)):
        for span in lane.spans:
            assert 0 <= span.x <= span.x + span.width <= timeline.WIDTH + 0.01


# -- workflows -------------------------------------------------------------------------------------


def test_every_edge_of_a_workflow_leads_to_the_right() -> None:
    def job(name: str, *after: str) -> WorkflowJob:
        waits: tuple[JobId[Any], ...] = tuple(JobId(one) for one in after)
        return WorkflowJob(id=JobId(name), type=name, status=JobStatus.PENDING, after=waits)

    jobs = [job("d", "b", "c"), job("a"), job("b", "a"), job("c", "a"), job("e", "a", "d")]
    drawn = graph.draw(jobs)
    place = {node.job.id: (node.x, node.y) for node in drawn.nodes}
    for one in jobs:
        for parent in one.after:
            assert place[parent][0] < place[one.id][0]
    assert len(set(place.values())) == len(jobs)
    assert len(drawn.edges) == 6


def test_nothing_is_drawn_of_no_jobs() -> None:
    assert graph.draw([]).nodes == ()


# -- tracebacks ------------------------------------------------------------------------------------

TRACEBACK = """Traceback (most recent call last):
  File "/srv/app/mails.py", line 12, in send
    connect(host,
            port)
    ~~~~~~~^^^^^^
  File "/usr/lib/python3.11/socket.py", line 8, in create_connection
    raise exceptions[0]
ConnectionRefusedError: [Errno 111] refused
"""


def test_a_traceback_is_told_in_frames_and_those_of_the_application_stand_out() -> None:
    first, ours, library, last = tracebacks.frames(TRACEBACK)
    assert first.code == "Traceback (most recent call last):"
    assert (first.between, last.between) == (True, False)
    assert (ours.name, ours.line, ours.ours) == ("send", 12, True)
    assert ours.code == "connect(host,\nport)"
    assert (library.name, library.ours) == ("create_connection", False)
    assert last.code == "ConnectionRefusedError: [Errno 111] refused"


@given(st.text())
def test_any_text_can_be_looked_at_as_a_traceback(text: str) -> None:
    tracebacks.frames(text)


# -- charts ----------------------------------------------------------------------------------------


def test_a_chart_has_a_gap_where_nothing_was_measured() -> None:
    line = charts.Line("p50", "blue", [1.0, None, 2.0, 1.0])
    chart = charts.Chart("Waiting", "seconds", [0, 10, 20, 30], [line])
    ((_, path),) = chart.paths()
    assert path.count("M") == 2
    assert json.loads(chart.data)["series"][0]["values"] == [1.0, None, 2.0, 1.0]


def test_a_chart_draws_a_point_that_stands_alone() -> None:
    line = charts.Line("p50", "blue", [None, 1.0, None, 2.0, 1.0, None, 2.0])
    ((_, path),) = charts.Chart("Waiting", "seconds", [0, 1, 2, 3, 4, 5, 6], [line]).paths()
    assert re.findall(r"M[\d. ]+(h?)", path) == ["h", "", "h"]


def test_a_chart_without_scripts_has_its_ends_in_words() -> None:
    lines = [charts.Line("p50", "blue", [0.5, None]), charts.Line("p99", "amber", [90.0, 1.0])]
    chart = charts.Chart("Waiting", "seconds", [NOW.timestamp(), at(60).timestamp()], lines)
    assert (chart.top, chart.ends) == ("1\xa0min 30\xa0s", (NOW, at(60)))
    many = charts.Line("done", "green", [1500.0])
    assert charts.Chart("Done", "count", [NOW.timestamp()], [many]).top == "1.5k"


def test_what_happened_in_a_step_is_told_as_a_rate_a_minute() -> None:
    none = Percentiles()
    point = HistoryPoint(at(0), 0, 30, 3, 2, 0, 0, 0, none, none, {}, None)
    history = History(10.0, (point,), (), none, none)
    drawn = {chart.title: chart for chart, _ in charts.charts_of(history)}
    said = {chart.title: words for chart, words in charts.charts_of(history)}
    assert said["Completed a minute"] == "30 in all, at a rate of up to 180 a minute"
    assert drawn["Completed a minute"].series[0].values == [180.0]
    assert [line.values for line in drawn["Failed a minute"].series] == [[18.0], [12.0]]


# -- what is said ----------------------------------------------------------------------------------


def test_an_address_makes_a_page_say_nothing_but_our_words() -> None:
    assert said_of(Asked(did="<script>")) is None
    said = said_of(Asked(did="selected-retry", changed=1200))
    assert said is not None
    assert said.text.endswith(": 1,200.")


@pytest.mark.parametrize(
    "elsewhere", ["//evil.example", "https://evil.example", "/\\evil.example", "", "/a\r\nb", None]
)
def test_a_form_leads_back_to_pages_of_ours_alone(elsewhere: str | None) -> None:
    assert back_to(elsewhere, "/jobs") == ("/jobs", "")


def test_a_form_leads_back_to_where_it_was() -> None:
    assert back_to("/jobs?status=failed", "/") == ("/jobs", "status=failed")


@pytest.mark.parametrize(
    "text", ["\u202e" * 400_000, "\u202e\u202d" * 200_000, "a\x00" * 200_000, "<" * 400_000]
)
def test_a_long_text_makes_no_long_page(text: str) -> None:
    shown = str(texts.visible(text))
    assert len(shown) < 6 * texts.MOST
    assert "\u202e" not in shown
    assert "\x00" not in shown
    cut = str(texts.visible(text, 1000))
    assert len(cut) < 12_500
    assert "… 399,000 more characters" in cut


def test_no_more_of_a_value_is_written_than_is_shown() -> None:
    deep: object = list(range(1000))
    for _ in range(300):
        deep = [deep, deep]  # More than could ever be written.
    for value in (deep, ["\u202e" * 1_000_000], list(range(300_000)), {"a": "\x00" * 1_000_000}):
        assert len(texts.compact_json(value)) == 200
        assert texts.MOST <= len(texts.json_text(value)) <= 6 * texts.MOST + 1
        painted = texts.paint_json(value)
        assert html.unescape(re.sub(r"</?span[^>]*>", "", painted)) == texts.json_text(value)


def test_a_long_list_is_cut() -> None:
    assert len(texts.json_text(list(range(100_000)))) == texts.MOST + 1
