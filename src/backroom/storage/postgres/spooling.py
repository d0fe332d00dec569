"""What people ask of jobs by their ids, also where these wait for the server.

A job leaves the spool only when the server has it. So who finds it at neither of the two, in this
order, looks at the server once more: it may have been delivered between the two looks.
"""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import suppress

from backroom.errors import JobNotFoundError, StorageError
from backroom.inspecting import Outlook, Progress, Which
from backroom.job import JobInfo
from backroom.storage.postgres.figures import Watching
from backroom.storage.postgres.links import is_away
from backroom.storage.postgres.moving import Moving
from backroom.storage.postgres.spool import Spool

__all__ = ["Spooling"]


class Spooling(Watching, Moving):
    """`Inspection` and `Movable` of the server, with its spool, if it has one."""

    _spool: Spool | None = None

    async def spooled(self) -> int | None:
        """How many jobs wait on this machine for the server; None without a spool."""
        spool = self._spool
        return None if spool is None else await spool.waiting(spool.here.clock.now())

    async def find(self, job_id: str, now: int) -> JobInfo | None:
        spool = self._spool
        if spool is None:
            return await super().find(job_id, now)
        if spool.away and (info := await spool.here.find(job_id, now)) is not None:
            return info  # Nobody waits for a server to be silent.
        away = None
        try:
            info = await super().find(job_id, now)
        except StorageError as error:
            if not is_away(error):
                raise
            info, away = None, error
        if info is None:
            info = await spool.here.find(job_id, now)
        if info is None and away is not None:
            raise away
        return info or await super().find(job_id, now)

    async def outlook(self, ids: Sequence[str], now: int) -> dict[str, Outlook]:
        spool = self._spool
        if spool is None:
            return await super().outlook(ids, now)
        found: dict[str, Outlook] = {}
        if spool.away:
            found = await spool.here.outlook(ids, now)
            if len(found) == len(set(ids)):
                return found
        away = None
        try:
            found = await super().outlook(ids, now)
        except StorageError as error:
            if not is_away(error):
                raise
            away = error
        if len(found) < len(set(ids)):
            missing = [id_ for id_ in ids if id_ not in found]
            found.update(await spool.here.outlook(missing, now))
            missing = [id_ for id_ in missing if id_ not in found]
            if missing and away is not None:
                raise away
            if missing:
                found.update(await super().outlook(missing, now))
        return found

    async def cancel(self, which: Which, now: int, progress: Progress | None = None) -> int:
        spool = self._spool
        if spool is None or not isinstance(which, str):
            return await super().cancel(which, now, progress)
        away = None
        try:
            return await super().cancel(which, now, progress)
        except JobNotFoundError:
            pass
        except StorageError as error:
            if not is_away(error):
                raise
            away = error
        cancelled = None
        with suppress(JobNotFoundError):
            cancelled = await spool.here.cancel(which, now)
        if away is None:
            # It may have been delivered meanwhile: then it is the server's to cancel it.
            with suppress(JobNotFoundError):
                return await super().cancel(which, now, progress)
        if cancelled is None:
            raise away or JobNotFoundError(f"no job has the id {which!r}")
        return cancelled
