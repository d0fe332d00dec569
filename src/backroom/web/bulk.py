"""Changes of many jobs that go on behind the answer: begun, watched, and stopped where need be.

They live in this process, and end with it: what was changed by then stands, and whoever wants the
rest asks again.
"""

from __future__ import annotations

import asyncio
import logging
import secrets
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any, Final, Literal, get_args

import msgspec

from backroom.errors import BackroomError
from backroom.inspecting import BulkProgress
from backroom.stats import Count
from backroom.web.operations import BulkVerb, Operations
from backroom.web.problem import Problem

__all__ = ["BULK_VERBS", "Bulk", "BulkVerb", "Operation"]

log = logging.getLogger("backroom.web")

BULK_VERBS: Final[tuple[BulkVerb, ...]] = get_args(BulkVerb)

MOST_RUNNING: Final = 4
"""At once; each looks through the storage."""
MOST_KEPT: Final = 100
"""Operations that are remembered; the oldest that have ended go."""
SOON: Final = 0.1
"""Seconds for which its begin waits: what is refused at once is refused in the answer."""


class Operation(msgspec.Struct, frozen=True, kw_only=True):
    """A change of many jobs, at one moment."""

    id: str
    verb: BulkVerb
    which: dict[str, Any]
    """The filter, as it was said; or of how many jobs there were `ids`."""
    actor: str
    state: Literal["running", "done", "failed", "stopped"] = "running"
    expected: int
    """How many jobs matched before it began."""
    exact: bool
    """False: at least so many."""
    looked: int = 0
    changed: int = 0
    refused: int = 0
    """Jobs that match, and could not be changed."""
    begun_at: datetime
    ended_at: datetime | None = None
    error: str | None = None

    @property
    def told(self) -> bool:
        """Whether what was expected still says something: no more than that was changed."""
        return self.changed <= self.expected and (self.exact or self.changed < self.expected)

    @property
    def share(self) -> float | None:
        """How much of it is done, 0 to 1; None: more match than were counted."""
        if self.state == "done":
            return 1.0
        met = self.changed + self.refused
        if met < self.expected:
            return met / self.expected
        return float(met > 0) if self.exact else None


class _Running:
    """One of them, and the task that does it."""

    def __init__(self, operation: Operation) -> None:
        self.operation = operation  # Kept when it has ended, so without a thousand ids.
        self.task: asyncio.Task[None] | None = None

    def tell(self, progress: BulkProgress) -> None:
        self.set(looked=progress.looked, changed=progress.changed, refused=progress.refused)

    def set(self, **changes: Any) -> None:
        self.operation = msgspec.structs.replace(self.operation, **changes)

    def end(self, state: str, **changes: Any) -> None:
        self.set(state=state, ended_at=datetime.now(UTC), **changes)


class Bulk:
    """All of them, of one web application."""

    def __init__(self) -> None:
        self._known: dict[str, _Running] = {}

    async def begin(
        self, operations: Operations, actor: str, verb: BulkVerb, which: Mapping[str, Any],
        count: Count, **said: Any,
    ) -> Operation:  # fmt: skip
        """Begins one; `said`: as `Operations.change_jobs`. What makes no sense, the storage's verb
        says before this returns.

        Raises:
            Problem: 503, as many as may be are running. BackroomError: the verb refused it.
        """
        running = sum(one.operation.state == "running" for one in self._known.values())
        if running >= MOST_RUNNING:
            raise Problem(
                503, "busy", f"{MOST_RUNNING} changes of many jobs are running; wait for one of"
                " them, or stop it", headers={"Retry-After": "5"},
            )  # fmt: skip
        told = {**which, "ids": len(which["ids"])} if "ids" in which else dict(which)
        one = _Running(
            Operation(
                id=secrets.token_hex(8), verb=verb, which=told, actor=actor,
                expected=count.jobs, exact=count.exact, begun_at=datetime.now(UTC),
            )
        )  # fmt: skip
        one.task = asyncio.create_task(self._run(one, operations, which, said), name=f"bulk {verb}")
        self._known[one.operation.id] = one
        self._forget()
        await asyncio.wait([one.task], timeout=SOON)
        if one.task.done() and not one.task.cancelled() and (error := one.task.exception()):
            del self._known[one.operation.id]
            raise error
        return one.operation

    async def _run(
        self, one: _Running, operations: Operations, which: Mapping[str, Any],
        said: Mapping[str, Any],
    ) -> None:  # fmt: skip
        operation = one.operation
        try:
            changed = await operations.change_jobs(operation.verb, which, one.tell, **said)
        except asyncio.CancelledError:
            one.end("stopped")
            raise
        except BackroomError as error:
            one.end("failed", error=str(error))
            if one.operation.looked == 0:
                raise
            log.warning("%s of many jobs ended early: %s", operation.verb, error)
        except Exception:
            one.end("failed", error="this failed; the log of the server says why")
            log.exception("%s of many jobs failed", operation.verb)
        else:
            one.end("done", changed=changed)

    def _forget(self) -> None:
        for id_, one in list(self._known.items()):
            if len(self._known) <= MOST_KEPT:
                return
            if one.operation.state != "running":
                del self._known[id_]

    def find(self, id_: str) -> Operation:
        """
        Raises:
            Problem: 404, this process knows none of that id.
        """
        return self._find(id_).operation

    def _find(self, id_: str) -> _Running:
        one = self._known.get(id_)
        if one is None:
            raise Problem(
                404, "not-found", f"this process knows no operation {id_[:100]!r}; it may be one of"
                " another process, and one ends with the process that runs it: the audit record"
                " tells what it changed", at="path.id",
            )  # fmt: skip
        return one

    def all(self) -> tuple[Operation, ...]:
        """Newest first."""
        return tuple(one.operation for one in reversed(self._known.values()))

    async def stop(self, id_: str, who: str) -> Operation:
        """Ends one between two pages of jobs; what was done stands. One that has ended stays so.

        Raises:
            Problem: 404.
        """
        one = self._find(id_)
        if one.task is not None and not one.task.done():
            one.task.cancel(f"stopped by {who}")
            await asyncio.wait([one.task])
        return one.operation

    def close(self) -> None:
        """Stops all that run."""
        for one in self._known.values():
            if one.task is not None:
                one.task.cancel("its process was stopped")

    async def settle(self) -> None:
        """After `close`: until it is written down of each that it was interrupted."""
        running = [one.task for one in self._known.values() if one.task and not one.task.done()]
        if running:
            await asyncio.wait(running)
