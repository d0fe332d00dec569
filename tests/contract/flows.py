"""Workflows as the tests of the contract say them: jobs by one-word names, edges by `a>b`."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, cast

from backroom.flow import (
    Counts,
    FlowKind,
    FlowRecord,
    FlowView,
    Member,
    OnFailure,
    Piece,
    Role,
    WorkflowStatus,
)
from backroom.flowing import Flowing
from backroom.identity import JobIds
from backroom.job import Hold, JobRecord, JobStatus
from backroom.tie import tied
from backroom.transition import Claim
from tests.contract.parts import Bench

__all__ = ["KEYED", "Flows"]

KEYED = "KEYED"
"""The type of all jobs with a unique key: a key is of its type."""

_ids = JobIds()


class Flows:
    """A bench with one flow, whose jobs have names."""

    def __init__(self, bench: Bench) -> None:
        assert bench.storage.capabilities.flowing
        self.bench = bench
        self.storage = cast(Flowing, bench.storage)
        self.id = _ids(bench.now)
        self.ids: dict[str, str] = {}
        """By name."""
        self.names: dict[str, str] = {}

    def record(self, name: str, **fields: Any) -> JobRecord:
        said = {"type": name.upper(), "options": tied(None, workflow=self.id)}
        record = self.bench.record(**{**said, **fields})
        self.ids[name], self.names[record.id] = record.id, name
        return record

    def holding(self, key: str, until: int | None) -> dict[str, Any]:
        """The fields of a job of this flow with a unique key; `until` as `Hold.until`."""
        options = None if until is None else f'{{"unique_key":"{key}"}}'
        return {
            "type": KEYED, "unique_key": key, "hold": Hold(until, "raise"),
            "options": tied(options, workflow=self.id),
        }  # fmt: skip

    def edges(self, text: str) -> list[tuple[str, str]]:
        """`a>b a>c`: b and c wait for a."""
        pairs = [one.split(">") for one in text.split()]
        return [(self.ids[parent], self.ids[child]) for parent, child in pairs]

    def piece(
        self,
        jobs: str,
        edges: str = "",
        *,
        anyway: str = "",
        undo: str = "",
        callbacks: str = "",
        keys: str = "",
        until: int | None = None,
        **fields: Any,
    ) -> Piece:
        """`undo`: the names of jobs that have an undo job, of that name and `-undo`. `keys`: the
        unique keys of some, as `a:k b:l`, held `until`, as `Hold.until`."""
        held = {
            name: self.holding(key, until)
            for name, key in (pair.split(":") for pair in keys.split())
        }
        records = {
            name: self.record(name, **{**held.get(name, {}), **fields}) for name in jobs.split()
        }
        undos = {name: self.record(f"{name}-undo") for name in undo.split()}
        members = [
            Member(record, Role.JOB, name in anyway.split(), undos.get(name))
            for name, record in records.items()
        ]
        members += [
            Member(self.record(name, **held.get(name, {})), Role.CALLBACK, name in anyway.split())
            for name in callbacks.split()
        ]
        return Piece(members, self.edges(edges))

    async def make(
        self,
        jobs: str,
        edges: str = "",
        *,
        on_failure: OnFailure = "stop",
        kind: FlowKind = "workflow",
        **said: Any,
    ) -> Piece:
        piece = self.piece(jobs, edges, **said)
        await self.put(piece, on_failure, kind)
        return piece

    async def put(
        self, piece: Piece, on_failure: OnFailure = "stop", kind: FlowKind = "workflow"
    ) -> None:
        record = FlowRecord(self.id, "import", kind, on_failure, self.bench.now)
        await self.storage.insert_flow(record, piece, self.bench.now)

    # -- what workers do -------------------------------------------------------------------------

    async def claim(self, worker: int) -> dict[str, Claim]:
        """All that is due, by name."""
        claims: dict[str, Claim] = {}
        while True:
            claimed = await self.bench.look(worker, queues=None)
            claims |= {self.names[claim.id]: claim for claim in claimed.claims}
            if not claimed.more:
                return claims

    async def run(self, worker: int, **outcomes: str) -> str:
        """Claims all that is due, and ends it: with what is said of it by its name ("failed",
        "cancelled"), else completed. Returns the names, sorted."""
        claims = await self.claim(worker)
        transitions = [
            self.outcome(claim, outcomes.get(name.replace("-", "_"), "completed"), name)
            for name, claim in claims.items()
        ]
        if transitions:
            assert all(await self.bench.finish(worker, *transitions))
        return " ".join(sorted(claims))

    def outcome(self, claim: Claim, how: str, name: str = "") -> Any:
        if how == "failed":
            return self.bench.failed(claim)
        if how == "cancelled":
            return self.bench.cancelled(claim)
        return self.bench.completed(claim, f'"{name}"')

    async def end(self, worker: int, claim: Claim, how: str = "completed") -> None:
        assert await self.bench.finish(worker, self.outcome(claim, how)) == [True]

    # -- what people see -------------------------------------------------------------------------

    async def view(self, limit: int = 1000) -> FlowView:
        view = await self.storage.flow(self.id, self.bench.now, limit)
        assert view is not None
        return view

    async def counts(self) -> Counts:
        return (await self.view()).kept.counts

    async def status(self) -> WorkflowStatus:
        return (await self.counts()).status

    async def statuses(self) -> str:
        """`a:completed b:blocked`, sorted."""
        view = await self.view()
        return " ".join(sorted(f"{self.names[id_]}:{status}" for id_, _, status, *_ in view.jobs))

    async def of(self, *names: str) -> list[JobStatus]:
        return [await self.bench.status(self.ids[name]) for name in names]

    async def results(
        self, claim: Claim, type_: str | None = None, limit: int = 1000
    ) -> Sequence[tuple[str, str, str | None]]:
        """Name, status and result of those that it has waited for."""
        found: list[tuple[str, str, str | None]] = []
        after = None
        while True:
            page = await self.storage.predecessors(claim.key, type_, after, limit)
            found += [(self.names[one.id], str(one.status), one.result) for one in page]
            if len(page) < limit:
                return found
            after = page[-1].id
