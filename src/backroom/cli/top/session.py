"""`backroom top` while it runs: looks, pictures, keys, and what is done for them."""

from __future__ import annotations

import asyncio
import signal
from functools import partial
from typing import Final

from rich.live import Live

from backroom.cli import show
from backroom.cli.plain import count_of, plain
from backroom.cli.recording import recorded
from backroom.cli.top.board import LEAVE, Board, Look, Wish
from backroom.cli.top.keys import reading_keys
from backroom.cli.top.picture import picture
from backroom.errors import BackroomError
from backroom.filtering import JobFilter
from backroom.service import JobService

__all__ = ["session"]

GROUPS: Final = 50
"""Groups of failed jobs, at most."""


async def session(service: JobService, every: float) -> None:
    """Until somebody leaves, or SIGINT or SIGTERM."""
    board, leaving, moved = Board(), asyncio.Event(), asyncio.Event()
    wishes: asyncio.Queue[Wish] = asyncio.Queue()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGINT, signal.SIGTERM):
        loop.add_signal_handler(number, leaving.set)

    def pressed(key: str) -> None:
        wish = board.press(key)
        if wish == LEAVE:
            leaving.set()
        elif isinstance(wish, Wish):
            wishes.put_nowait(wish)
        moved.set()

    board.renew(await _look(service))
    console = show.console()
    with Live(console=console, screen=True, auto_refresh=False) as live, reading_keys(pressed):
        works = [
            loop.create_task(_keep_looking(service, board, moved, every)),
            loop.create_task(_carry_out(service, board, moved, wishes)),
        ]
        ends = loop.create_task(leaving.wait())
        try:
            while not leaving.is_set():
                moved.clear()
                live.update(picture(board, console.size), refresh=True)
                draws = loop.create_task(moved.wait())
                await asyncio.wait((ends, draws, *works), return_when=asyncio.FIRST_COMPLETED)
                draws.cancel()
                for work in works:
                    if work.done():
                        work.result()
        finally:
            for task in (ends, *works):
                task.cancel()
            await asyncio.wait((ends, *works))


async def _look(service: JobService) -> Look:
    stats, workers, failures, history = await asyncio.gather(
        service.get_stats(), service.get_workers(), service.get_failures(limit=GROUPS),
        service.get_history(last=60),
    )  # fmt: skip
    return Look(stats, tuple(workers), tuple(failures), history.points)


async def _keep_looking(
    service: JobService, board: Board, moved: asyncio.Event, every: float
) -> None:
    """A storage that is away is looked for again; what was seen last stays meanwhile."""
    away = False
    while True:
        await asyncio.sleep(every)
        try:
            board.renew(await _look(service))
        except BackroomError as error:
            away, board.message = True, f"{plain(error)} (looking again)"
        else:
            if away:
                away, board.message = False, "the storage answers again"
        moved.set()


async def _carry_out(
    service: JobService, board: Board, moved: asyncio.Event, wishes: asyncio.Queue[Wish]
) -> None:
    """One after the other; what is refused says why."""
    while True:
        wish = await wishes.get()
        try:
            board.message = await _do(service, wish)
            board.renew(await _look(service))
        except BackroomError as error:
            board.message = plain(error)
        moved.set()


async def _do(service: JobService, wish: Wish) -> str:
    """Carries it out, and writes down who did."""
    first = wish.target[0]
    name = plain(first)
    if wish.verb in ("pause", "resume"):
        paused = wish.verb == "pause"
        change = service.pause_queue if paused else service.resume_queue
        await recorded(service, wish.verb, f"queue {first}", partial(change, first))
        return f"queue {name} " + ("is paused" if paused else "goes on")
    if wish.verb in ("drain", "take up"):
        on = wish.verb == "drain"
        drain = partial(service.drain_worker, int(first), on)
        await recorded(service, "drain" if on else "resume", f"worker {first}", drain)
        return f"worker {first} " + ("takes no more jobs" if on else "takes jobs again")
    if wish.verb == "cancel":
        status = await recorded(service, "cancel", first, partial(service.cancel_job, first))
        return f"job {name}: " + ("is being stopped" if status == "active" else status)
    which: JobFilter = {"status": "failed", "type": first, "error": wish.target[1]}
    count = await recorded(
        service, "retry", "jobs", partial(service.retry_jobs, **which), {"filter": which},
        lambda changed: changed,
    )  # fmt: skip
    return f"{count_of(count, 'job')} of {name} run again"
