"""What happens, as it happens: server-sent events."""

from __future__ import annotations

from collections.abc import Iterable

import msgspec
from starlette.responses import Response

from backroom.job import JobInfo, microseconds
from backroom.stats import JobStats
from backroom.web.access import Role
from backroom.web.answering import encode
from backroom.web.call import Call
from backroom.web.feed import State
from backroom.web.route import Route
from backroom.web.streaming import Message, stream

__all__ = ["routes"]

NO_BEGINNING = -1


async def store_events(call: Call) -> Response:
    """Events of the whole store: `stats`, the counts, whenever they are others; `trouble`, a
    problem, while the storage does not answer. At most one look a second is taken, for all who
    listen."""
    watch = call.house.feed.watch("store", call.house.service.get_stats, encode)

    def tell(state: State[JobStats], last: str) -> Iterable[Message]:
        if state.mark != last:
            yield Message("stats", encode(state.value), state.mark)

    return stream(call, watch, tell)


async def job_events(call: Call) -> Response:
    """Events of one job: `job`, the job without its log, whenever it is another; `log`, its new
    lines. The last one is `end`, when nothing more happens to it."""
    job_id = call.params["id"]
    first = await call.house.service.get_job(job_id)  # One that is not there is 404.
    watch = call.house.feed.watch(
        f"job {first.id}", lambda: call.house.service.get_job(job_id), encode
    )
    return stream(call, watch, _JobTeller(call))


class _JobTeller:
    """What one viewer has been told of a job. An id of an event says up to which moment the log
    was told, so that who comes again gets the rest."""

    def __init__(self, call: Call) -> None:
        self._call = call
        self._told = b""
        self._until = NO_BEGINNING

    def __call__(self, state: State[JobInfo], last: str) -> Iterable[Message]:
        if last.isascii() and last.isdigit() and len(last) < 20:
            self._until = int(last)
        assert state.value is not None
        info = self._call.looking.shown(state.value)
        lines = [line for line in info.log if microseconds(line.at) > self._until]
        if lines:
            self._until = max(microseconds(line.at) for line in lines)
            yield Message("log", encode(lines), str(self._until))
        bare = encode(_without_log(info))
        if bare != self._told:
            self._told = bare
            yield Message("job", bare, str(max(self._until, 0)))
        if info.status.terminal:
            yield Message("end", encode(str(info.status)))


def _without_log(info: JobInfo) -> JobInfo:
    return msgspec.structs.replace(info, log=())


def routes() -> list[Route]:
    return [
        Route("GET", "/api/v1/events", Role.READ, store_events, tag="events",
              media_type="text/event-stream"),
        Route("GET", "/api/v1/jobs/{id}/events", Role.READ, job_events, tag="events",
              media_type="text/event-stream"),
    ]  # fmt: skip
