"""The attempts of a job on one line of time: when it waited, when it ran, how each ended. Pure.

Each attempt that failed is kept with its begin and its end. Where nobody knows the begin, as of one
whose worker died soon after it, the first line of its log tells that it ran by then; what lies
before that may have been either, and is drawn so. A job that an operator had run again lay until
then, and did not wait: `run_at` tells when that was, unless it was put off since.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from datetime import datetime
from typing import Final, Literal

import msgspec

from backroom.job import AttemptError, JobInfo, JobStatus

__all__ = ["Lane", "Span", "ends", "lanes"]

WIDTH = 1000.0
"""Units of a lane, whatever its pixels."""

QUIET: Final = ("wait", "lay", "either", "unknown")
"""Kinds of time in which nothing is known to have run."""

Kind = Literal["wait", "lay", "either", "unknown", "run", "good", "bad", "off"]


class Span(msgspec.Struct, frozen=True):
    """A part of a lane."""

    kind: Kind
    since: datetime
    until: datetime
    x: float
    width: float
    words: str

    @property
    def seconds(self) -> float:
        return (self.until - self.since).total_seconds()


class Lane(msgspec.Struct, frozen=True):
    """One attempt, or the wait for the next one."""

    name: str
    spans: tuple[Span, ...]
    end: str
    """How it ended, in a word."""


class _Piece(msgspec.Struct, frozen=True):
    kind: Kind
    since: datetime
    until: datetime


class _Row(msgspec.Struct, frozen=True):
    name: str
    pieces: tuple[_Piece, ...]
    end: str


def lanes(job: JobInfo, now: datetime, running_since: datetime | None = None) -> list[Lane]:
    """From the oldest attempt that is kept to the present. `running_since`: when the attempt that
    runs now began, where its worker tells."""
    rows = list(_rows(job, now, running_since))
    moments = [at for row in rows for piece in row.pieces for at in (piece.since, piece.until)]
    if not moments:
        return []
    first, last = min(moments), max(moments)
    whole = max((last - first).total_seconds(), 1e-6)
    return [
        Lane(row.name, tuple(_span(piece, first, whole) for piece in row.pieces), row.end)
        for row in rows
    ]


def ends(lanes: Sequence[Lane]) -> tuple[datetime, datetime] | None:
    """Where their line of time begins, and where it ends."""
    spans = [span for lane in lanes for span in lane.spans]
    if not spans:
        return None
    return min(span.since for span in spans), max(span.until for span in spans)


def _rows(job: JobInfo, now: datetime, running_since: datetime | None) -> Iterator[_Row]:
    before = (
        min(job.created_at, *(error.at for error in job.errors)) if job.errors else job.created_at
    )
    kept_from = job.errors[0].attempt if job.errors else None
    if kept_from is not None and kept_from > 1:
        # Older attempts are not kept: the line begins with the first that is.
        before = job.errors[0].at
    last: AttemptError | None = None
    for error in job.errors:
        began = error.started_at or _began(job, error.attempt, error.at)
        pieces = _waited_and_ran(job, last, before, began, error.at, "bad")
        yield _Row(f"Attempt {error.attempt}", pieces, error.kind)
        before, last = error.at, error
    due = max(before, min(job.run_at, now))
    if job.status is JobStatus.ACTIVE:
        began = running_since or _first_line(job, job.attempt)
        pieces = _waited_and_ran(job, last, before, began, max(now, before), "run")
        yield _Row(f"Attempt {job.attempt}", pieces, "running")
    elif job.finished_at is not None and (not job.errors or job.finished_at > job.errors[-1].at):
        ended = job.finished_at
        began = job.started_at if job.started_at and before <= job.started_at <= ended else None
        kind: Kind = "good" if job.status is JobStatus.COMPLETED else "off"
        if began is None and job.status is not JobStatus.COMPLETED:
            pieces = _waited(job, last, before, max(ended, before))
            yield _Row("Waiting", pieces, job.status.value)
        else:
            name = f"Attempt {max(job.attempt, 1)}"
            pieces = _waited_and_ran(job, last, before, began, ended, kind)
            yield _Row(name, pieces, job.status.value)
    elif not job.status.terminal:
        yield _Row("Waiting", _waited(job, last, before, max(now, due)), job.status.value)


def _began(job: JobInfo, attempt: int, ended: datetime) -> datetime | None:
    last = job.errors[-1]
    if attempt == last.attempt and job.started_at is not None and job.started_at <= ended:
        return job.started_at
    return _first_line(job, attempt)


def _first_line(job: JobInfo, attempt: int) -> datetime | None:
    return next((line.at for line in job.log if line.attempt == attempt), None)


def _waited_and_ran(
    job: JobInfo, last: AttemptError | None, before: datetime, began: datetime | None,
    ended: datetime, kind: Kind,
) -> tuple[_Piece, ...]:  # fmt: skip
    """`last`: how the attempt before this one failed, at `before`; None: it is the first."""
    if began is None:
        *lay, rest = _waited(job, last, before, ended)
        return (*lay, _Piece("unknown", rest.since, rest.until))
    began = max(before, min(began, ended))
    return (*_waited(job, last, before, began), _Piece(kind, began, ended))


def _waited(
    job: JobInfo, last: AttemptError | None, before: datetime, until: datetime
) -> tuple[_Piece, ...]:
    if last is None or last.attempt != job.budget:
        return _pieces(("wait", before, until))
    # An operator had it run again, and no attempt has failed since, nor is it due another time.
    if last is job.errors[-1] and before <= job.run_at <= until:
        return _pieces(("lay", before, job.run_at), ("wait", job.run_at, until))
    return _pieces(("either", before, until))


def _pieces(*said: tuple[Kind, datetime, datetime]) -> tuple[_Piece, ...]:
    return tuple(_Piece(*one) for one in said)


_WORDS: dict[Kind, str] = {
    "wait": "waited",
    "lay": "was not tried, until an operator's retry",
    "either": "was not tried until an operator's retry, then waited",
    "unknown": "waited, then ran",
    "run": "has been running",
    "good": "ran",
    "bad": "ran, and failed",
    "off": "ran, and was cancelled",
}


def _span(piece: _Piece, first: datetime, whole: float) -> Span:
    x = (piece.since - first).total_seconds() / whole * WIDTH
    width = (piece.until - piece.since).total_seconds() / whole * WIDTH
    # What took no time to speak of is seen all the same.
    least = 3.0 if piece.kind not in QUIET else 0.0
    width = max(width, least)
    x = min(x, WIDTH - width)
    return Span(
        piece.kind, piece.since, piece.until, round(x, 2), round(width, 2), _WORDS[piece.kind]
    )
