"""Limits as applications say them: at handlers, at types, at queues."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from enum import Enum
from typing import Any, TypedDict
from uuid import UUID

import msgspec
import pytest

from backroom import (
    Concurrency,
    ConfigurationError,
    Job,
    JobService,
    JobType,
    MemoryJobStorage,
    OptionError,
    Rate,
)
from backroom.limit import Need, limits_of
from tests.engine.world import World


class Plan(Enum):
    FREE = "free"


@dataclass
class Owner:
    id: UUID
    plan: Plan = Plan.FREE


@dataclass
class Image:
    tenant_id: int
    owner: Owner | None = None


class Loose(TypedDict):
    tenant: str


class Packed(msgspec.Struct):
    tenant: str


def service(**options: Any) -> JobService:
    return JobService(MemoryJobStorage(), concurrency=20, poll_interval=0.05, **options)


class Meter:
    """How many run at once, by key, and at most so far."""

    def __init__(self) -> None:
        self.now: dict[Any, int] = {}
        self.most: dict[Any, int] = {}

    async def run(self, key: Any, seconds: float = 0.005, by: int = 1) -> None:
        self.now[key] = self.now.get(key, 0) + by
        self.most[key] = max(self.most.get(key, 0), self.now[key])
        await asyncio.sleep(seconds)
        self.now[key] -= by


async def test_a_handler_runs_so_many_of_each_key_at_once(world: World) -> None:
    jobs, meter = world.service(concurrency=20), Meter()

    @jobs.handler("RESIZE", limit=Concurrency(2, key="data.tenant_id"))
    async def resize(job: Job[Any]) -> None:
        await meter.run(job.data["tenant_id"])

    async with jobs:
        ids = [await jobs.schedule("RESIZE", {"tenant_id": n % 3}) for n in range(30)]
        for id_ in ids:
            await jobs.result(id_, timeout=20)
    assert meter.most == {0: 2, 1: 2, 2: 2}
    [limit] = await world.viewer.get_limits()
    assert (limit.used, limit.blocked) == (0, 0)


async def test_a_limit_holds_for_jobs_of_those_who_did_not_say_it(
    world: World, caplog: pytest.LogCaptureFixture
) -> None:
    """Another process, or this one before it had the limit; also a schedule of that time."""
    producer, jobs, meter = world.service(), world.service(concurrency=20), Meter()
    producer.declare("RESIZE")
    producer.declare("TRAIN")
    ids = [await producer.schedule("RESIZE", {"tenant": n % 2}) for n in range(12)]
    ids += [await producer.schedule("TRAIN", queue="gpu") for _ in range(9)]
    ids += [await producer.schedule("RESIZE", {"other": 1}) for _ in range(4)]
    await producer.every(1, "RESIZE", {"tenant": 7}, name="again", overlap="allow")
    jobs.limit("gpu", Concurrency(3))

    @jobs.handler("RESIZE", limit=Concurrency(1, key="data.tenant"))
    async def resize(job: Job[Any]) -> None:
        await meter.run(job.data.get("tenant"), 1.5 if job.data.get("tenant") == 7 else 0.02)

    @jobs.handler("TRAIN")
    async def train(job: Job[Any]) -> None:
        await meter.run("gpu")

    async with jobs:
        ids += [await producer.schedule("RESIZE", {"tenant": 0}) for _ in range(4)]
        for id_ in ids:
            await jobs.result(id_, timeout=20)
        await asyncio.sleep(6)
        infos = [await jobs.get_job(id_) for id_ in ids]
    assert meter.most == {0: 1, 1: 1, 7: 1, None: 1, "gpu": 3}
    assert {info.attempt for info in infos} == {1}
    told = [record.message for record in caplog.records if "without the limits" in record.message]
    assert len(told) == 2  # Once a type.


async def test_types_share_a_limit_by_its_name_and_a_queue_has_slots(world: World) -> None:
    jobs, meter = world.service(concurrency=20), Meter()
    jobs.limit("gpu", Concurrency(4))

    @jobs.handler("TRAIN", queue="gpu", slots=3)
    async def train(job: Job[Any]) -> None:
        await meter.run("gpu", by=3)

    @jobs.handler("INFER", queue="gpu", limit=Concurrency(2, name="model"))
    async def infer(job: Job[Any]) -> None:
        await asyncio.gather(meter.run("gpu"), meter.run("model"))

    @jobs.handler("EXPLAIN", limit=[Concurrency(2, name="model")])
    async def explain(job: Job[Any]) -> None:
        await meter.run("model")

    async with jobs:
        ids = [
            await jobs.schedule(name, {})
            for _ in range(6)
            for name in ("TRAIN", "INFER", "EXPLAIN", "INFER")
        ]
        for id_ in ids:
            await jobs.result(id_, timeout=20)
        assert {one.name: (one.most, one.used) for one in await jobs.get_limits()} == {
            "queue gpu": (4, 0), "model": (2, 0)
        }  # fmt: skip
    assert meter.most["gpu"] <= 4
    assert meter.most["model"] == 2


async def needs(jobs: JobService, type_: Any, data: Any) -> list[Need]:
    id_ = await jobs.schedule(type_, data)
    page = jobs.storage._read  # type: ignore[attr-defined]
    row = await page(
        lambda looks: looks.connection.execute(
            "SELECT options FROM job WHERE id = ?", (id_,)
        ).fetchone()
    )
    return list(limits_of(row[0]))


OWNER = Owner(UUID(int=1))


@pytest.mark.parametrize(
    ("type_", "path", "data", "key"),
    [
        (Image, "data.tenant_id", Image(7), "7"),
        (Image, "data.owner.id", Image(7, OWNER), str(UUID(int=1))),
        (Image, "data.owner.plan", Image(7, OWNER), "free"),
        (Loose, "data.tenant", {"tenant": "é"}, "é"),
        (Packed, "data.tenant", Packed("a b"), "a b"),
        (str, "data", "x", "x"),
        (None, "data.a.b", {"a": {"b": None}}, "null"),
        (None, "data.a", {"a": True}, "true"),
    ],
)
async def test_a_key_is_read_from_the_data(type_: Any, path: str, data: Any, key: str) -> None:
    jobs = service()
    limit = Concurrency(2, key=path)
    if type_ is None:
        jobs.register_handler("T", lambda job: None, limit=limit)
        kind: Any = "T"
    else:
        kind = JobType("T", type_, limit=limit)
    assert await needs(jobs, kind, data) == [Need(f"T by {path}", key, 1, 2)]
    info = (await jobs.get_jobs())[0]
    assert info.options == {}
    await jobs.stop()


@pytest.mark.parametrize(
    "data",
    [{}, {"other": 1}, {"tenant_id": {}}, {"tenant_id": "x" * 501}],
)
async def test_data_without_a_key_is_refused_and_nothing_kept(data: Any) -> None:
    jobs = service()
    jobs.register_handler("T", lambda job: None, limit=Concurrency(1, key="data.tenant_id"))
    with pytest.raises(OptionError, match=r"T: .*data\.tenant_id"):
        await jobs.schedule("T", data)
    assert len(await jobs.get_jobs()) == 0
    await jobs.stop()


def test_a_key_that_typed_data_lacks_is_refused_where_it_is_said() -> None:
    jobs = service()
    limit = Concurrency(1, key="data.tenant")
    with pytest.raises(ConfigurationError, match=r"T: there is no data\.tenant: .* has tenant_id"):
        jobs.register_handler(JobType("T", Image), lambda job: None, limit=limit)
    with pytest.raises(ConfigurationError, match="there is no"):
        jobs.declare(JobType("T", Image, limit=Concurrency(1, key="data.owner.name")))
    jobs.register_handler(JobType("T", Image), lambda job: None)  # Nothing was declared.


@pytest.mark.parametrize(
    "make",
    [
        lambda: Concurrency(0),
        lambda: Concurrency(10_001),
        lambda: Concurrency(True),
        lambda: Concurrency(2, slots=3),
        lambda: Concurrency(2, key="tenant"),
        lambda: Concurrency(2, key="data."),
        lambda: Concurrency(2, name=""),
    ],
)
def test_a_limit_out_of_its_range_is_refused(make: Any) -> None:
    with pytest.raises(OptionError):
        make()


async def test_limits_that_contradict_each_other_are_refused() -> None:
    jobs = service()
    for limit in (3, "3", [Concurrency(1), "x"], [Concurrency(1)] * 9):
        with pytest.raises(ConfigurationError, match="T: "):
            jobs.handler("T", limit=limit)  # type: ignore[call-overload]
    with pytest.raises(ConfigurationError, match="two limits are called 'T'"):
        jobs.register_handler("T", lambda job: None, limit=[Concurrency(1), Concurrency(2)])
    jobs.register_handler("A", lambda job: None, limit=Concurrency(1, name="x"))
    with pytest.raises(ConfigurationError, match="'x' is Concurrency"):
        jobs.register_handler("B", lambda job: None, limit=Concurrency(2, name="x"))
    with pytest.raises(ConfigurationError, match="limit of a queue"):
        jobs.limit("gpu", Concurrency(2, key="data.a"))
    jobs.limit("gpu", Concurrency(2))
    jobs.limit("gpu", Concurrency(2))
    with pytest.raises(ConfigurationError, match="two limits"):
        jobs.limit("gpu", Concurrency(3))
    jobs.register_handler("BIG", lambda job: None, slots=4)
    with pytest.raises(OptionError, match="has no limit here"):
        await jobs.schedule("BIG")
    with pytest.raises(OptionError, match="slots=4 is more than the 2"):
        await jobs.schedule("BIG", queue="gpu")
    assert len(await jobs.get_jobs()) == 0
    await jobs.stop()


async def test_types_of_a_queue_take_turns_by_the_key_in_their_data(world: World) -> None:
    jobs = world.service(concurrency=1)
    order: list[str] = []

    @jobs.handler("RESIZE", fair_by="data.tenant")
    async def resize(job: Job[Any]) -> None:
        order.append(job.data["tenant"])

    @jobs.handler(JobType("CROP", Loose, fair_by="data.tenant"))
    async def crop(job: Job[Loose]) -> None:
        order.append(job.data["tenant"])

    await jobs.open()
    for _ in range(20):
        await jobs.schedule("RESIZE", {"tenant": "many"})
    last = [await jobs.schedule("CROP", {"tenant": name}) for name in ("one", "two")]
    async with jobs:
        for id_ in last:
            await jobs.result(id_, timeout=20)
    assert set(order[:3]) == {"many", "one", "two"}
    await jobs.open()
    ticking = await jobs.every(60, "RESIZE", {"tenant": "many"})
    assert ticking.options == {}
    with pytest.raises(ConfigurationError, match=r"there is no data\.tenent: .*has tenant"):
        jobs.declare(JobType("X", Loose, fair_by="data.tenent"))
    with pytest.raises(ConfigurationError, match="key is where it stands"):
        jobs.handler("X", fair_by="tenant")
    jobs.register_handler("Y", lambda job: None, fair_by="data.tenant")
    await jobs.open()
    with pytest.raises(OptionError, match=r"Y: the data has no data\.tenant"):
        await jobs.schedule("Y", {})
    await jobs.stop()


async def test_a_rate_spreads_starts(world: World) -> None:
    jobs, at = world.service(concurrency=20), []

    @jobs.handler("CALL", limit=Rate(20, per=1, key="data.api"))
    async def call(job: Job[Any]) -> None:
        at.append(world.elapsed)

    async with jobs:
        ids = [await jobs.schedule("CALL", {"api": "x"}) for _ in range(8)]
        for id_ in ids:
            await jobs.result(id_, timeout=20)
        [limit] = await jobs.get_limits()
    assert limit.per == 1.0
    assert [round(moment - at[0], 3) for moment in at] == [
        0.0, 0.0, 0.0, 0.05, 0.1, 0.15, 0.2, 0.25
    ]  # fmt: skip  # A tenth of a second, two steps of it, may be made up for.


@pytest.mark.parametrize(
    "make",
    [
        lambda: Rate(0, per=1),
        lambda: Rate(1, per=0),
        lambda: Rate(1, per=-1),
        lambda: Rate(5, per=1, burst=6),
        lambda: Rate(5, per=1, burst=0),
        lambda: Rate(1_000_000, per=0.5),
        lambda: Rate(1, per=1, key="x"),
        lambda: Rate(1, per="1"),  # type: ignore[arg-type]
    ],
)
def test_a_rate_out_of_its_range_is_refused(make: Any) -> None:
    with pytest.raises(OptionError):
        make()


def test_a_rate_allows_for_workers_that_are_a_little_late() -> None:
    rates = [Rate(n, per=1).record("rate") for n in (1, 5, 10, 100, 1000)]
    assert [rate.at_once for rate in rates] == [1, 1, 2, 11, 101]
    assert [rate.slack for rate in rates] == [100_000] * 5
    assert Rate(5, per=1, burst=1).record("rate").slack == 0
    assert Rate(5, per=1, burst=3).record("rate").at_once == 3
    assert Rate(5, per=1, burst=1) != Rate(5, per=1)
