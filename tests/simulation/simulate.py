"""One seed, from its plan to what is to be said of it."""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Callable
from typing import Final, Literal

import msgspec

from tests.simulation.checker import Violation, check
from tests.simulation.database import Database
from tests.simulation.files import Files
from tests.simulation.history import History, story
from tests.simulation.loop import Endless, SimLoop, no_garbage
from tests.simulation.plan import Plan, make_plan
from tests.simulation.world import Backends, Memory, World, run_world

__all__ = ["KINDS", "Kind", "Outcome", "simulate"]

Kind = Literal["memory", "files", "postgres"]
KINDS: Final[dict[Kind, Callable[[SimLoop], Backends]]] = {
    "memory": Memory,
    "files": Files,
    "postgres": Database,
}
"""What a world may stand on."""

TOLD: Final = 5
"""Violations of one world that are told at most; the first one is what matters."""


class Outcome(msgspec.Struct):
    """What came of a seed."""

    seed: int
    kind: Kind
    figures: Counter[str]
    summary: str
    digest: str
    """Of all that happened."""
    trouble: str
    """What was violated, with its story; nothing, if all is well."""
    events: str


def simulate(seed: int, *, kind: Kind = "memory") -> Outcome:
    """Runs a seed, and holds its history against the promises."""
    with no_garbage():
        return _simulate(make_plan(seed, shared_clock=kind == "files"), kind)


def _simulate(plan: Plan, kind: Kind) -> Outcome:
    seed, summary = plan.seed, _plan(plan)
    again = f"python3 dev.py simulate --seed {seed}{'' if kind == 'memory' else f' --{kind}'}"
    try:
        world = run_world(plan, KINDS[kind])
    except Endless as error:
        trouble = f"seed {seed}: {error}\nreplay: {again}"
        return Outcome(seed, kind, Counter(seeds=1), summary, "", trouble, "")
    violations = check(world)
    events = "\n".join(map(str, world.history.events))
    trouble = "".join(_tell(seed, one, world.history) for one in violations[:TOLD])
    return Outcome(
        seed, kind, _figures(world), summary, hashlib.sha256(events.encode()).hexdigest()[:16],
        f"{trouble}replay: {again}" if trouble else "", events,
    )  # fmt: skip


def _plan(plan: Plan) -> str:
    troubles = ", ".join(sorted(plan.troubles)) or "peace"
    return (
        f"{plan.workers} workers, {plan.producers} producers, {plan.seconds:g} s,"
        f" lease {plan.lease:g} s: {troubles}"
    )


def _figures(world: World) -> Counter[str]:
    counted = Counter(event.what for event in world.history.events)
    stands = Counter(str(outlook.status) for outlook in world.final.values())
    return Counter(
        {
            "seeds": 1,
            "jobs": len(world.server.ids),
            **{name: stands[name] for name in ("completed", "failed", "cancelled")},
            "runs": counted["begins"],
            "ticks decided": counted["fires"],
            "calls lost": world.network.faults,
            "crashes": counted["crashes"],
            "pauses": counted["stands still"] + counted["blocks its loop"],
            "leases lost": sum(
                len(event.more["names"])
                for event in world.history.events
                if event.what == "reclaims"
            ),
            "stale writes refused": counted["refuses"],
            "seconds": round(world.loop.time()),
        }
    )


def _tell(seed: int, violation: Violation, history: History) -> str:
    return (
        f"seed {seed}: promise {violation.promise} is broken at {violation.at:.4f} s:"
        f" {violation.what}\n{story(history, set(violation.jobs), violation.at)}\n"
    )
