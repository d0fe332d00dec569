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
            board.message = await recorded(
                service, wish.verb, ", ".join(wish.target), partial(_do, service, wish)
            )
            board.renew(await _look(service))
        except BackroomError as error:
            board.message = plain(error)
        moved.set()


async def _do(service: JobService, wish: Wish) -> str:
    target = wish.target
    if wish.verb == "pause":
        await service.pause_queue(target[0])
        return f"queue {plain(target[0])} is paused"
    if wish.verb == "resume":
        await service.resume_queue(target[0])
        return f"queue {plain(target[0])} goes on"
    if wish.verb in ("drain", "take up"):
        on = wish.verb == "drain"
        await service.drain_worker(int(target[0]), on)
        return f"worker {target[0]} " + ("takes no more jobs" if on else "takes jobs again")
    if wish.verb == "cancel":
        status = await service.cancel_job(target[0])
        return f"job {plain(target[0])}: " + ("is being stopped" if status == "active" else status)
    count = await service.retry_jobs(status="failed", type=target[0], error=target[1])
    return f"{count_of(count, 'job')} of {plain(target[0])} run again"
