"""Mails and weather reports as background jobs: everything an application writes.

A worker runs them with

    backroom worker examples.mail.jobs:service
"""

import asyncio
import os
import smtplib
from dataclasses import dataclass
from pathlib import Path

from backroom import FailJob, FileJobStorage, Job, JobService, JobType

from . import mails, report, weather

FOLDER = Path(os.environ.get("MAIL_DEMO_DIR", "storage/mail"))
SMTP_PORT = int(os.environ.get("MAIL_SMTP_PORT", "2525"))


@dataclass
class SendEmail:
    template: str
    recipient: str
    fields: dict[str, str]


@dataclass
class GenerateReport:
    title: str
    years: list[int]


@dataclass
class Report:
    file: str
    days: int


SEND_EMAIL = JobType("SEND_EMAIL", SendEmail)
GENERATE_REPORT = JobType("GENERATE_REPORT", GenerateReport, result=Report)

service = JobService(FileJobStorage(FOLDER / "jobs"), concurrency=8)


# A `def` handler runs in a thread of its own, so it may block. The SMTP server of the demo says
# "try again" and means it, so a second is a good delay; a real one wants a minute.
@service.handler(SEND_EMAIL, retries=5, retry_delay=1, timeout=30)
def send_email(job: Job[SendEmail]) -> None:
    mail = mails.compose(job.data.template, job.data.recipient, job.data.fields)
    # A job runs at least once: if a worker dies after the mail has left and before that is
    # recorded, it leaves again. The same id tells the two apart from two different mails.
    mail["Message-ID"] = f"<{job.id}@example.com>"
    mail["X-Job-Id"] = job.id
    try:
        with smtplib.SMTP("127.0.0.1", SMTP_PORT, timeout=10) as smtp:
            smtp.send_message(mail)
    except smtplib.SMTPRecipientsRefused as refused:
        code, text = refused.recipients[job.data.recipient]
        if code >= 500:  # no such mailbox: no retry mends that
            raise FailJob(f"{code} {text.decode()}") from refused
        raise  # any other error, such as 451, is retried with backoff
    job.log.info(f"accepted by the server for {job.data.recipient}")


@service.handler(GENERATE_REPORT, retries=2, retry_delay=1, timeout=60)
async def generate_report(job: Job[GenerateReport]) -> Report:
    job.progress(0.1, "reading the observations")
    record = await asyncio.to_thread(weather.read_days)
    job.progress(0.4, "drawing")
    page = await asyncio.to_thread(report.render, record, job.data.years, job.data.title)
    job.progress(0.9, "writing")
    file = FOLDER / "reports" / f"{job.data.title.lower().replace(' ', '-')}.html"
    report.write(file, page)
    return Report(str(file), days=sum(day.date.year in job.data.years for day in record))
