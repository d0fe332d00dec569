"""Function style: functions as job types, called, scheduled and run."""

from __future__ import annotations

from typing import Any

import pytest

from backroom import (
    ConfigurationError,
    Job,
    JobFailedError,
    JobRegistry,
    JobTypeError,
    ServiceError,
)
from tests.engine import tasks_for_tests as tasks
from tests.engine.tasks_for_tests import Person, Point
from tests.engine.world import World

MODULE = "tests.engine.tasks_for_tests"


async def test_a_task_is_called_like_the_function_and_scheduled_with_the_same_arguments(
    world: World,
) -> None:
    service = world.service()
    service.include(tasks.jobs)
    assert tasks.add(1, 2) == 3
    assert await tasks.mirror(Point(1, 2)) == Point(-1, -2)
    async with service:
        assert await service.result(await tasks.add.schedule(1, b=2)) == 3
        mirrored = await tasks.mirror.schedule(Point(3, 4), scale=2.0)
        assert await service.result(mirrored) == Point(-6, -4)
        info = await service.get_job(mirrored)
    assert (info.type, info.queue) == ("MIRROR", "slow")
    assert info.data == {"point": {"x": 3, "y": 4}, "scale": 2.0}


async def test_a_task_is_named_after_its_module_and_function(world: World) -> None:
    assert tasks.add.type.name == f"{MODULE}.add"
    assert tasks.add.__name__ == "add"


async def test_every_kind_of_parameter_travels(world: World) -> None:
    service = world.service()
    service.include(tasks.jobs)
    ada, bob = Person(name="Ada", age=36), Person(name="Bob")
    async with service:
        job_id = await tasks.greet.schedule(ada, "Hi", bob, Ada="Lady ")
        assert await service.result(job_id) == ["Hi, Lady Ada (36)", "Hi, Bob (0)"]
        job_id = await tasks.greet.schedule(ada)
        assert await service.result(job_id) == ["Hello, Ada (36)"]
        assert (await service.get_job(job_id)).data == {
            "person": {"name": "Ada", "age": 36}, "others": [],
        }  # fmt: skip
        assert await service.result(await tasks.birthday.schedule(ada)) == Person(
            name="Ada", age=37
        )
        for args, expected in [((1,), [1, 2, 3, 4]), ((9, 8), [9, 8, 3, 4])]:
            assert await service.result(await tasks.only_by_place.schedule(*args)) == expected
        job_id = await tasks.only_by_place.schedule(1, c=5, d=6)
        assert await service.result(job_id) == [1, 2, 5, 6]
        assert await service.result(await tasks.untyped.schedule([1], b={"c": 2})) == {
            "a": [1], "b": {"c": 2},
        }  # fmt: skip


async def test_options_hold_for_the_next_jobs_and_change_nothing_else(world: World) -> None:
    service = world.service()
    service.include(tasks.jobs)
    later = tasks.add.options(delay=60, tags=["sums"]).options(priority="high")
    info = await service.get_job(await later.schedule(1, 2))
    assert (info.status, info.priority, info.tags) == ("scheduled", "high", ("sums",))
    assert (await service.get_job(await tasks.add.schedule(1, 2))).status == "pending"
    assert later(1, 2) == 3


async def test_requests_travel_together(world: World) -> None:
    service = world.service()
    service.include(tasks.jobs)
    async with service:
        ids = await service.schedule_many(
            [tasks.add.request(n, b=n) for n in range(5)]
            + [tasks.add.options(priority="low").request(9, 9)]
        )
        assert [await service.result(job_id) for job_id in ids] == [0, 2, 4, 6, 8, 18]


@pytest.mark.parametrize(
    ("args", "kwargs", "says"),
    [
        ((1,), {}, "missing a required argument: 'b'"),
        ((1, 2, 3), {}, "too many positional arguments"),
        ((1,), {"c": 2}, r"missing a required argument: 'b'|unexpected keyword argument 'c'"),
        ((1, "two"), {}, r"expected int at \$\.b"),
    ],
)
async def test_arguments_that_do_not_fit_are_refused_when_scheduled(
    world: World, args: tuple[Any, ...], kwargs: dict[str, Any], says: str
) -> None:
    service = world.service()
    service.include(tasks.jobs)
    with pytest.raises(JobTypeError, match=says):
        await tasks.add.schedule(*args, **kwargs)
    assert len(await service.get_jobs()) == 0


async def test_a_result_that_does_not_fit_fails_the_job(world: World) -> None:
    service = world.service()
    service.include(tasks.jobs)
    async with service:
        with pytest.raises(JobFailedError, match="expected int at"):
            await service.result(await tasks.wrong_result.schedule(1))


async def test_a_task_finds_the_job_that_runs_it(world: World) -> None:
    service = world.service()
    service.include(tasks.jobs)
    async with service:
        job_id = await tasks.says.schedule()
        assert await service.result(job_id) is None
        info = await service.get_job(job_id)
    assert [line.message for line in info.log] == ["attempt 1"]
    assert info.progress == 0.5
    with pytest.raises(ServiceError, match="none does"):
        tasks.plain_call()


async def test_a_service_takes_tasks_itself(world: World) -> None:
    service = world.service()

    @service.task
    async def double(n: int) -> int:
        return 2 * n

    async with service:
        assert await service.result(await double.schedule(4)) == 8
    assert double.type.name.endswith("double")


# -- registries ---------------------------------------------------------------------------------


async def test_a_registry_holds_handlers_and_types_too(world: World) -> None:
    registry, service = JobRegistry(), world.service()

    @registry.handler("LOUD", retries=0)
    async def loud(job: Job[Any]) -> str:
        return str(job.data["text"]).upper()

    registry.declare("ONLY_SCHEDULED")
    service.include(registry)

    @registry.handler("LATE")
    async def late(job: Job[Any]) -> str:
        return "declared after it was included"

    async with service:
        assert await service.result(await service.schedule("LOUD", {"text": "hey"})) == "HEY"
        assert await service.result(await service.schedule("LATE")) is not None
        await service.schedule("ONLY_SCHEDULED")


async def test_including_twice_changes_nothing_and_a_clash_takes_nothing_over(
    world: World,
) -> None:
    service, registry = world.service(), JobRegistry()
    registry.register_handler("FIRST", lambda job: None)
    registry.register_handler("SECOND", lambda job: None)
    other = world.service()
    other.register_handler("SECOND", lambda job: None)
    service.include(registry)
    service.include(registry)
    assert service.handled_types == ["FIRST", "SECOND"]
    with pytest.raises(ConfigurationError, match="SECOND has a handler already"):
        other.include(registry)
    assert other.handled_types == ["SECOND"]


async def test_a_task_that_no_service_has_included_says_so() -> None:
    registry = JobRegistry()

    @registry.task
    def lonely() -> None:
        return

    with pytest.raises(ServiceError, match=r"service\.include\(registry\)"):
        await lonely.schedule()


@pytest.mark.parametrize("thing", [42, "text", Point])
def test_what_is_no_function_is_no_task(thing: Any) -> None:
    with pytest.raises(ConfigurationError, match="a task is made of a function"):
        JobRegistry().task(thing)


def test_unknown_options_and_unreadable_annotations_are_refused_at_once() -> None:
    registry = JobRegistry()
    with pytest.raises(ConfigurationError, match=r"retrys.*did you mean 'retries'"):
        registry.task(retrys=3)(tasks.add.function)  # type: ignore[call-arg]

    def unreadable(a: "Missing") -> None:  # type: ignore[name-defined]  # noqa: F821, UP037
        return

    with pytest.raises(ConfigurationError, match=r"Missing.*at run time"):
        registry.task(unreadable)
