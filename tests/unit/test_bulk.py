"""What makes a handler one of many jobs, and what is refused of it."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import timedelta
from functools import partial
from typing import Any
from unittest.mock import AsyncMock

import pytest

from backroom import (
    BulkJob,
    ConfigurationError,
    Job,
    JobRegistry,
    JobService,
    JobType,
    blocking,
)
from backroom.options import Bulk

DOC = JobType("DOC", dict)


async def many(jobs: Sequence[BulkJob[Any, Any]]) -> None: ...


async def single(job: Job[Any]) -> None: ...


@pytest.fixture
def service() -> JobService:
    return JobService("memory:")


@pytest.mark.parametrize("batch", [0, -1, 1001, 2.5, "10", True])
def test_a_batch_is_a_number_of_jobs(service: JobService, batch: Any) -> None:
    with pytest.raises(
        ConfigurationError, match=r"^DOC: batch must be a whole number from 1 to 1,0"
    ):
        service.handler(DOC, batch=batch)


@pytest.mark.parametrize(
    ("within", "wrong"),
    [
        (-1, "within must be 0 to 3600 seconds, or a timedelta, got -1; 0 waits for nobody"),
        ("1s", "within must be 0 to 3600 seconds, or a timedelta, got '1s'; 0 waits for nobody"),
        (float("nan"), "within must be 0 to 3600 seconds"),
        (3601, "within must be 0 to 3600 .*, got 3601; to gather jobs for longer"),
    ],
)
def test_within_is_a_time(service: JobService, within: Any, wrong: str) -> None:
    with pytest.raises(ConfigurationError, match=f"^DOC: {wrong}"):
        service.handler(DOC, batch=10, within=within)


def test_within_alone_says_nothing(service: JobService) -> None:
    with pytest.raises(ConfigurationError, match=r"^DOC: within=1 .* say with batch= how many"):
        service.handler(DOC, within=1)  # type: ignore[call-overload]


def test_what_is_said_is_kept_in_seconds(service: JobService) -> None:
    service.register_handler(DOC, many, batch=1, within=timedelta(minutes=1))
    service.register_handler("OTHER", many, batch=1000)
    assert service._registry.bulk == {"DOC": Bulk(1, 60.0), "OTHER": Bulk(1000, 0.2)}


def no_jobs() -> None: ...


def two(jobs: Sequence[BulkJob[Any, Any]], more: int) -> None: ...


def named(*, jobs: Sequence[BulkJob[Any, Any]]) -> None: ...


@pytest.mark.parametrize("handler", [no_jobs, two, named])
def test_a_bulk_handler_is_called_with_one_list(service: JobService, handler: Any) -> None:
    with pytest.raises(ConfigurationError) as refused:
        service.register_handler(DOC, handler, batch=10)
    said = str(refused.value)
    assert said.startswith(f"DOC: {handler.__name__} cannot be called with one argument")
    assert f"def {handler.__name__}(jobs: Sequence[BulkJob[Data, Result]])" in said
    assert service.handled_types == []


def test_a_handler_of_single_jobs_is_none_of_many(service: JobService) -> None:
    class Local: ...

    async def local(job: Job[Local]) -> None: ...

    for handler in (single, local):
        with pytest.raises(ConfigurationError, match=r"takes a single Job, and batch= gives it m"):
            service.register_handler(DOC, handler, batch=10)  # type: ignore[arg-type]


def test_a_handler_of_many_jobs_is_none_of_single_ones(service: JobService) -> None:
    def listed(jobs: list[BulkJob[Any, Any]]) -> None: ...

    for handler in (many, listed):
        with pytest.raises(ConfigurationError, match=r"takes many jobs, .* batch=100, within=0.2"):
            service.register_handler(DOC, handler)  # type: ignore[arg-type]


def test_what_says_nothing_of_its_parameter_is_taken_at_its_word(service: JobService) -> None:
    class Handler:
        def __call__(self, jobs):  # type: ignore[no-untyped-def]
            return None

        async def method(self, jobs: Any) -> None: ...

    service.register_handler("A", lambda jobs: None, batch=2)
    service.register_handler("B", Handler(), batch=2)
    service.register_handler("C", Handler().method, batch=2)
    service.register_handler("D", partial(two, more=1), batch=2)
    service.register_handler("E", AsyncMock(), batch=2)
    service.register_handler("F", lambda job: None)
    assert set(service._registry.bulk) == {"A", "B", "C", "D", "E"}


def test_a_type_has_one_handler_of_either_kind(service: JobService) -> None:
    service.register_handler(DOC, many, batch=10)
    for again in ({"batch": 5}, {}):
        with pytest.raises(ConfigurationError, match="DOC has a handler already"):
            service.register_handler(DOC, many if again else single, **again)  # type: ignore[call-overload]
    assert service._registry.bulk == {"DOC": Bulk(10, 0.2)}


def test_child_processes_run_no_bulk_handlers(service: JobService) -> None:
    with pytest.raises(ConfigurationError, match=r'^DOC: a bulk handler .* isolation="none"'):
        service.register_handler(DOC, many, batch=10, isolation="process")
    isolated = JobService("memory:", isolation="process")
    with pytest.raises(ConfigurationError, match=r'^DOC: a bulk handler .* isolation="none"'):
        isolated.register_handler(DOC, many, batch=10)
    isolated.register_handler(DOC, many, batch=10, isolation="none")


def test_a_task_is_one_call_with_its_arguments(service: JobService) -> None:
    with pytest.raises(ConfigurationError, match=r"write @service.handler\(JOB_TYPE, batch="):
        service.task(batch=10)  # type: ignore[call-overload]

    @service.task
    def total(numbers: list[int]) -> int:  # Its list is data.
        return sum(numbers)


def test_all_ways_to_declare_a_handler_know_of_batches(service: JobService) -> None:
    registry = JobRegistry()
    registry.handler(DOC, batch=7, within=1)(many)
    service.include(registry)
    assert service._registry.bulk == {"DOC": Bulk(7, 1.0)}
    with pytest.raises(ConfigurationError, match="has a handler already"):
        service.register_handler(DOC, single)
    plain = blocking.JobService(service=service)
    plain.handler("PLAIN", batch=3)(lambda jobs: None)
    assert service._registry.bulk["PLAIN"] == Bulk(3, 0.2)
