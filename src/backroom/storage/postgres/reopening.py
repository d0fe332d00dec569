"""Jobs of flows that run again: what was cancelled for them waits again, and what waits for them
waits for them anew. The rows of their flows are locked, as where jobs end."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from backroom.flow import Role
from backroom.flowing import key_held, not_undone, on_its_way, why_barred
from backroom.storage.postgres import turns
from backroom.storage.postgres.statements import Statements
from backroom.storage.postgres.texts import from_text
from backroom.storage.postgres.ties import hold_members
from backroom.storage.restoring import restorable

__all__ = ["apart", "barred", "check_keys", "reopened", "retry"]


async def retry(link: Any, text: Statements, flow: Any, undone: bool, now: int) -> int:
    """See `Flowing.retry_flow`."""
    if undone:
        raise not_undone(str(flow))
    jobs: list[Any] = []
    for role in (Role.JOB, Role.CALLBACK):
        if not jobs:
            rows = await link.fetch(text["not_completed"], flow, int(role))
            jobs = [row[0] for row in rows]
    await link.execute(text["let_go_for"], jobs, [3, 4], now)
    again = [row[0] for row in await link.fetch(text["again"], jobs, now, [3, 4])]
    await check_keys(link, text, set(jobs).difference(again), [3, 4])
    blocked = await reopened(link, text, again, now)
    await turns.take_again(link, text, again, now)
    return len(again) - blocked


async def barred(
    link: Any, text: Statements, jobs: Sequence[Any], job_id: str | None = None
) -> set[Any]:
    """Those of these jobs that may not run again; their flows are locked now.

    Raises, where `job_id` names the only one: `JobStateError`: it may not.
    """
    members = await hold_members(link, text, jobs)
    rows = await link.fetch(text["barred"], jobs)
    if job_id is not None and rows:
        [(_, flow, undone, away)] = rows
        if away:
            raise on_its_way(job_id)
        raise why_barred(job_id, None if flow is None else str(flow), undone)
    return {row["job"] for row in rows} | {job for job in members if members[job]}


async def apart(link: Any, text: Statements, jobs: Sequence[Any]) -> list[list[Any]]:
    """These jobs by the flows that they belong to; those of none are together."""
    flow_of = {row["job"]: row["flow"] for row in await link.fetch(text["flows_of"], jobs)}
    by_flow: dict[Any, list[Any]] = {}
    for job in jobs:
        by_flow.setdefault(flow_of.get(job), []).append(job)
    return list(by_flow.values())


async def reopened(link: Any, text: Statements, jobs: Sequence[Any], now: int) -> int:
    """These jobs wait for a worker again. Of those that wait for others themselves, which they do
    not yet, how many.

    Raises:
        JobStateError: another job holds the unique key of one that would wait again; nothing of
            the transaction may stay.
    """
    opened = list(await link.fetch(text["reopened"], jobs)) if jobs else []
    if not opened:
        return 0
    again = {row["job"] for row in opened}
    flows = list({row["flow"] for row in opened if row["role"] == Role.JOB})
    callbacks = await link.fetch(text["doomed_callbacks"], flows)
    back = await _restorable(link, text, again) | {row[0] for row in callbacks}
    await link.execute(text["let_go_for"], list(back), [4], now)
    rows = await link.fetch(text["wait_again"], list(back))
    await check_keys(link, text, back - {row[0] for row in rows}, [4])
    back = {row[0] for row in rows}
    opened += await link.fetch(text["reopened"], list(back)) if back else []
    await link.execute(text["not_counted"], [row["job"] for row in opened])
    await link.execute(text["fewer_ended"], *_sums(opened))
    children = await link.fetch(text["blocked_children"], list(again | back))
    blocked = list(back | {row[0] for row in children})
    await link.execute(text["done_anew"], [*blocked, *again])
    await link.execute(text["waits_anew"], blocked)
    return len(await link.fetch(text["hold_back"], list(again)))


async def check_keys(link: Any, text: Statements, left: set[Any], states: Sequence[int]) -> None:
    """Of those that do not run again, and were to if they ended in one of these states: whether
    none belongs to a flow and did not get its unique key.

    Raises:
        JobStateError: another job holds the key of one; nothing of the transaction may stay.
    """
    for row in await link.fetch(text["not_again"], list(left), states) if left else []:
        holder = None if row["holder"] is None else str(row["holder"])
        raise key_held(from_text(row["type"]), str(row["id"]), from_text(row["unique_key"]), holder)


async def _restorable(link: Any, text: Statements, again: set[Any]) -> set[Any]:
    candidates = {row[0] for row in await link.fetch(text["behind"], list(again))} - again
    if not candidates:
        return set()
    above = [tuple(row) for row in await link.fetch(text["above"], list(candidates))]
    return restorable(
        candidates,
        [link for link in above if link[0] in candidates],
        [link for link in above if link[0] not in candidates and link[0] not in again],
    )


def _sums(opened: Sequence[Any]) -> list[list[Any]]:
    """By flow, as `fewer_ended` takes them: what is not counted as ended any more."""
    sums: dict[Any, list[Any]] = {}
    for row in opened:
        sum_ = sums.setdefault(row["flow"], [row["flow"], 0, 0, 0, 0, 0])
        if row["role"] == Role.JOB:
            sum_[1] += 1
            sum_[row["counted"] + 1] += 1
        else:
            sum_[2] += 1
    return [list(column) for column in zip(*sums.values(), strict=True)]
