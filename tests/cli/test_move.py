"""`backroom move`: from one durable storage to another, from the command line."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import cast

import pytest

from backroom import DatabaseJobStorage, FileJobStorage, moving
from backroom.baggage import Baggage, Unpacked, checksum
from backroom.errors import JobStateError, StorageError
from backroom.inspecting import Filter
from backroom.moving import Move
from backroom.ports import House
from tests.cli.parts import Terminal, backroom
from tests.contract.flows import Flows
from tests.contract.parts import Bench, SettableClock
from tests.process.parts import Family, eventually_async
from tests.servers.fixtures import PostgresPlace


def url_of(place: PostgresPlace) -> str:
    return f"{place.url}?search_path={place.schema}"


@pytest.fixture
def folder(tmp_path: Path) -> str:
    return f"file:{tmp_path / 'jobs'}"


class Opened:
    """A bench at a store that a command line names; closed before a command runs."""

    def __init__(self, url: str) -> None:
        self._url = url

    async def __aenter__(self) -> Bench:
        self._storage: House = (
            FileJobStorage(self._url.removeprefix("file:"))
            if self._url.startswith("file:")
            else DatabaseJobStorage(self._url)
        )
        await self._storage.open()
        clock = SettableClock()
        return Bench(self._storage, clock)

    async def __aexit__(self, *_: object) -> None:
        await self._storage.close()


async def all_jobs(url: str) -> list[Baggage]:
    async with Opened(url) as bench:
        jobs, after = list[Baggage](), None
        while True:
            some, after = await bench.storage.copies(after, 1000, True)  # type: ignore[attr-defined]
            jobs += some
            if after is None:
                return jobs


async def test_a_folder_moves_to_a_server_and_back(
    folder: str, postgres_url: PostgresPlace, tmp_path: Path
) -> None:
    async with Opened(folder) as bench:
        done, worker, claim = await bench.running(queue="reports")
        await bench.finish(worker, bench.completed(claim, '"fine"'))
        await bench.storage.retire(worker)
        await bench.add_many(2500, data='{"n":1}', delay=10**9)
        await bench.add_many(10, queue="mail")
        await bench.storage.pause("mail", True)
    before = await all_jobs(folder)
    database = url_of(postgres_url)

    shown = backroom("move", folder, database, "--dry-run")
    assert shown.code == 0, shown.err
    assert "2,510 jobs would be moved" in shown.out
    assert await all_jobs(database) == []

    shown = backroom("move", folder, database)
    assert shown.code == 0, shown.err
    assert "moved          2,510 in" in shown.out
    assert "paused queues  mail" in shown.out
    waiting = [job for job in before if job.id != done]
    assert f"{checksum(waiting):032x}" in shown.out
    assert await all_jobs(database) == waiting
    assert [job.id for job in await all_jobs(folder)] == [done]

    shown = backroom("move", folder, database, "--history", "--json")
    told = json.loads(shown.out)
    assert (shown.code, told["moved"], told["source"]) == (0, {"completed": 1}, folder)
    assert await all_jobs(folder) == []
    async with Opened(database) as bench:
        assert (await bench.storage.queues())["mail"]
        assert (await bench.info(done)).result == "fine"

    back = f"file:{tmp_path / 'back'}"
    shown = backroom("move", database, back, "--history", "--json")
    assert shown.code == 0, shown.err
    assert json.loads(shown.out)["checksum"] == f"{checksum(before):032x}"
    assert sorted(await all_jobs(back), key=lambda job: job.id) == sorted(
        before, key=lambda job: job.id
    )
    assert await all_jobs(database) == []


async def test_jobs_that_run_are_not_moved_under_their_workers(family: Family) -> None:
    folder, there = f"file:{family.jobs}", f"file:{family.folder / 'there'}"
    family.ready(concurrency=2)
    async with Opened(folder) as bench:
        running = [await bench.add(type="GATE", run_at=0) for _ in range(2)]
        await eventually_async(lambda: len(family.starts()) == 2, "both run")
        waits = await bench.add(type="QUICK", delay=10**9)
    shown = backroom("move", folder, there)
    assert (shown.code, "are held by" in shown.err, "--wait" in shown.err) == (1, True, True)
    assert not (family.folder / "there" / "jobs.db").exists() or await all_jobs(there) == []

    mover = family.start("-m", "backroom", "move", folder, there, "--wait", "--json")
    async with Opened(there) as bench:
        await eventually_async(
            lambda: bench.storage.find(waits, bench.now), "what waits is there first"
        )
        assert mover.code is None
    family.gate()
    assert mover.ends() == 0, mover.text
    async with Opened(folder) as bench:
        jobs, _ = await bench.storage.page(Filter(), bench.now, 10, None)
        assert {(job.id, str(job.status)) for job in jobs} == {
            (job, "completed") for job in running
        }
    assert family.starts() == Counter(running)


async def test_a_dead_worker_is_waited_for_by_nobody(family: Family) -> None:
    folder, there = f"file:{family.jobs}", f"file:{family.folder / 'there'}"
    worker = family.ready()
    async with Opened(folder) as bench:
        job = await bench.add(type="GATE", options='{"retries":3}', run_at=0)
        await eventually_async(lambda: family.starts()[job] == 1, "it runs")
    worker.kill()
    shown = backroom("move", folder, there, "--json")
    assert shown.code == 0, shown.err
    [moved] = await all_jobs(there)
    assert (moved.id, moved.attempt, moved.crashes) == (job, 1, 1)


async def test_keys_that_the_target_holds(folder: str, postgres_url: PostgresPlace) -> None:
    database = url_of(postgres_url)
    async with Opened(folder) as bench:
        mine = await bench.add(unique_key="invoice-7", delay=10**9)
        other = await bench.add(delay=10**9)
    async with Opened(database) as bench:
        held = await bench.add(unique_key="invoice-7", delay=10**9)

    for options in ([], ["--dry-run"]):
        shown = backroom("move", folder, database, *options)
        assert shown.code == 1
        assert "invoice-7" in shown.err
        assert held in shown.err
        assert len(await all_jobs(folder)) == 2

    shown = backroom("move", folder, database, "--same-keys", "stay")
    assert (shown.code, mine in shown.out, held in shown.out) == (1, True, True)
    assert [job.id for job in await all_jobs(folder)] == [mine]
    assert {job.id for job in await all_jobs(database)} == {held, other}

    shown = backroom("move", folder, database, "--same-keys", "cancel")
    assert shown.code == 0, shown.err
    async with Opened(database) as bench:
        info = await bench.info(mine)
        assert (str(info.status), info.error) == (
            "cancelled",
            f"its unique key 'invoice-7' is held by job {held}",
        )
    assert await all_jobs(folder) == []


async def test_what_makes_no_sense_is_refused(
    folder: str, tmp_path: Path, postgres_url: PostgresPlace
) -> None:
    async with Opened(folder) as bench:
        await bench.add()
    async with Opened(url_of(postgres_url)):
        pass
    (tmp_path / "link").symlink_to(tmp_path / "jobs")
    nobody = "postgresql://ada:hunter22@127.0.0.1:1/app"
    for source, target, code, says in (
        (folder, folder, 2, "are the same store"),
        (folder, f"file:{tmp_path / 'link'}", 2, "are the same store"),
        (url_of(postgres_url), url_of(postgres_url), 2, "are the same store"),
        (folder, "memory:", 2, "memory: is none"),
        (folder, "mysql://localhost/app", 2, "is no storage"),
        (folder, nobody, 1, "no connection to postgresql://ada:***@"),
        (f"file:{tmp_path / 'nothing'}", folder, 2, "there is no job store"),
    ):
        shown = backroom("move", source, target)
        assert (shown.code, says in shown.err) == (code, True), (source, target, shown)
        assert "hunter22" not in shown.err
    assert len(await all_jobs(folder)) == 1
    assert not (tmp_path / "nothing").exists()


async def test_a_move_that_has_not_ended_is_ended_before_another_begins(
    folder: str, tmp_path: Path
) -> None:
    there, elsewhere = f"file:{tmp_path / 'there'}", f"file:{tmp_path / 'elsewhere'}"
    async with Opened(folder) as bench, Opened(there) as target:
        jobs = await bench.add_many(3)
        source, house = bench.storage, target.storage
        number = await house.number()  # type: ignore[attr-defined]
        parcel, _ = await source.pack(None, 2, False, number, there)  # type: ignore[attr-defined]
        await house.unpack(parcel.jobs[:1])  # type: ignore[attr-defined]
    found = {one["check"]: one for one in json.loads(
        backroom("doctor", "--storage", folder, "--json").out)}  # fmt: skip
    assert f"a move to {there} has not ended: 2 jobs or more" in found["move"]["says"]
    assert found["move"]["mend"].endswith(f"backroom move {folder} {there}")
    shown = backroom("move", folder, elsewhere)
    assert (shown.code, f"to {there} has not ended" in shown.err) == (1, True), shown
    shown = backroom("move", folder, there)
    assert shown.code == 0, shown.err
    assert "there already  1, by their ids" in shown.out
    assert [job.id for job in await all_jobs(there)] == jobs
    assert await all_jobs(folder) == []


async def test_a_workflow_that_was_packed_is_told_and_goes_on_there(
    folder: str, postgres_url: PostgresPlace
) -> None:
    there = url_of(postgres_url)
    async with Opened(folder) as bench, Opened(there) as target:
        flows = Flows(bench)
        await flows.make("a b", "a>b")
        number = await cast(House, target.storage).number()
        assert await cast(House, bench.storage).pack_flows(10, False, number, there) is not None
    found = {one["check"]: one for one in json.loads(
        backroom("doctor", "--storage", folder, "--json").out)}  # fmt: skip
    assert f"a move to {there} has not ended: 1 workflow or more" in found["move"]["says"]
    shown = backroom("move", folder, there)
    assert shown.code == 0, shown.err
    assert "workflows  1" in shown.out
    async with Opened(there) as bench:
        here = Flows(bench)
        here.id, here.ids, here.names = flows.id, flows.ids, flows.names
        assert await here.statuses() == "a:pending b:blocked"


async def test_too_many_refusals_stop_a_move_and_leave_no_job_out_of_reach(
    tmp_path: Path, postgres_url: PostgresPlace, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(moving, "MOST_REFUSED", 2)
    async with (
        Opened(f"file:{tmp_path / 'jobs'}") as bench,
        Opened(url_of(postgres_url)) as there,
    ):
        jobs = [await bench.add(id=f"NO-UUID-{n}") for n in range(3)] + [await bench.add()]
        source, target = cast(House, bench.storage), cast(House, there.storage)
        with pytest.raises(JobStateError, match=r"refused 3 jobs, more than 2, .* UUIDs"):
            await Move(source, target).run()
        assert sorted((await bench.page())[0]) == sorted(jobs[:3])
        assert (await there.page())[0] == jobs[3:]
        assert await source.parcel() is None
        monkeypatch.undo()
        moved = await Move(source, target).run()
        assert sorted(moved.stayed) == jobs[:3]
        assert sorted((await bench.page())[0]) == jobs[:3]


async def test_a_target_that_goes_away_leaves_what_was_packed_for_the_next_move(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(moving, "PARCEL", 2)
    async with (
        Opened(f"file:{tmp_path / 'jobs'}") as bench,
        Opened(f"file:{tmp_path / 'there'}") as there,
    ):
        jobs = await bench.add_many(6)
        source, target = cast(House, bench.storage), cast(House, there.storage)
        unpack, told = target.unpack, list[tuple[int, int]]()

        async def once(parcel: Sequence[Baggage]) -> Unpacked:
            monkeypatch.setattr(target, "unpack", gone)
            return await unpack(parcel)

        async def gone(parcel: Sequence[Baggage]) -> Unpacked:
            raise StorageError("it has gone")

        monkeypatch.setattr(target, "unpack", once)
        with pytest.raises(StorageError, match="it has gone; 2 jobs have arrived, and"):
            await Move(source, target).run()
        monkeypatch.setattr(target, "unpack", unpack)
        assert await source.parcel() is not None
        moved = await Move(source, target, progress=lambda *said: told.append(said)).run()
        assert (moved.moved, moved.known, moved.whole) == ({"pending": 4}, 0, True)
        assert told == [(2, 4), (4, 4)]
        assert (await there.page())[0] == jobs[::-1]


async def test_a_service_says_where_its_jobs_are(
    tmp_path: Path, postgres_url: PostgresPlace
) -> None:
    (tmp_path / "app.py").write_text(
        "from backroom import DatabaseJobStorage, JobService\n"
        f"service = JobService(DatabaseJobStorage({postgres_url.url!r},"
        f" schema={postgres_url.schema!r}))\n"
    )
    folder = f"file:{tmp_path / 'jobs'}"
    async with Opened(folder) as bench:
        job = await bench.add()
    assert backroom("move", folder, "app:service", cwd=tmp_path).code == 0
    assert [one.id for one in await all_jobs(url_of(postgres_url))] == [job]
    assert backroom("move", "app:service", folder, cwd=tmp_path).code == 0
    assert [one.id for one in await all_jobs(folder)] == [job]


async def test_a_terminal_sees_a_move_pass(folder: str, tmp_path: Path) -> None:
    async with Opened(folder) as bench:
        await bench.add_many(2)
    terminal = Terminal("move", folder, f"file:{tmp_path / 'there'}")
    assert terminal.ends() == 0, terminal.text
    assert "moved" in terminal.text
    assert "checksum" in terminal.text
