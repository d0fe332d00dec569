"""Jobs that are in no storage at the moment: packed for a move, or waiting for a server."""

from __future__ import annotations

from collections.abc import AsyncIterator

from backroom.cli.finding import Finding
from backroom.cli.plain import count_of
from backroom.ports import Store

__all__ = ["on_its_way"]


async def on_its_way(storage: Store) -> AsyncIterator[Finding]:
    """What the doctor says of them."""
    parcel_of = getattr(storage, "parcel", None)
    parcel = None if parcel_of is None else await parcel_of()
    if parcel is not None:
        packed = count_of(len(parcel.jobs), "job")
        if parcel.schedules:
            packed = count_of(len(parcel.schedules), "schedule")
        elif parcel.flows:
            packed = count_of(len(parcel.flows), "workflow")
        elif parcel.edges:
            packed = count_of(len(parcel.edges), "edge")
        yield Finding(
            "warning", "move",
            f"a move to {parcel.label} has not ended: {packed} or more are packed, and run nowhere",
            f"unless it runs now: backroom move {storage.url} {parcel.label}",
        )  # fmt: skip
    spooled_of = getattr(storage, "spooled", None)
    spooled = None if spooled_of is None else await spooled_of()
    if spooled:
        yield Finding(
            "warning", "spool",
            f"{count_of(spooled, 'job')} on this machine wait to be delivered to {storage.url}",
            "they are delivered while a process of the application runs here and the server"
            " answers; what is in the way stands in its log",
        )  # fmt: skip
    elif spooled is not None:
        yield Finding("ok", "spool", "no job on this machine waits for the server")
