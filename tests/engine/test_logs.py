"""Whatever a handler logs, the record says for which job; and no text of a job forges a line."""

from __future__ import annotations

import asyncio
import io
import json
import logging
from collections.abc import Iterator, Sequence
from typing import Any

import pytest

from backroom import BulkJob, Job, JobFailedError
from backroom.logs import JobLogFilter, JsonFormatter, TextFormatter
from tests.engine.world import World

library = logging.getLogger("some.library")


class Kept(logging.Handler):
    """Keeps what passed its filter."""

    def __init__(self) -> None:
        super().__init__()
        self.records: list[logging.LogRecord] = []
        self.addFilter(JobLogFilter())

    def emit(self, record: logging.LogRecord) -> None:
        self.records.append(record)

    def of(self, name: str) -> list[tuple[Any, ...]]:
        """Of each record of this logger: its job's type, id, attempt and queue."""
        return [
            (one.__dict__["job_type"], one.__dict__["job_id"], one.__dict__["job_attempt"],
             one.__dict__["job_queue"])
            for one in self.records if one.name == name
        ]  # fmt: skip


@pytest.fixture
def kept() -> Iterator[Kept]:
    kept = Kept()
    root = logging.getLogger()
    before = root.level
    root.setLevel(logging.INFO)
    root.addHandler(kept)
    yield kept
    root.removeHandler(kept)
    root.setLevel(before)


async def test_what_a_library_logs_under_a_handler_says_for_which_job(
    world: World, kept: Kept
) -> None:
    service = world.service()

    @service.handler("ON_LOOP", queue="mail", retries=1, retry_delay=0)
    async def on_loop(job: Job[Any]) -> None:
        library.info("in the handler")
        await asyncio.gather(deeper(), deeper())
        if job.attempt == 1:
            raise ValueError("once more")

    async def deeper() -> None:
        await asyncio.sleep(1)
        library.info("in a task of it")

    @service.handler("IN_A_THREAD")
    def in_a_thread(job: Job[Any]) -> None:
        library.info("in a thread")

    await service.start()
    first = await service.schedule("ON_LOOP")
    second = await service.schedule("IN_A_THREAD")
    await service.result(first)
    await service.result(second)
    library.info("outside")
    said = kept.of("some.library")
    assert sorted(one for one in said if one[0] is not None) == sorted(
        [("ON_LOOP", first, attempt, "mail") for attempt in (1, 2) for _ in range(3)]
        + [("IN_A_THREAD", second, 1, "default")]
    )
    assert said[-1] == (None, None, None, None)


async def test_a_call_of_many_jobs_is_logged_with_their_type_and_no_id(
    world: World, kept: Kept
) -> None:
    service = world.service()

    @service.handler("MANY", batch=5, within=0)
    async def many(jobs: Sequence[BulkJob[Any, Any]]) -> None:
        library.info("for all of them")

    @service.handler("MANY_IN_A_THREAD", batch=5, within=0)
    def in_a_thread(jobs: Sequence[BulkJob[Any, Any]]) -> None:
        library.info("for all of them")

    await service.start()
    await service.result(await service.schedule("MANY"))
    await service.result(await service.schedule("MANY_IN_A_THREAD"))
    assert kept.of("some.library") == [
        ("MANY", None, None, "default"), ("MANY_IN_A_THREAD", None, None, "default"),
    ]  # fmt: skip


async def test_what_the_worker_says_of_an_attempt_is_marked_with_its_job(
    world: World, kept: Kept
) -> None:
    service = world.service()

    @service.handler("BAD", retries=0)
    async def bad(job: Job[Any]) -> None:
        job.log.info("a line of its own")
        raise ValueError("no")

    await service.start()
    job_id = await service.schedule("BAD")
    with pytest.raises(JobFailedError):
        await service.result(job_id)
    assert kept.of("backroom.job") == [("BAD", job_id, 1, "default")] * 2


HOSTILE = "ok\r\n2026-01-01 INFO    root: forged\x1b[2J\x07\u202edrowssap\u2028end\x85\x00"


def written(formatter: logging.Formatter) -> str:
    stream = io.StringIO()
    handler = logging.StreamHandler(stream)
    handler.setFormatter(formatter)
    handler.addFilter(JobLogFilter())
    log = logging.Logger("test")
    log.addHandler(handler)
    log.warning("said %s", HOSTILE)
    try:
        raise ValueError(HOSTILE)
    except ValueError:
        log.exception("failed")
    return stream.getvalue()


def test_a_record_of_json_is_one_line_whatever_it_says() -> None:
    text = written(JsonFormatter())
    assert text.isascii()
    lines = text.split("\n")
    assert lines.pop() == ""
    first, second = [json.loads(line) for line in lines]
    assert first["message"] == f"said {HOSTILE}"
    assert HOSTILE in second["traceback"]


def test_no_line_of_text_but_the_first_can_be_taken_for_a_record() -> None:
    text = written(TextFormatter())
    assert all(one == "\n" or one.isprintable() for one in text)
    begin = [line for line in text.splitlines() if not line.startswith("    | ")]
    assert len(begin) == 2
    assert begin[0].endswith("said ok\\r")
    assert "    | 2026-01-01 INFO    root: forged\\x1b[2J\\x07\\u202edrowssap\\u2028end" in text


async def test_a_logger_without_the_filter_is_left_as_it_was(world: World) -> None:
    record = logging.LogRecord("x", logging.INFO, "f", 1, "text", (), None)
    assert not hasattr(record, "job_id")
    assert JobLogFilter().filter(record) is True
    assert record.__dict__["job_id"] is None
