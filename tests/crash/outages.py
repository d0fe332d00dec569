"""A server that goes and comes, and a network that does: what only a database in another process,
or on another machine, can do to those who use it."""

from __future__ import annotations

import time
from collections import Counter
from typing import Any, Literal

from tests.crash.grounds import Database
from tests.crash.stage import Stage
from tests.process.parts import Child, eventually
from tests.servers.wires import Wire

__all__ = ["broken_network", "restart_storm"]

KINDS = [*["QUICK", "NAP"] * 8, *["THREAD", "FLAKY"] * 4, "ISOLATED"]
TERMINATE = b"""
    SELECT count(pg_terminate_backend(pid)) FROM pg_stat_activity
    WHERE application_name = 'backroom' AND random() < 0.5
"""


def _database(stage: Stage) -> Database:
    assert isinstance(stage.ground, Database), "it is about a server"
    return stage.ground


# -- the server ----------------------------------------------------------------------------------


def restart_storm(stage: Stage) -> None:
    """The server is started anew, in order or as after a crash, and ends some of the connections,
    at any moment. Nobody loses a lease by that: so no attempt is charged, and none is wasted."""
    server = _database(stage).server
    stage.plan = {"kinds": KINDS, "seconds": 0.1}
    everybody = [
        stage.producer(),
        stage.producer("produce_and_work", concurrency=10),
        stage.worker(concurrency=10, isolated=True),
        stage.worker(concurrency=20),
    ]
    for child in everybody:
        eventually(lambda: stage.has_noted(child), "each works", 30)  # noqa: B023
    blows: Counter[str] = Counter()

    def enough() -> bool:
        return blows["fast"] > 0 and blows["immediate"] > 0 and blows["terminate"] > 1

    while stage.goes_on(enough(), "the server was spared"):
        stage.pause(1.0)
        blow = stage.chance.choice(["fast", "immediate", "terminate", "terminate"])
        blows[blow] += 1
        if blow == "terminate":
            [(ended,)] = server.execute(TERMINATE)
            blows["connections"] += ended
        else:
            server.restart("fast" if blow == "fast" else "immediate")
        _works_again(stage)
    stage.settle()
    stage.figures.append(
        f"{blows['fast']} restarts in order, {blows['immediate']} as in a crash,"
        f" {blows['connections']} connections ended, new jobs run after at most"
        f" {stage.longest:.1f} s"
    )


def _works_again(stage: Stage) -> None:
    """Jobs are acknowledged, and run to their end, that nobody had asked for before."""
    since = time.monotonic()

    def new() -> bool:
        asked = {e.job for e in stage.family.entries("acknowledged") if e.at > since}
        ended = {e.job for e in stage.family.entries("finished") if e.at > since}
        return len(asked & ended) > 5

    eventually(new, "new jobs are kept and run", 20)
    stage.longest = max(stage.longest, time.monotonic() - since)


# -- the network ---------------------------------------------------------------------------------


def broken_network(stage: Stage) -> None:
    """Each process has a way of its own to the server. It is cut, which costs nothing; or it
    stands still for three leases, which costs a worker its jobs: they run elsewhere, what it says
    of them afterwards is refused, and it works on."""
    server = _database(stage).server
    stage.plan = {
        "kinds": [*["NAP"] * 8, "THREAD", "THREAD", "FLAKY"],
        "seconds": 0.3,
        "pause": 0.2,
    }
    away = 3 * stage.ground.lease
    wires = [Wire(server.port) for _ in range(4)]
    try:
        processes = [
            *(_start(stage, wire, lease=stage.ground.lease, concurrency=8) for wire in wires[:3]),
            _start(stage, wires[3]),
        ]
        for child in processes:
            eventually(lambda: stage.has_noted(child), "each works", 30)  # noqa: B023
        blows: Counter[Literal["cut", "stood still"]] = Counter()
        while stage.goes_on(blows["cut"] > 2 and blows["stood still"] > 1, "the network was well"):
            stage.pause(0.7)
            if stage.chance.random() < 0.7:
                stage.chance.choice(wires).cut()
                blows["cut"] += 1
                continue
            place = stage.chance.randrange(3)
            stage.cut_off(
                processes[place],
                wires[place].stand_still,
                wires[place].go_on,
                away,
            )
            blows["stood still"] += 1
            _works(stage, processes[place])
        books = stage.settle()
    finally:
        for wire in wires:
            wire.close()
    if not books.crashes:
        stage.violations.append("no worker lost a job by an outage of three leases")
    refused = sum(worker.text.count("was not kept") for worker in processes[:3])
    stage.figures.append(
        f"{blows['cut']} times cut, {blows['stood still']} times stood still for {away:g} s,"
        f" {refused} stale outcomes refused"
    )


def _start(stage: Stage, wire: Wire, **worker: Any) -> Child:
    """A worker, or without settings a producer, on this way to the server."""
    stage.plan["storage"] = wire.url(stage.ground.url)
    child = stage.worker(**worker) if worker else stage.producer()
    del stage.plan["storage"]
    return child


def _works(stage: Stage, child: Child) -> None:
    again = time.monotonic()
    events = ("started", "acknowledged")
    eventually(
        lambda: any(e.pid == child.pid and e.at > again for e in stage.family.entries(*events)),
        "it works again",
        30,
    )
