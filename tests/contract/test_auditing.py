"""The audit record: written before and after, newest first, and kept for so long."""

from __future__ import annotations

from typing import Any

import pytest

from backroom.action import DAYS, ActionRecord
from backroom.storage import acted
from tests.contract.parts import DAY, Bench, Place


async def begin(bench: Bench, actor: str = "ada", verb: str = "retry", **fields: Any) -> int:
    said = {"at": bench.now, "role": "operate", "target": "jobs", "detail": '{"type":"A"}'}
    record = ActionRecord(actor=actor, verb=verb, **{**said, **fields})
    return await bench.storage.begin_action(record)


async def numbers(bench: Bench, **which: Any) -> list[int]:
    said = {"limit": 100, "before": None, "actor": None, "verb": None}
    return [one.id for one in await bench.storage.actions(**{**said, **which})]


async def test_an_action_is_there_before_it_is_done_and_says_afterwards_what_came_of_it(
    bench: Bench,
) -> None:
    number = await begin(bench)
    [action] = await bench.storage.actions(10, None, None, None)
    assert (action.outcome, action.ended_at, action.changed) == ("begun", None, None)
    assert (action.actor, action.role, action.verb, action.target, action.detail) == (
        "ada", "operate", "retry", "jobs", {"type": "A"}
    )  # fmt: skip
    bench.clock.advance(2)
    await bench.storage.end_action(number, bench.now, "done", 7, None)
    await bench.storage.end_action(number, bench.now, "refused", None, "too late")
    [action] = await bench.storage.actions(10, None, None, None)
    assert (action.outcome, action.changed, action.reason) == ("done", 7, None)
    assert action.ended_at is not None
    assert (action.ended_at - action.at).total_seconds() == 2


async def test_actions_are_found_newest_first_by_who_and_what(bench: Bench) -> None:
    one = await begin(bench)
    two = await begin(bench, actor="b\0ob")
    three = await begin(bench, verb="pause")
    assert await numbers(bench) == [three, two, one]
    assert await numbers(bench, limit=2) == [three, two]
    assert await numbers(bench, before=two) == [one]
    assert await numbers(bench, actor="b\0ob") == [two]
    assert await numbers(bench, verb="retry", actor="ada") == [one]
    assert await numbers(bench, actor="%") == []


async def test_actions_that_are_too_old_go_when_others_begin(bench: Bench) -> None:
    await begin(bench)
    bench.clock.advance(DAYS * DAY)
    kept = await begin(bench)
    assert len(await numbers(bench)) == 2
    bench.clock.advance(1)
    last = await begin(bench)
    assert await numbers(bench) == [last, kept]


async def test_no_more_are_kept_than_so_many(place: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    bench = await place.open()
    for room in ("backroom.storage.sqlite.actions", "backroom.storage.postgres.actions"):
        monkeypatch.setattr(f"{room}.ROWS", 5)
    begun = [await begin(bench) for _ in range(8)]
    assert await numbers(bench) == begun[:-6:-1]
    assert acted.AT_ONCE > 1
