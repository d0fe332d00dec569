"""Whether the numbers of a run add up: what was promised, against what is there."""

import json
import mailbox
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import date
from pathlib import Path

from backroom import JobInfo


@dataclass(frozen=True)
class Plan:
    """The jobs that the service acknowledged, by id."""

    mails: dict[str, str]  # recipient
    reports: dict[str, list[int]]  # years

    @property
    def ids(self) -> set[str]:
        return self.mails.keys() | self.reports.keys()


@dataclass(frozen=True)
class Answer:
    """What the SMTP server said to one mail: 250, or 451 for "not now"."""

    code: int
    job: str
    recipient: str


@dataclass(frozen=True)
class Mail:
    """One mail in the Maildir."""

    job: str
    message_id: str
    recipient: str


@dataclass(frozen=True)
class Tally:
    scheduled: int
    completed: int
    retried: int
    failed: int
    rescued: int  # a worker died under them, and they completed
    crashed: int  # of these, those that had started
    mails: int
    recipients: int
    duplicates: list[str]  # recipients that got a mail twice: at least once, as promised
    lost: int  # acknowledged jobs without their mail or report
    refused: int  # mails that the server refused at first
    problems: list[str]  # every number that does not add up


class SmtpLog:
    """The answers of the SMTP server, read as they are written."""

    def __init__(self, file: Path) -> None:
        self.answers: list[Answer] = []
        self._file = file
        self._read = 0

    def catch_up(self) -> list[Answer]:
        """All answers so far."""
        with self._file.open("rb") as lines:
            lines.seek(self._read)
            for line in lines:
                if not line.endswith(b"\n"):  # still being written
                    break
                self._read += len(line)
                entry = json.loads(line)
                self.answers.append(Answer(entry["code"], entry["job"], entry["to"][0]))
        return self.answers


def read_maildir(folder: Path) -> list[Mail]:
    return [
        Mail(str(mail["X-Job-Id"]), str(mail["Message-ID"]), str(mail["To"]))
        for mail in mailbox.Maildir(folder, create=False)
    ]


def add_up(
    plan: Plan,
    jobs: Iterable[JobInfo],
    answers: Sequence[Answer],
    mails: Sequence[Mail],
    orphans: set[str],
) -> Tally:
    """Compare them all. `orphans` are the jobs that were active when the worker was killed."""
    stored: dict[str, JobInfo] = {job.id: job for job in jobs}
    by_status = Counter[str](job.status for job in stored.values())
    answered = Counter(answer.job for answer in answers)
    refused = {answer.job for answer in answers if answer.code == 451}
    crashed = {job.id for job in stored.values() if job.crashes}
    retried = {job.id for job in stored.values() if job.attempt - job.crashes > 1}
    rescued = {
        job_id
        for job_id in orphans | crashed
        if job_id in stored and stored[job_id].status == "completed"
    }
    copies = Counter(mail.message_id for mail in mails)
    twice = {mail.job: mail.recipient for mail in mails if copies[mail.message_id] > 1}
    delivered = {(mail.job, mail.recipient) for mail in mails}
    undelivered = [job_id for job_id, to in plan.mails.items() if (job_id, to) not in delivered]
    unreported = [
        job_id for job_id in plan.reports if job_id not in stored or not _is_whole(stored[job_id])
    ]

    problems: list[str] = []

    def check(is_right: bool, problem: str) -> None:
        if not is_right:
            problems.append(problem)

    total = len(plan.ids)
    completed, failed = by_status["completed"], by_status["failed"]
    check(stored.keys() == plan.ids, f"{total} jobs acknowledged, {len(stored)} in the store")
    check(completed == total, f"{completed} of {total} jobs completed: {dict(by_status)}")
    check(not undelivered, f"{len(undelivered)} mails are in no mailbox: {undelivered[:3]}")
    check(not unreported, f"{len(unreported)} reports are missing or not whole: {unreported}")
    strangers = delivered - set(plan.mails.items())
    check(not strangers, f"{len(strangers)} mails that nobody ordered: {sorted(strangers)[:3]}")
    check(
        {mail.recipient for mail in mails} == set(plan.mails.values()),
        "the recipients in the Maildir are not those that were written to",
    )
    unexplained = sorted(twice.keys() - crashed)
    check(not unexplained, f"sent twice although no worker died: {unexplained}")
    check(bool(refused), "the server refused nothing, so no retry was seen")
    check(
        refused - crashed <= retried <= refused,
        f"{len(refused)} mails refused, {len(retried)} jobs retried",
    )
    check(bool(orphans), "no job was active when the worker was killed")
    check(orphans <= rescued, f"{len(orphans)} jobs orphaned, {len(rescued)} rescued")
    for job_id in plan.mails.keys() & stored.keys():
        attempt, crashes = stored[job_id].attempt, stored[job_id].crashes
        check(
            attempt - crashes <= answered[job_id] <= attempt,
            f"{job_id}: {attempt} attempts, {crashes} crashes, but {answered[job_id]} answers",
        )
    for job_id in plan.reports.keys() & stored.keys():
        days = sum(_days_in(year) for year in plan.reports[job_id])
        result = stored[job_id].result or {}
        check(
            result.get("days") == days, f"{job_id}: a report of {days} days, but it says {result}"
        )

    return Tally(
        scheduled=total,
        completed=completed,
        retried=len(retried),
        failed=failed,
        rescued=len(rescued),
        crashed=len(crashed),
        mails=len(mails),
        recipients=len({mail.recipient for mail in mails}),
        duplicates=sorted(twice.values()),
        lost=len(undelivered) + len(unreported),
        refused=len(refused),
        problems=problems,
    )


def _is_whole(job: JobInfo) -> bool:
    """Whether the report that `job` names is there, with its charts, down to its last line."""
    file = Path(job.result["file"]) if job.result else None
    if file is None or not file.is_file():
        return False
    page = file.read_text(encoding="utf-8")
    return page.count("<svg viewBox") >= 5 and page.rstrip().endswith("</html>")


def _days_in(year: int) -> int:
    return (date(year + 1, 1, 1) - date(year, 1, 1)).days
