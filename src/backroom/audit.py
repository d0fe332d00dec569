"""The part of a service that writes down what people do, and shows it."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator, Mapping
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from typing import Any, Final

import msgspec

from backroom.action import ActionPage, ActionRecord, Outcome
from backroom.errors import BackroomError, OptionError, StorageError, no_cursor
from backroom.filtering import check_limit
from backroom.ports import Clock, Store

__all__ = ["Audit", "Recorded"]

log = logging.getLogger("backroom")

MAX_NAME: Final = 200
"""Characters of an actor, a role, a verb."""
MAX_TARGET: Final = 500
MAX_DETAIL: Final = 16_384
"""Bytes as JSON; what is larger is left out, and that is said."""
MAX_REASON: Final = 500
MOST_NUMBER: Final = 2**63 - 1


class Recorded:
    """An action while it is done."""

    def __init__(self, number: int) -> None:
        self.id = number
        self.changed: int | None = None
        """How many jobs or other things it has changed; whoever does it says so."""
        self.made: str | None = None
        """What it has made: "job 0192...", for whoever reads of it."""


class Audit:
    """The record of actions, over a storage that `_ready` opens."""

    storage: Store
    _clock: Clock

    async def _ready(self) -> None:
        raise NotImplementedError

    def recorded(
        self,
        actor: str,
        verb: str,
        target: str,
        *,
        role: str | None = None,
        detail: Mapping[str, Any] | None = None,
    ) -> AbstractAsyncContextManager[Recorded]:
        """Around what somebody does: it is kept before the block begins, and what came of it after
        that. The block says `.changed`. An error of ours refused it, any other one, or the end of
        its task, interrupted it; all are raised on.

        Raises:
            OptionError: a name of no or too many characters.
            StorageError: it could not be written down: the block is not carried out.
        """
        record = ActionRecord(
            self._clock.now(), _named("actor", actor, MAX_NAME),
            None if role is None else _named("role", role, MAX_NAME),
            _named("verb", verb, MAX_NAME), _named("target", target, MAX_TARGET), _detail(detail),
        )  # fmt: skip
        return self._around(record)

    @asynccontextmanager
    async def _around(self, record: ActionRecord) -> AsyncIterator[Recorded]:
        await self._ready()
        action = Recorded(await self.storage.begin_action(record))
        outcome: Outcome = "interrupted"
        reason: str | None = None
        try:
            yield action
            outcome, reason = "done", action.made
        except StorageError as error:  # It may have been carried out all the same.
            reason = str(error)
            raise
        except BackroomError as error:
            outcome, reason = "refused", str(error)
            raise
        except asyncio.CancelledError as error:  # Who stops it may say who that is.
            reason = str(error) or "it was cancelled"
            raise
        except BaseException as error:
            reason = repr(error)
            raise
        finally:
            # Shielded: a task that is cancelled says so, too.
            await asyncio.shield(self._end(action, outcome, reason))

    async def _end(self, action: Recorded, outcome: Outcome, reason: str | None) -> None:
        short = reason if reason is None else reason[:MAX_REASON]
        try:
            await self.storage.end_action(
                action.id, self._clock.now(), outcome, action.changed, short
            )
        except StorageError as error:  # What was done stands; the record says that it began.
            log.warning("what came of action %d could not be kept: %r", action.id, error)

    async def get_actions(
        self,
        *,
        limit: int = 100,
        cursor: str | None = None,
        actor: str | None = None,
        verb: str | None = None,
    ) -> ActionPage:
        """What people did, newest first: of one of them, or of one kind. They are kept for 90 days,
        and no more than 100,000. `limit` is 1 to 1000; the page's `.cursor` asks for the next one.

        Raises:
            OptionError: a limit out of its range, a cursor not of ours, a name that nobody has.
        """
        check_limit(limit)
        before = None if cursor is None else _cursor(cursor)
        by = None if actor is None else _named("actor", actor, MAX_NAME)
        what = None if verb is None else _named("verb", verb, MAX_NAME)
        await self._ready()
        found = await self.storage.actions(limit + 1, before, by, what)
        following = str(found[limit - 1].id) if len(found) > limit else None
        return ActionPage(found[:limit], following)


def _named(name: str, value: object, most: int) -> str:
    text = str.__str__(value) if isinstance(value, str) else ""
    if not 0 < len(text) <= most or "\0" in text:
        raise OptionError(f"{name} must be a text of 1 to {most} characters, got {value!r}")
    return text


def _detail(detail: Mapping[str, Any] | None) -> str | None:
    if not detail:
        return None
    try:
        text = msgspec.json.encode(dict(detail), enc_hook=str).decode()
    except (TypeError, ValueError) as error:
        raise OptionError(f"detail must be a JSON object: {error}") from None
    if len(text.encode()) > MAX_DETAIL:
        said = {"left_out": f"{len(text):,} characters of detail; {MAX_DETAIL:,} bytes are kept"}
        return msgspec.json.encode(said).decode()
    return text


def _cursor(cursor: object) -> int:
    if isinstance(cursor, str) and cursor.isascii() and cursor.isdigit():
        number = int(cursor) if len(cursor) < 20 else MOST_NUMBER + 1
        if number <= MOST_NUMBER:
            return number
    raise no_cursor(cursor)
