"""Strict order, and nothing starves (promise 12)."""

from __future__ import annotations

from tests.mutants.mutant import Mutant

__all__ = ["MUTANTS"]

MUTANTS = (
    Mutant(
        name="starving-claimed-first",
        promises=(12,),
        guard="the starvation bound: every eighth claim takes the oldest job that starves",
        file="storage/sqlite/claims.py",
        old="    if want.starving:",
        new="    if want.starving < 0:",
        tests=("contract/test_claims.py",),
    ),
    Mutant(
        name="starving-asked-for",
        promises=(12,),
        guard="a worker asks for the oldest starving job with every eighth claim",
        file="lanes.py",
        old="starving = (self._claimed + rooms[3]) // EVERY - self._claimed // EVERY",
        new="starving = 0",
        tests=("unit/test_lanes.py", "engine/test_order.py"),
    ),
    Mutant(
        name="starving-started-first",
        promises=(12,),
        guard="every eighth start inside a worker is the oldest that starves",
        file="lanes.py",
        old="        if self._turn % EVERY == 0:",
        new="        if self._turn < 0:",
        tests=("unit/test_lanes.py", "engine/test_order.py"),
    ),
    Mutant(
        name="starving-bound",
        promises=(12,),
        guard="only what has been due for long enough overtakes",
        file="lanes.py",
        old="if lane and lane[0].run_at <= now - self._starvation",
        new="if lane and lane[0].run_at <= now",
        tests=("unit/test_lanes.py", "engine/test_order.py"),
    ),
    Mutant(
        name="order-by-priority",
        promises=(12,),
        guard="a claim takes what has the higher priority first",
        file="storage/sqlite/claims.py",
        old="""
        tries = 0
        for priority in range(4):
        """,
        new="""
        tries = 0
        for priority in (2, 1, 0, 3):
        """,
        tests=("contract/test_claims.py",),
    ),
    Mutant(
        name="order-by-time",
        promises=(12,),
        guard="within a priority a claim takes what was due first",
        file="storage/sqlite/claims.py",
        old="""
            SELECT * FROM job WHERE {_WAITING} AND priority = ?2 AND run_at <= ?3
            ORDER BY run_at, key LIMIT ?4)
        """,
        new="""
            SELECT * FROM job WHERE {_WAITING} AND priority = ?2 AND run_at <= ?3
            ORDER BY key LIMIT ?4)
        """,
        tests=("contract/test_claims.py",),
    ),
    Mutant(
        name="order-by-insertion",
        promises=(12,),
        guard="of what was due at the same moment a claim takes what was inserted first",
        file="storage/sqlite/claims.py",
        old="""
            SELECT * FROM job WHERE {_WAITING} AND priority = ?2 AND run_at <= ?3
            ORDER BY run_at, key LIMIT ?4)
        """,
        new="""
            SELECT * FROM job WHERE {_WAITING} AND priority = ?2 AND run_at <= ?3
            ORDER BY run_at, key DESC LIMIT ?4)
        """,
        tests=("contract/test_claims.py",),
    ),
    Mutant(
        name="order-across-queues",
        promises=(12,),
        guard="of several queues a claim takes the oldest of all of them",
        file="storage/sqlite/claims.py",
        old="[key for _, key in sorted(oldest)[:room]]",
        new="[key for _, key in oldest[:room]]",
        tests=("contract/test_claims.py",),
    ),
    Mutant(
        name="order-in-the-lanes",
        promises=(12,),
        guard="inside a worker what has the higher priority starts first",
        file="lanes.py",
        old="""
        for lane in self._lanes:
            if lane:
                return lane.popleft()
        """,
        new="""
        for lane in reversed(self._lanes):
            if lane:
                return lane.popleft()
        """,
        tests=("unit/test_lanes.py", "engine/test_order.py"),
    ),
    Mutant(
        name="room-for-the-critical",
        promises=(12,),
        guard="a worker full of low jobs has room for a critical one",
        file="lanes.py",
        old="            rooms.append(max(0, room - better))",
        new="            rooms.append(max(0, room - self.held))",
        tests=("unit/test_lanes.py", "engine/test_order.py"),
    ),
    Mutant(
        name="inserts-do-not-overtake",
        promises=(12,),
        guard="a new job does not pass straight to a worker while one of its priority waits",
        file="storage/sqlite/inserts.py",
        old="open_ = open_ and (run_at is None or run_at > now)",
        new="open_ = open_ and (run_at is None or run_at >= 0)",
        tests=("contract/test_direct_claims.py",),
    ),
    Mutant(
        name="not-before-its-time",
        promises=(12,),
        guard="a job is not claimed before its time",
        file="storage/sqlite/claims.py",
        old="""
            SELECT * FROM job WHERE {_WAITING} AND priority = ?2 AND run_at <= ?3
            ORDER BY run_at, key LIMIT ?4)
        """,
        new="""
            SELECT * FROM job WHERE {_WAITING} AND priority = ?2 AND ifnull(?3, 0)
            ORDER BY run_at, key LIMIT ?4)
        """,
        tests=("contract/test_claims.py",),
    ),
    Mutant(
        name="paused-queues-wait",
        promises=(12,),
        guard="nothing of a paused queue is claimed",
        file="storage/sqlite/claims.py",
        old="            if not paused:",
        new="            if first:",
        tests=("contract/test_claims.py",),
    ),
)
