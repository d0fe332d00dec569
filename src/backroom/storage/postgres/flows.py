"""What becomes of flows as their jobs end: who waited is let go, or cancelled, in the same change.

Whoever ends jobs of a flow holds the row of the flow first, and in order where there are several:
what such a transaction reads of a flow stays so until it commits, and of two that end the last two
jobs that something waits for, the second one sees what the first has done.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final

import msgspec

from backroom.flow import Role, made_now
from backroom.job import JobRecord
from backroom.storage.postgres import turns
from backroom.storage.postgres.statements import Statements
from backroom.storage.postgres.texts import from_text, to_text
from backroom.storage.reasons import doomed, not_all

__all__ = ["close", "ended", "name_queues", "weave"]

CHUNK: Final = 2000
"""Jobs a statement."""


async def ended(link: Any, text: Statements, ids: Sequence[Any], now: int) -> None:
    """Some of these jobs have ended, whose flows are locked: of those that belong to flows, all is
    done that follows."""
    while ids:
        rows = await link.fetch(text["account"], ids, now)
        ids = await _doom_behind(link, text, [vain for kind, *vain in rows if kind], now)
        ids += await close(link, text, [flow for kind, _, _, flow in rows if not kind], now)


async def _doom_behind(link: Any, text: Statements, rows: Sequence[Any], now: int) -> list[Any]:
    """Cancels those that have waited for what did not complete, and all that wait for these."""
    if not rows:
        return []
    causes: dict[Any, Any] = {}
    for _, cause, flow in rows:  # One for each flow: each job is met once.
        causes.setdefault(flow, cause)
    said = await link.fetch(text["causes"], list(causes.values()))
    why = {id_: doomed(str(id_), from_text(type_), state) for id_, type_, state in said}
    reasons = [to_text(why[causes[flow]]) for *_, flow in rows]
    return await _doom(link, text, [job for job, _, _ in rows], reasons, now)


async def _doom(
    link: Any, text: Statements, jobs: Sequence[Any], reasons: Sequence[str], now: int
) -> list[Any]:
    return [row[0] for row in await link.fetch(text["doom"], jobs, reasons, now)]


async def close(link: Any, text: Statements, flows: Sequence[Any], now: int) -> list[Any]:
    """What follows where flows have no job left; returns the callbacks that are not to run."""
    if not flows:
        return []
    rows = await link.fetch(text["callbacks"], flows)
    go = [job for job, wanted, _ in rows if wanted]
    if go:
        await link.fetch(text["free"], go, now)
    stay = [(job, not_all(str(flow))) for job, wanted, flow in rows if not wanted]
    gone: list[Any] = []
    if stay:
        gone = await _doom(link, text, [job for job, _ in stay], [why for _, why in stay], now)
    for row in await link.fetch(text["to_undo"], flows):
        await _undo(link, text, row[0], now)
    await link.execute(text["finished"], flows, now)
    return gone


async def _undo(link: Any, text: Statements, flow: Any, now: int) -> None:
    """Makes the undo jobs of what had completed: one behind the other, that of the last first."""
    rows = await link.fetch(text["what_to_undo"], flow)
    if not rows:
        return
    records = [made_now(_decoder.decode(undo), now) for _, undo in rows]
    ids = [one.id for one in records]
    await name_queues(link, text, records)
    await weave(
        link, text, flow, records, [Role.UNDO] * len(ids), [True] * len(ids),
        [int(index > 0) for index in range(len(ids))], [None] * len(ids),
    )  # fmt: skip
    await turns.take_later(link, text, records[:1])
    parents = [*ids[:-1], *(job for job, _ in rows)]
    done = [False] * (len(ids) - 1) + [True] * len(ids)
    await link.execute(text["add_edges"], parents, [*ids[1:], *ids], done)
    await link.execute(text["undone"], flow, len(ids))


async def name_queues(link: Any, text: Statements, records: Sequence[JobRecord]) -> None:
    """Before `weave`: the queues of the jobs have a row."""
    await link.execute(text["new_queues"], sorted({to_text(one.queue) for one in records}))


async def weave(
    link: Any,
    text: Statements,
    flow: Any,
    records: Sequence[JobRecord],
    roles: Sequence[int],
    anyway: Sequence[bool],
    waits: Sequence[int],
    undo: Sequence[str | None],
) -> None:
    """Keeps new jobs of a flow, those that wait for others in a place of their own."""
    for at in range(0, len(records), CHUNK):
        part = slice(at, at + CHUNK)
        some = records[part]
        await link.execute(
            text["weave"], [one.id for one in some], [to_text(one.type) for one in some],
            [to_text(one.queue) for one in some], [one.priority for one in some],
            [one.run_at for one in some], [one.created_at for one in some],
            [one.data for one in some], [one.options for one in some],
            [one.expires_at for one in some], list(map(int, roles[part])), list(anyway[part]),
            list(waits[part]), list(undo[part]), flow,
            [None if one.hold and one.hold.until is not None else to_text(one.unique_key)
             for one in some],
        )  # fmt: skip


_decoder: Final = msgspec.json.Decoder(JobRecord)
