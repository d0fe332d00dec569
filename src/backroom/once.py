"""A job that is scheduled once, though somebody who had no answer asks again.

Its id is made of the caller's key and of the ten minutes in which it came. Whoever asks again is
answered with the job that one of the ids of the last day has: nothing is kept for it beside the
job itself, on any storage.
"""

from __future__ import annotations

import hashlib
from typing import Final

import msgspec

from backroom.errors import OptionError
from backroom.job import SECOND, JobRecord
from backroom.ports import Store

__all__ = ["MAX_KEY", "check_once_key", "insert_once", "once_ids"]

WINDOW: Final = 600 * SECOND
REMEMBERED: Final = 24 * 3600 * SECOND
MAX_KEY: Final = 255


def check_once_key(key: object) -> str:
    """Raises `OptionError`: it is no text of 1 to 255 printable characters."""
    if not isinstance(key, str) or not 0 < len(key) <= MAX_KEY or not key.isprintable():
        raise OptionError(
            f"an idempotency key is 1 to {MAX_KEY} printable characters, got {key!r:.300}",
            "idempotency_key",
        )
    return key


def once_ids(key: str, now: int) -> list[str]:
    """The ids that a job with this key has, if it was made within the last day; the one that it
    gets now is the first."""
    digest = int.from_bytes(hashlib.blake2b(key.encode(), digest_size=10).digest(), "big")
    middle, rest = (digest >> 61) & 0xFFF, digest & ((1 << 61) - 1)
    # As every id of ours: a UUID of version 7, whose first random bit is 0.
    tail = f"{0b10 << 62 | rest:016x}"
    found = []
    for number in range(REMEMBERED // WINDOW + 1):
        millisecond = (now // WINDOW - number) * WINDOW // 1000
        head = f"{millisecond >> 16:08x}-{millisecond & 0xFFFF:04x}"
        found.append(f"{head}-7{middle:03x}-{tail[:4]}-{tail[4:]}")
    return found


async def insert_once(storage: Store, key: str, record: JobRecord, now: int) -> tuple[str, bool]:
    """The id of the job, and whether it was made by this very call.

    Raises:
        OptionError: the key was used for a job of another type, or with other data.
    """
    ids = once_ids(key, now)
    found = await storage.outlook(ids, now)
    if not found:
        named = msgspec.structs.replace(record, id=ids[0])
        [inserted] = await storage.insert([named], now)
        if inserted.created or inserted.id != ids[0]:
            return inserted.id, inserted.created
        found = await storage.outlook(ids[:1], now)  # Somebody else came at the same moment.
    [job_id] = list(found)[:1]
    info = await storage.find(job_id, now)
    if info is not None and (
        info.type != record.type or info.data != msgspec.json.decode(record.data)
    ):
        raise OptionError(
            f"this idempotency key belongs to job {job_id}, a {info.type} with other data; take a"
            " new key for another job",
            "idempotency_key",
        )
    return job_id, False
