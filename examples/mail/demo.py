"""The demo: mails and reports through a worker that is killed halfway, and then the books.

    python -m examples.mail.demo

It starts an SMTP server and a worker, schedules the jobs of `jobs.py`, kills the worker with
SIGKILL when half of them are done, starts another, and compares what was promised with what is
in the Maildir. Exit code 0: every number adds up; 1: one does not; 2: the folder is not the
demo's own; 130: interrupted.
"""

import argparse
import asyncio
import dataclasses
import json
import os
import shlex
import signal
import subprocess
import sys
from collections.abc import AsyncIterator
from pathlib import Path

from backroom import JobInfo, JobRequest, JobService

from .folder import FolderRefusedError, fresh_folder
from .processes import ROOT, Child, Children, children
from .screen import Now, Screen
from .tally import Plan, SmtpLog, Tally, add_up, read_maildir

YEARS = (2012, 2013, 2014, 2015)


class DemoError(Exception):
    """The demo cannot go on; the message says what happened and where to read more."""


async def run(screen: Screen, folder: Path, mails: int, deadline: float) -> Tally:
    """The whole story, told on `screen`. Nothing it starts is left when it returns or raises."""
    with children() as family:
        port = await start_smtp_server(family, folder)
        screen.say(f"an SMTP server listens on 127.0.0.1:{port} and writes a Maildir")
        os.environ.update(MAIL_DEMO_DIR=str(folder), MAIL_SMTP_PORT=str(port))
        from .jobs import service  # only now: it reads these two when it is imported

        try:
            plan = await schedule(screen, mails)
            story = Story(screen, service, plan, family, folder, deadline)
            return await story.tell()
        finally:
            await service.stop()


async def schedule(screen: Screen, mails: int) -> Plan:
    """Welcome mails one by one, a promotion in one go, and a report for every year and for all."""
    from .jobs import GENERATE_REPORT, SEND_EMAIL, GenerateReport, SendEmail, service

    welcomes = min(40, mails // 10)
    customers = [f"customer-{number:04}@example.com" for number in range(1, mails - welcomes + 1)]
    newcomers = [f"newcomer-{number:04}@example.org" for number in range(1, welcomes + 1)]
    plan = Plan({}, {})

    for place, newcomer in enumerate(newcomers):
        fields = {"plan": "Daily forecast, free", "confirm_url": "https://example.com/confirm"}
        email = SendEmail("welcome", newcomer, fields)
        delay = 5 * place / welcomes
        job_id = await service.schedule(SEND_EMAIL, email, priority="high", delay=delay)
        plan.mails[job_id] = newcomer
    screen.say(f"{welcomes} welcome mails scheduled, with a delay of up to 5 s and high priority")

    promotion = [
        JobRequest(
            SEND_EMAIL,
            SendEmail("promotion", customer, promotion_for(customer)),
            priority="low",
        )
        for customer in customers
    ]
    started = screen.seconds
    job_ids = await service.schedule_many(promotion)
    plan.mails.update(zip(job_ids, customers, strict=True))
    took = 1000 * (screen.seconds - started)
    screen.say(f"{len(promotion):,} promotions scheduled in one go, in {took:.0f} ms, low priority")

    reports = [GenerateReport(f"Seattle weather {year}", [year]) for year in YEARS]
    reports.append(GenerateReport(f"Seattle weather {YEARS[0]} to {YEARS[-1]}", list(YEARS)))
    for place, report in enumerate(reports):
        report_id = await service.schedule(GENERATE_REPORT, report, delay=place)
        plan.reports[report_id] = report.years
    screen.say(f"{len(reports)} weather reports scheduled, a second apart")
    return plan


def promotion_for(customer: str) -> dict[str, str]:
    number = customer.partition("@")[0].partition("-")[2]
    return {
        "code": f"RAIN-{number}",
        "shop_url": f"https://example.com/almanac?code=RAIN-{number}",
        "unsubscribe_url": f"https://example.com/unsubscribe/{number}",
    }


async def start_smtp_server(family: Children, folder: Path) -> int:
    """The port it listens on."""
    maildir, log = str(folder / "Maildir"), str(folder / "smtp.jsonl")
    server = family.start(
        ["examples.mail.smtp_server", "--maildir", maildir, "--log", log],
        log=folder / "smtp.log",
        stdout=subprocess.PIPE,
    )
    assert server.stdout is not None
    line = await asyncio.to_thread(server.stdout.readline)
    if not line:
        raise DemoError(f"the SMTP server did not start; see {folder / 'smtp.log'}")
    return int(line)


class Story:
    """From the first worker to the last number."""

    def __init__(
        self,
        screen: Screen,
        service: JobService,
        plan: Plan,
        family: Children,
        folder: Path,
        deadline: float,
    ) -> None:
        self._screen = screen
        self._service = service
        self._plan = plan
        self._family = family
        self._folder = folder
        self._deadline = deadline
        self._smtp = SmtpLog(folder / "smtp.jsonl")
        self._worker_log = folder / "worker.log"

    async def tell(self) -> Tally:
        total, say = len(self._plan.ids), self._screen.say

        worker = self._start_worker()
        say(f"a worker starts: process {worker.pid}")
        async for now in self._watch(worker, f"process {worker.pid}"):
            if now.by_status["completed"] >= total / 2 and now.by_status["active"]:
                break
        worker.kill()
        worker.wait()
        orphans: set[str] = {job.id for job in await self._jobs(status="active")}
        say(
            f"[red bold]SIGKILL[/] to process {worker.pid} at {now.by_status['completed']:,} of "
            f"{total:,} jobs; it held {len(orphans)}"
        )
        self._screen.show(dataclasses.replace(now, worker="none; [red bold]killed[/]"))
        await asyncio.sleep(1)  # for those who watch

        worker = self._start_worker()
        say(f"another worker starts: process {worker.pid}")
        description = f"process {worker.pid}, after [red bold]SIGKILL[/] of the first one"
        async for now in self._watch(worker, description):
            if sum(now.by_status[status] for status in ("completed", "failed")) >= total:
                break
        worker.terminate()
        try:
            code = await asyncio.to_thread(worker.wait, 20)
        except subprocess.TimeoutExpired as timeout:
            raise DemoError(
                f"the worker did not end within 20 s of SIGTERM; see {self._worker_log}"
            ) from timeout
        say(f"all done; SIGTERM to process {worker.pid}, which ends with {code}")

        tally = add_up(
            self._plan,
            await self._jobs(),
            self._smtp.catch_up(),
            read_maildir(self._folder / "Maildir"),
            orphans,
        )
        if code != 0:
            tally.problems.append(
                f"the worker ended with {code} after SIGTERM; see {self._worker_log}"
            )
        return tally

    def _start_worker(self) -> Child:
        """It reads the settings that `run` made from the environment."""
        command = ["backroom", "worker", "examples.mail.jobs:service"]
        return self._family.start(command, log=self._worker_log)

    async def _watch(self, worker: Child, description: str) -> AsyncIterator[Now]:
        """What there is to see, ten times a second.

        Raises:
            DemoError: the worker ended by itself, or the deadline has passed.
        """
        while True:
            stats = await self._service.get_stats()
            answers = self._smtp.catch_up()
            accepted = sum(answer.code == 250 for answer in answers)
            now = Now(
                total=len(self._plan.ids),
                by_status=stats.by_status,
                accepted=accepted,
                refused=len(answers) - accepted,
                worker=description,
            )
            self._screen.show(now)
            yield now
            if worker.poll() is not None:
                raise DemoError(
                    f"the worker ended with {worker.returncode}; see {self._worker_log}"
                )
            if self._screen.seconds > self._deadline:
                raise DemoError(f"not done after {self._deadline:g} s: {stats.by_status}")
            await asyncio.sleep(0.1)

    async def _jobs(self, status: str | None = None) -> list[JobInfo]:
        jobs: list[JobInfo] = []
        cursor = None
        while True:
            page = await self._service.get_jobs(status=status, limit=1000, cursor=cursor)
            jobs += page
            cursor = page.cursor
            if cursor is None:
                return jobs


def say_what_next(screen: Screen, folder: Path) -> None:
    def near(path: Path) -> str:
        """As short as it can be typed here."""
        here = Path.cwd()
        return shlex.quote(str(path.relative_to(here) if path.is_relative_to(here) else path))

    script = Path(sys.prefix) / "bin" / "backroom"
    backroom = near(script) if script.exists() else f"{near(Path(sys.executable))} -m backroom"
    storage = f"--storage file:{near(folder / 'jobs')}"
    screen.offer(
        "Where to look",
        [
            ((folder / "reports" / "seattle-weather-2012-to-2015.html").as_uri(), "a report"),
            (near(folder / "Maildir" / "new"), "the mails, a file each"),
            (near(folder), "everything: jobs, reports, mails, logs of the server and the worker"),
        ],
    )
    screen.offer(
        "What to type next",
        [
            (f"{backroom} stats {storage}", "the same jobs from outside"),
            (f"{backroom} jobs list {storage} --type GENERATE_REPORT", "the reports"),
            (f"{backroom} jobs list {storage} --status failed", "dead letters, if there were any"),
        ],
    )


def main() -> int:
    parser = argparse.ArgumentParser(
        prog="python -m examples.mail.demo", description=__doc__.partition("\n")[0]
    )
    parser.add_argument(
        "--dir",
        type=Path,
        default=ROOT / "storage" / "demo",
        metavar="FOLDER",
        help="where everything goes; emptied first (default: storage/demo)",
    )
    parser.add_argument("--mails", type=int, default=1540, help="how many (default: 1540)")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write the numbers there too")
    parser.add_argument("--deadline", type=float, default=55, help="seconds (default: 55)")
    options = parser.parse_args()
    if options.mails < 100:
        parser.error("--mails: at least 100, or the worker is done before it can be killed")

    try:
        with fresh_folder(options.dir) as folder, Screen() as screen:
            tally = asyncio.run(_until_a_signal(screen, folder, options.mails, options.deadline))
    except FolderRefusedError as refusal:
        print(refusal, file=sys.stderr)
        return 2
    except DemoError as error:
        print(f"The demo stopped: {error}", file=sys.stderr)
        return 1
    except (KeyboardInterrupt, asyncio.CancelledError):
        print("Interrupted; what the demo started has ended.", file=sys.stderr)
        return 130

    screen.conclude(tally)
    say_what_next(screen, folder)
    if options.json:
        numbers = {
            "ok": not tally.problems,
            "seconds": round(screen.seconds, 1),
            **dataclasses.asdict(tally),
        }
        options.json.write_text(json.dumps(numbers, indent=2) + "\n", encoding="utf-8")
    return 1 if tally.problems else 0


async def _until_a_signal(screen: Screen, folder: Path, mails: int, deadline: float) -> Tally:
    """`run`, cancelled by SIGTERM and SIGHUP as Ctrl-C cancels it, so that its children end."""
    story = asyncio.current_task()
    assert story is not None
    for signum in (signal.SIGTERM, signal.SIGHUP):
        asyncio.get_running_loop().add_signal_handler(signum, story.cancel)
    return await run(screen, folder, mails, deadline)


if __name__ == "__main__":
    sys.exit(main())
