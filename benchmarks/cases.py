"""One measurement each, run in a process of its own: `python -m benchmarks.cases NAME JSON`."""

from __future__ import annotations

import asyncio
import json
import os
import resource
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final

import psycopg

from backroom import (
    DatabaseJobStorage,
    FileJobStorage,
    Job,
    JobRequest,
    JobService,
    MemoryJobStorage,
)
from backroom import blocking as blocking_face
from benchmarks import flow_cases, limit_cases, raw, raw_postgres, watch_cases
from benchmarks.counter import Counter
from benchmarks.raw_postgres import lsn

DATA = json.loads(raw.PAYLOAD)
WARM = 20
"""Jobs before those whose wait counts."""


def storage_at(place: str, table: str | None = None) -> FileJobStorage | DatabaseJobStorage:
    """In a folder, or in the database of a URL, in tables of a name."""
    if "://" not in place:
        return FileJobStorage(place)
    return DatabaseJobStorage(place, table_name=table or "background_jobs")


def service(
    directory: str, counter: Counter | None = None, *, table: str | None = None, **settings: Any
) -> JobService:
    """`directory`: or the URL of a database, where the jobs may have tables of another name."""
    made = JobService(storage_at(directory, table), **{"concurrency": 100, **settings})
    if counter is None:
        made.declare("NOOP")
    else:
        made.register_handler("NOOP", counter.handle)
    return made


async def produce(jobs: JobService, count: int, producers: int) -> None:
    async def producer(share: int) -> None:
        for _ in range(share):
            await jobs.schedule("NOOP", DATA)

    await asyncio.gather(*(producer(count // producers) for _ in range(producers)))


async def recorded(jobs: JobService) -> None:
    """Until every outcome is durable."""
    while not jobs.idle:
        await asyncio.sleep(0.001)


async def settled(jobs: JobService, count: int) -> None:
    """Until so many jobs are recorded as completed."""
    while (await jobs.get_stats()).by_status["completed"] < count:
        await asyncio.sleep(0.01)


async def together(directory: str, count: int, producers: int) -> dict[str, float]:
    """Producers and worker in one process; from the first schedule to the last record."""
    counter = Counter(count)
    jobs = service(directory, counter)
    await jobs.start()
    began = time.perf_counter()
    await produce(jobs, count, producers)
    acknowledged = time.perf_counter() - began
    await counter.reached.wait()
    await settled(jobs, count)
    took = time.perf_counter() - began
    await jobs.stop()
    return {"rate": count / took, "schedule_rate": count / acknowledged}


async def apart(directory: str, count: int, producers: int) -> dict[str, float]:
    """A worker process, and this process, which only schedules."""
    worker = spawn("worker", {"directory": directory, "count": count})
    assert worker.stdout is not None
    await asyncio.to_thread(worker.stdout.readline)
    jobs = service(directory)
    await jobs.open()
    began = time.perf_counter()
    await produce(jobs, count, producers)
    acknowledged = time.perf_counter() - began
    await asyncio.to_thread(worker.stdout.readline)
    took = time.perf_counter() - began
    await jobs.stop()
    worker.wait()
    return {"rate": count / took, "schedule_rate": count / acknowledged}


async def worker(directory: str, count: int) -> dict[str, float]:
    """The worker process of `apart`."""
    counter = Counter(count)
    jobs = service(directory, counter)
    await jobs.start()
    print("ready", flush=True)
    await counter.reached.wait()
    await settled(jobs, count)
    print("done", flush=True)
    await jobs.stop()
    return {}


async def scheduling(directory: str, count: int, producers: int) -> dict[str, float]:
    """Producers alone: each awaits its `schedule` before the next."""
    jobs = service(directory)
    await jobs.open()
    began = time.perf_counter()
    await produce(jobs, count, producers)
    took = time.perf_counter() - began
    await jobs.stop()
    return {"rate": count / took}


async def bulk(directory: str, count: int) -> dict[str, float]:
    jobs = service(directory)
    await jobs.open()
    requests = [JobRequest("NOOP", DATA) for _ in range(count)]
    began = time.perf_counter()
    await jobs.schedule_many(requests)
    took = time.perf_counter() - began
    await jobs.stop()
    return {"rate": count / took}


async def drain(
    directory: str, count: int, backlog: int = 0, beside: bool = False
) -> dict[str, float]:
    """Jobs that wait already; with `backlog`, so many pending and so many future ones more."""
    counter = Counter(count)
    jobs = service(directory, counter)
    if beside:
        stop = threading.Event()

        def burn(job: Job[Any]) -> None:
            number = 0
            while not stop.is_set():
                number += 1

        jobs.register_handler("BURN", burn, priority="critical")
        await jobs.schedule("BURN", {})
    filled = spawn("fill", {"directory": directory, "count": count, "backlog": backlog})
    await asyncio.to_thread(filled.communicate)
    began = time.perf_counter()
    await jobs.start()
    await counter.reached.wait()
    took = time.perf_counter() - began
    figures = {"rate": count / took, "rss_mb": rss()}
    if beside:
        stop.set()
    await jobs.stop()
    return figures


async def fill(
    directory: str, count: int, backlog: int, table: str | None = None
) -> dict[str, float]:
    """The jobs that `drain` finds, scheduled by another process."""
    jobs = service(directory, table=table)
    for at in range(0, count + backlog, 50_000):
        share = min(50_000, count + backlog - at)
        await jobs.schedule_many([JobRequest("NOOP", DATA)] * share)
    for at in range(0, backlog, 50_000):
        share = min(50_000, backlog - at)
        await jobs.schedule_many([JobRequest("NOOP", DATA, delay=86_400)] * share)
    await jobs.stop()
    return {}


COMPLETED: Final = "SELECT coalesce(sum(jobs), 0) FROM {}_tally WHERE state = 2"


async def shared(directory: str, count: int, workers: int, apart: bool = False) -> dict[str, float]:
    """So many worker processes on one backlog: jobs a second together, and the part of their
    claims that found nothing though jobs were due, in percent. `apart`: each has its part of it in
    tables of its own, and shares the server with the others, and the cores."""
    tables = [f"part{number}" for number in range(workers if apart else 1)]
    stores = [service(directory, table=table) for table in tables]
    for jobs in stores:
        await jobs.open()
        await jobs.pause_queue("default")
    part = count // len(tables)
    for table in tables:
        filled = spawn(
            "fill", {"directory": directory, "count": part, "backlog": 0, "table": table}
        )
        await asyncio.to_thread(filled.communicate)
    children = [
        spawn("sharer", {"directory": directory, "table": tables[number % len(tables)]})
        for number in range(workers)
    ]
    for child in children:
        assert child.stdout is not None
        await asyncio.to_thread(child.stdout.readline)
    began = time.perf_counter()
    await asyncio.gather(*(jobs.resume_queue("default") for jobs in stores))
    with psycopg.connect(directory, autocommit=True) as looking:
        for table in tables:  # A look at all figures would take its part of the cores.
            while looking.execute(COMPLETED.format(table).encode()).fetchall()[0][0] < part:
                await asyncio.sleep(0.02)
    took = time.perf_counter() - began
    said = [json.loads((await asyncio.to_thread(child.communicate, "stop\n"))[0])
            for child in children]  # fmt: skip
    for jobs in stores:
        await jobs.stop()
    claims, vain = sum(one["claims"] for one in said), sum(one["vain"] for one in said)
    return {"rate": count / took, "conflicts": 100 * vain / claims}


async def sharer(directory: str, table: str) -> dict[str, float]:
    """A worker of `shared`."""
    figures = {"claims": 0.0, "vain": 0.0}
    jobs = service(directory, Counter(0), table=table)
    claim = jobs.storage.claim

    async def counted(worker: int, want: Any, now: int) -> Any:
        claimed = await claim(worker, want, now)
        figures["claims"] += 1
        figures["vain"] += not claimed.claims and claimed.more
        return claimed

    jobs.storage.claim = counted  # type: ignore[method-assign]
    await jobs.start()
    print("ready", flush=True)
    await asyncio.to_thread(sys.stdin.readline)
    await jobs.stop()
    return figures


async def held(directory: str, seconds: float) -> dict[str, float]:
    """Jobs a second under a steady load, before and while another session holds a snapshot; of
    the second, only the last third counts. Before the first, so many have run that the tables are
    larger than the server's own buffers: until then it is faster whatever others hold."""
    counter = Counter(0)
    jobs = service(directory, counter)
    await jobs.start()
    sent = 0
    ended = False

    async def load() -> None:
        nonlocal sent
        while not ended:
            if sent - counter.count < 4000:
                await jobs.schedule_many([JobRequest("NOOP", DATA)] * 500)
                sent += 500
            else:
                await asyncio.sleep(0.001)

    async def rate(over: float) -> float:
        before, began = counter.count, time.perf_counter()
        await asyncio.sleep(over)
        return (counter.count - before) / (time.perf_counter() - began)

    loading = asyncio.create_task(load())
    await asyncio.sleep(seconds / 3)
    figures = {"before": await rate(seconds / 3)}
    with psycopg.connect(directory) as holder:
        holder.execute("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ")
        holder.execute("SELECT count(*) FROM background_jobs_queues")
        await asyncio.sleep(seconds * 2 / 3)
        figures["held"] = await rate(seconds / 3)
    ended = True
    await loading
    await recorded(jobs)
    await jobs.stop()
    return figures


async def traces(directory: str, count: int) -> dict[str, float]:
    """What whole lives of jobs leave behind: bytes of WAL a job, and dead rows in all tables."""
    with psycopg.connect(directory, autocommit=True) as connection:
        counter = Counter(count)
        jobs = service(directory, counter)
        await jobs.start()
        before = lsn(connection)
        for _ in range(0, count, 1000):
            await jobs.schedule_many([JobRequest("NOOP", DATA)] * 1000)
        await counter.reached.wait()
        await recorded(jobs)
        wal = (lsn(connection) - before) / count
        await jobs.stop()
        most = 0
        for _ in range(20):  # The statistics come a moment later.
            row = connection.execute("SELECT sum(n_dead_tup) FROM pg_stat_user_tables").fetchone()
            most = max(most, int(row[0]) if row else 0)
            await asyncio.sleep(0.1)
        live = connection.execute(
            "SELECT sum(pg_total_relation_size(relid)) FROM pg_stat_user_tables"
            " WHERE relname LIKE '%ready' OR relname LIKE '%held'"
        ).fetchone()
    return {"wal": wal, "dead": most, "live_mb": int(live[0] if live else 0) / 2**20}


async def costs(directory: str, count: int) -> dict[str, float]:
    """Processor time a job, in microseconds, of this process and of the server on this machine;
    and bytes of WAL: of scheduling one by one, of scheduling many, of working."""
    figures: dict[str, float] = {}
    with psycopg.connect(directory, autocommit=True) as connection:
        row = connection.execute("SELECT pg_read_file('postmaster.pid')").fetchone()
        server = int(str(row[0]).split()[0]) if row else 0

        @asynccontextmanager
        async def told(name: str, many: int) -> AsyncIterator[None]:
            before = (time.process_time(), spent_by(server), lsn(connection))
            began = time.perf_counter()
            yield
            after = (time.process_time(), spent_by(server), lsn(connection))
            figures[f"{name}_rate"] = many / (time.perf_counter() - began)
            for what, was, now in zip(("client", "server", "wal"), before, after, strict=True):
                figures[f"{name}_{what}"] = (now - was) / many * (1 if what == "wal" else 1e6)

        counter = Counter(2 * count)
        jobs = service(directory, counter)
        await jobs.open()
        async with told("one", count):
            await produce(jobs, count, 50)
        async with told("many", count):
            await jobs.schedule_many([JobRequest("NOOP", DATA)] * count)
        async with told("work", 2 * count):
            await jobs.start()
            await counter.reached.wait()
            await recorded(jobs)
        await jobs.stop()
    return figures


def spent_by(postmaster: int) -> float:
    """Processor seconds of a server and all its processes, those that have ended included."""
    clock = os.sysconf("SC_CLK_TCK")
    children = Path(f"/proc/{postmaster}/task/{postmaster}/children").read_text().split()
    ticks = 0
    for pid in (str(postmaster), *children):
        try:
            fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
        except OSError:
            continue  # It has just ended.
        ticks += sum(map(int, fields[11 : 15 if pid == str(postmaster) else 13]))
    return ticks / clock


async def orphans(directory: str, count: int) -> dict[str, float]:
    """One of two worker processes dies with so many jobs claimed: seconds until all of them
    run, or have run, elsewhere."""
    seen: set[str] = set()
    everything = asyncio.Event()

    async def handle(job: Job[Any]) -> None:
        seen.add(job.id)
        if len(seen) == count:
            everything.set()

    jobs = service(directory)
    await jobs.open()
    await jobs.schedule_many([JobRequest("NOOP", DATA)] * count)
    child = spawn("holder", {"directory": directory, "count": count})
    assert child.stdout is not None
    await asyncio.to_thread(child.stdout.readline)
    await jobs.stop()
    rescuer = JobService(storage_at(directory), concurrency=count)
    rescuer.register_handler("NOOP", handle)
    await rescuer.start()
    await asyncio.sleep(2)
    assert not seen, "the other one holds them all"
    child.kill()
    began = time.perf_counter()
    child.wait()
    await asyncio.wait_for(everything.wait(), 60)
    took = time.perf_counter() - began
    await rescuer.stop()
    return {"seconds": took}


async def holder(directory: str, count: int) -> dict[str, float]:
    """The one of `orphans` that dies."""
    running = 0

    async def handle(job: Job[Any]) -> None:
        nonlocal running
        running += 1
        if running == count:
            print("all", flush=True)
        await asyncio.sleep(3600)

    jobs = JobService(storage_at(directory), concurrency=count)
    jobs.register_handler("NOOP", handle)
    await jobs.start()
    await asyncio.sleep(3600)
    return {}


async def latency(
    directory: str, count: int, elsewhere: bool, pause: float = 0.02
) -> dict[str, float]:
    """One job after the other, so many seconds apart; from `schedule` to the handler's start, in
    milliseconds. The first ones are not counted: they make connections and plans."""
    waits: list[float] = []
    count += WARM

    async def handle(job: Job[Any]) -> None:
        waits.append((time.perf_counter() - job.data["at"]) * 1e3)

    jobs = service(directory)
    if elsewhere:
        child = spawn("answer", {"directory": directory, "count": count})
        assert child.stdout is not None
        await asyncio.to_thread(child.stdout.readline)
        await jobs.open()
    else:
        jobs.register_handler("PING", handle)
        await jobs.start()
    jobs.declare("PING")
    for _ in range(count):
        await jobs.schedule("PING", {"at": time.perf_counter()})
        await asyncio.sleep(pause)
    if elsewhere:
        waits = json.loads(await asyncio.to_thread(child.stdout.readline))
        child.wait()
    await jobs.stop()
    return spread(waits)


def spread(waits: list[float]) -> dict[str, float]:
    """Without the first ones."""
    waits = sorted(waits[WARM:])
    return {"p50": waits[len(waits) // 2], "p99": waits[len(waits) * 99 // 100]}


async def answer(directory: str, count: int) -> dict[str, float]:
    """The other process of `latency`."""
    waits: list[float] = []
    done = asyncio.Event()

    async def handle(job: Job[Any]) -> None:
        waits.append((time.perf_counter() - job.data["at"]) * 1e3)
        if len(waits) == count:
            done.set()

    jobs = service(directory)
    jobs.register_handler("PING", handle)
    await jobs.start()
    print("ready", flush=True)
    await done.wait()
    print(json.dumps(waits), flush=True)
    await jobs.stop()
    return {}


async def lateness(directory: str, count: int, seconds: float) -> dict[str, float]:
    """Jobs due over some seconds; how late each handler starts, in milliseconds."""
    late: list[float] = []
    done = asyncio.Event()

    async def handle(job: Job[Any]) -> None:
        late.append(time.time() * 1e3 - job.data["due"])
        if len(late) == count:
            done.set()

    jobs = service(directory)
    jobs.register_handler("DUE", handle)
    await jobs.start()
    first = time.time() + 2
    requests = []
    for index in range(count):
        due = first + seconds * index / count
        # Not a delay: these are counted from the moment of `schedule_many`.
        moment = datetime.fromtimestamp(due, UTC)
        requests.append(JobRequest("DUE", {"due": due * 1e3}, run_at=moment))
    await jobs.schedule_many(requests)
    await done.wait()
    await jobs.stop()
    late.sort()
    return {"p50": late[count // 2], "p99": late[count * 99 // 100]}


async def where(directory: str, count: int) -> dict[str, float]:
    """Processor time a job by thread, in microseconds: of `together` with 500 producers, and of
    `drain`."""
    counter = Counter(count)
    jobs = service(f"{directory}/together", counter)
    await jobs.start()
    before = threads()
    await produce(jobs, count, 500)
    await counter.reached.wait()
    await recorded(jobs)
    figures = {f"together {name}": spent for name, spent in spent_since(before, count).items()}
    await jobs.stop()

    counter = Counter(count)
    filled = spawn("fill", {"directory": f"{directory}/drain", "count": count, "backlog": 0})
    await asyncio.to_thread(filled.communicate)
    jobs = service(f"{directory}/drain", counter)
    await jobs.start()
    before = threads()
    await counter.reached.wait()
    await recorded(jobs)
    figures |= {f"drain {name}": spent for name, spent in spent_since(before, count).items()}
    await jobs.stop()
    return figures


def threads() -> dict[str, float]:
    """Processor seconds of the loop's thread and of the writer's."""
    clock = os.sysconf("SC_CLK_TCK")
    used: dict[str, float] = {}
    for thread in threading.enumerate():
        name = {"MainThread": "loop", "backroom-writer": "writer"}.get(thread.name)
        if name is not None:
            fields = Path(f"/proc/self/task/{thread.native_id}/stat").read_text().split()
            used[name] = (int(fields[13]) + int(fields[14])) / clock
    return used


def spent_since(before: dict[str, float], count: int) -> dict[str, float]:
    return {name: (now - before.get(name, 0)) / count * 1e6 for name, now in threads().items()}


async def idle(directory: str, seconds: float) -> dict[str, float]:
    """A worker with nothing to do: its processor time and its memory."""
    jobs = service(directory, Counter(1))
    await jobs.start()
    await asyncio.sleep(1)
    before = time.process_time()
    await asyncio.sleep(seconds)
    used = time.process_time() - before
    memory = rss()
    await jobs.stop()
    return {"cpu_percent": 100 * used / seconds, "rss_mb": memory}


async def bare_idle(directory: str, seconds: float) -> dict[str, float]:
    """A loop that wakes ten times a second for nothing: what a machine takes for that alone."""

    async def wake() -> None:
        while True:
            await asyncio.sleep(0.1)

    waking = asyncio.create_task(wake())
    await asyncio.sleep(1)
    before = time.process_time()
    await asyncio.sleep(seconds)
    used = time.process_time() - before
    waking.cancel()
    return {"cpu_percent": 100 * used / seconds}


async def leak(directory: str, count: int) -> dict[str, float]:
    """Jobs in a row, half a thousand at a time; memory after a tenth of them and at the end."""
    counter = Counter(count)
    jobs = service(directory, counter)
    await jobs.start()
    await produce(jobs, count // 10, 500)
    await recorded(jobs)
    early = rss()
    await produce(jobs, count - count // 10, 500)
    await counter.reached.wait()
    await recorded(jobs)
    figures = {"early_mb": early, "late_mb": rss()}
    await jobs.stop()
    return figures


def nothing(job: Job[Any]) -> None:
    """A handler for threads and child processes."""


def spin(job: Job[Any]) -> int:
    """Some 20 ms of pure Python."""
    return burn()


def burn() -> int:
    total = 0
    for number in range(400_000):
        total += number & 7
    return total


async def handlers(directory: str, count: int, kind: str) -> dict[str, float]:
    """Jobs that wait already, with a handler of one kind."""
    jobs = JobService(FileJobStorage(directory), concurrency=100 if kind != "process" else 2)
    name = "NOTHING"
    if kind == "async":

        @jobs.handler(name)
        async def on_the_loop(job: Job[Any]) -> None:
            return

    elif kind == "task":

        @jobs.task(name=name)
        async def task(template: str, recipient: str, text: str) -> None:
            return

    else:
        isolation = "process" if kind == "process" else "none"
        jobs.register_handler(name, nothing, isolation=isolation)  # type: ignore[arg-type]
    data = task.type.data(**DATA) if kind == "task" else DATA
    await jobs.open()
    await jobs.schedule_many([JobRequest(name, data)] * count)
    await jobs.start()
    began = time.perf_counter()
    while (await jobs.get_stats()).by_status["completed"] < count:
        await asyncio.sleep(0.005)
    took = time.perf_counter() - began
    await jobs.stop()
    return {"rate": count / took}


async def starting(directory: str, count: int) -> dict[str, float]:
    """Milliseconds of a Python that starts, and of the same that imports, or shows help."""

    def least(*arguments: str) -> float:
        times: list[float] = []
        for _ in range(count):
            began = time.perf_counter()
            subprocess.run([sys.executable, *arguments], capture_output=True, check=True)
            times.append(time.perf_counter() - began)
        return min(times) * 1e3

    bare = least("-c", "pass")
    return {
        "import_ms": least("-c", "import backroom") - bare,
        "help_ms": least("-m", "backroom", "--help"),
    }


async def raw_copy(directory: str, count: int) -> dict[str, float]:
    """COPY by hand, into the tables that the storage made."""
    storage = DatabaseJobStorage(directory)
    await storage.open()
    await storage.close()
    return raw_postgres.copy(directory, count)


async def raw_latency(directory: str, count: int, pause: float = 0.02) -> dict[str, float]:
    """The bare way from one process to another: a row and a NOTIFY are committed, who listens takes
    the row and commits that; in milliseconds from before the insert. `word`: the NOTIFY alone."""
    count += WARM
    with psycopg.connect(directory, autocommit=True) as connection:
        connection.execute(raw_postgres.TABLE.encode())
        child = spawn("raw_listener", {"directory": directory, "count": count})
        assert child.stdout is not None
        await asyncio.to_thread(child.stdout.readline)
        for _ in range(count):
            job = raw_postgres.columns(1)
            with connection.transaction():
                began = time.perf_counter()
                connection.execute(raw_postgres.INSERT, job)
                connection.execute("SELECT pg_notify('raw', %s)", [str(began)])
            await asyncio.sleep(pause)
        for _ in range(count):
            connection.execute("SELECT pg_notify('raw', %s)", [f"-{time.perf_counter()}"])
            await asyncio.sleep(pause)
        waits = json.loads(await asyncio.to_thread(child.stdout.readline))
        child.wait()
    return spread(waits[:count]) | {"word": spread(waits[count:])["p50"]}


async def raw_listener(directory: str, count: int) -> dict[str, float]:
    """The other process of `raw_latency`."""
    waits: list[float] = []
    with (
        psycopg.connect(directory, autocommit=True) as listening,
        psycopg.connect(directory, autocommit=True) as working,
    ):
        listening.execute("LISTEN raw")
        print("ready", flush=True)
        for said in listening.notifies():
            if not said.payload.startswith("-"):  # A job came with it.
                working.execute(raw_postgres.CLAIM, (raw.now(), 1, 1, raw.now())).fetchall()
            waits.append((time.perf_counter() - abs(float(said.payload))) * 1e3)
            if len(waits) == 2 * count:
                break
    print(json.dumps(waits), flush=True)
    return {}


def workers(folder: str, processes: int) -> subprocess.Popen[bytes]:
    """`backroom worker` on `spinning.py`."""
    command = [sys.executable, "-m", "backroom", "worker", "benchmarks.spinning:service"]
    command += ["--processes", str(processes), "--concurrency", "1"]
    env = {**os.environ, "BENCH_FOLDER": folder}
    return subprocess.Popen(command, env=env, stderr=subprocess.DEVNULL)


async def scaling(directory: str, count: int) -> dict[str, float]:
    """How much faster two are than one: worker processes, and bare Python processes."""

    def bare(processes: int) -> float:
        code = f"from benchmarks.cases import burn\nfor _ in range({count // processes}): burn()"
        began = time.perf_counter()
        children = [subprocess.Popen([sys.executable, "-c", code]) for _ in range(processes)]
        for child in children:
            child.wait()
        return time.perf_counter() - began

    async def ours(processes: int) -> float:
        folder = f"{directory}/{processes}"
        service = JobService(FileJobStorage(folder))
        service.declare("SPIN")
        await service.schedule_many([JobRequest("SPIN")] * count)
        worker = workers(folder, processes)
        while not (await service.get_stats()).by_status["active"]:
            await asyncio.sleep(0.002)
        began = time.perf_counter()
        while (await service.get_stats()).by_status["completed"] < count:
            await asyncio.sleep(0.01)
        took = time.perf_counter() - began
        worker.terminate()
        worker.wait()
        await service.stop()
        return took

    return {"bare": bare(1) / bare(2), "ours": await ours(1) / await ours(2)}


async def blocking(directory: str, count: int) -> dict[str, float]:
    """What a call costs more when it is not awaited but waited for, from another thread, in
    microseconds: calls in turn, medians. On a storage in memory, so that no disk is measured;
    then, to compare, a `schedule` on disk both ways, and the bare way to a loop and back.

    Once with both threads on one core, and once as the system places them: there the machine's
    price for waking an idle core comes on top, twice, which is 2 us here and 60 there.
    """
    one = await asyncio.to_thread(_both_ways, MemoryJobStorage(), count, one_core=True)
    free = await asyncio.to_thread(_both_ways, MemoryJobStorage(), count)
    disk = await asyncio.to_thread(_both_ways, FileJobStorage(directory), count // 10)
    figures = {"disk_blocking": disk["blocking schedule"], "disk_async": disk["async schedule"]}
    for name, took in (("one", one), ("free", free)):
        figures[f"{name}_look"] = took["blocking look"] - took["async look"]
        figures[f"{name}_schedule"] = took["blocking schedule"] - took["async schedule"]
        figures[f"{name}_bare"] = took["bare"]
    return figures


def _both_ways(storage: Any, count: int, *, one_core: bool = False) -> dict[str, float]:
    if not one_core:
        return _timed_both_ways(storage, count)
    cores = os.sched_getaffinity(0)
    os.sched_setaffinity(0, {min(cores)})  # Of this thread, and of the loop's that it starts.
    try:
        return _timed_both_ways(storage, count)
    finally:
        os.sched_setaffinity(0, cores)


def _timed_both_ways(storage: Any, count: int) -> dict[str, float]:
    made = blocking_face.JobService(storage)
    made.declare("NOOP")
    job_id = made.schedule("NOOP", DATA)
    portal = made.service.loop
    assert portal is not None
    took: dict[str, list[float]] = {}
    bare = threading.Lock()
    bare.acquire()

    def timed(name: str, began: float) -> None:
        took.setdefault(name, []).append((time.perf_counter() - began) * 1e6)

    async def awaited() -> None:
        for _ in range(20):
            began = time.perf_counter()
            await made.service.get_job_status(job_id)
            timed("async look", began)
            began = time.perf_counter()
            await made.service.schedule("NOOP", DATA)
            timed("async schedule", began)

    for _ in range(count // 20):
        asyncio.run_coroutine_threadsafe(awaited(), portal).result()
        for _ in range(20):
            began = time.perf_counter()
            made.get_job_status(job_id)
            timed("blocking look", began)
            began = time.perf_counter()
            made.schedule("NOOP", DATA)
            timed("blocking schedule", began)
            began = time.perf_counter()
            portal.call_soon_threadsafe(bare.release)
            bare.acquire()
            timed("bare", began)
    made.stop()
    return {name: statistics.median(times) for name, times in took.items()}


def rss() -> float:
    """Megabytes of memory of this process now."""
    try:
        pages = int(Path("/proc/self/statm").read_text().split()[1])
    except OSError:
        return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    return pages * os.sysconf("SC_PAGE_SIZE") / 2**20


def spawn(name: str, arguments: dict[str, Any]) -> subprocess.Popen[str]:
    command = [sys.executable, "-m", "benchmarks.cases", name, json.dumps(arguments)]
    return subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)


CASES = {
    case.__name__: case
    for case in (
        together, apart, worker, scheduling, bulk, shared, sharer, held, traces, costs,
        orphans, holder, raw_latency, raw_listener,
        drain, fill, latency, answer, lateness, where, idle, bare_idle, leak,
        blocking, handlers, starting, scaling,
        flow_cases.ticks, flow_cases.handled, flow_cases.unique, flow_cases.edges,
        flow_cases.stepped,
        watch_cases.watched, watch_cases.busy,
        limit_cases.limited, limit_cases.behind_blocked, limit_cases.turns,
    )
}  # fmt: skip


def main() -> None:
    name, arguments = sys.argv[1], json.loads(sys.argv[2])
    if name == "raw":
        print(json.dumps(raw.measure(**arguments)))
        return
    if name == "raw_postgres":
        print(json.dumps(raw_postgres.measure(**arguments)))
        return
    if name == "raw_copy":
        print(json.dumps(asyncio.run(raw_copy(**arguments))))
        return
    case: Any = CASES[name]
    if "directory" in arguments:
        print(json.dumps(asyncio.run(case(**arguments))))
        return
    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as scratch:
        print(json.dumps(asyncio.run(case(f"{scratch}/jobs", **arguments))))


if __name__ == "__main__":
    main()
