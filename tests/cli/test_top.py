"""`backroom top`, on a terminal."""

from __future__ import annotations

from pathlib import Path

from tests.cli.parts import Terminal, backroom
from tests.process.parts import Family, eventually_async, scheduling


async def test_somebody_watches_pauses_a_queue_cancels_a_job_and_retries_what_failed(
    family: Family,
) -> None:
    async with scheduling(family.jobs) as service:
        worker = family.ready()
        await service.schedule("FLAKY", {}, retries=0)
        runs = await service.schedule("GATE", {})
        terminal = Terminal("top", "--every", "0.2", "--storage", f"file:{family.jobs}")
        terminal.shows(f"GATE  {runs}")
        terminal.shows("FLAKY")
        terminal.types("p")
        terminal.shows("queue default is paused")
        assert (await service.get_stats()).queues[0].paused
        terminal.types("p")
        terminal.shows("queue default goes on")
        assert not (await service.get_stats()).queues[0].paused
        terminal.types("2d")
        terminal.shows("takes no more jobs")
        [drained] = await service.get_workers()
        assert drained.draining
        terminal.types("4r")
        terminal.shows("? y/n")
        terminal.types("y")
        terminal.shows("1 job of FLAKY run again")
        terminal.types("2d")
        terminal.shows("takes jobs again")
        terminal.types("3c")
        terminal.shows(f"cancel GATE {runs}")
        terminal.types("y")

        async def cancelled() -> bool:
            return await service.get_job_status(runs) == "cancelled"

        await eventually_async(cancelled, "the job is cancelled")
        terminal.types("q")
        assert terminal.ends() == 0, terminal.text
        assert worker.code is None
        done = [(one.verb, one.outcome) for one in await service.get_actions()]
    assert [verb for verb, _ in reversed(done)] == [
        "pause", "resume", "drain", "retry", "resume", "cancel",
    ]  # fmt: skip
    assert {outcome for _, outcome in done} == {"done"}


async def test_it_leaves_the_terminal_as_it_was_however_it_ends(tmp_path: Path) -> None:
    async with scheduling(tmp_path / "jobs") as service:
        await service.schedule("QUICK")
    terminal = Terminal("top", "--storage", f"file:{tmp_path / 'jobs'}")
    terminal.shows("no worker is running")
    terminal.interrupt()
    assert terminal.ends() == 0, terminal.text
    assert "\x1b[?1049l" in terminal.raw
    assert "\x1b[?25h" in terminal.raw


def test_in_a_pipe_it_says_what_to_use_there(tmp_path: Path) -> None:
    shown = backroom("top", "--storage", f"file:{tmp_path}")
    assert shown.code == 2
    assert "stats --watch --json" in shown.err
