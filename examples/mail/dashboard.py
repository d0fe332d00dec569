"""The dashboard over the demo's jobs: `python3 dev.py dashboard`.

It starts the SMTP server of the demo, schedules a few hundred mails and reports, some of which
cannot be delivered, and runs a worker beside the page. Ctrl-C ends all of it.
"""

from __future__ import annotations

import argparse
import asyncio
import logging
import os
import sys
import webbrowser
from datetime import timedelta
from pathlib import Path

from backroom import JobRequest, JobService
from backroom.web import dashboard
from backroom.web.serving import serve

from .demo import promotion_for, start_smtp_server
from .folder import FolderRefusedError, fresh_folder
from .processes import children

NEWCOMERS, CUSTOMERS = 60, 240


async def schedule(service: JobService) -> None:
    """Mails that are delivered, mails that never will be, reports, a workflow and two schedules."""
    from .jobs import GENERATE_REPORT, SEND_EMAIL, GenerateReport, SendEmail

    fields = {"plan": "Daily forecast, free", "confirm_url": "https://example.com/confirm"}
    for number in range(NEWCOMERS):
        # The server knows no mailbox at that other domain: those fail for good.
        domain = "example.org" if number % 5 else "nowhere.invalid"
        email = SendEmail("welcome", f"newcomer-{number:04}@{domain}", fields)
        await service.schedule(SEND_EMAIL, email, priority="high", delay=number / 4,
                               tags=["welcome"])  # fmt: skip
    customers = [f"customer-{number:04}@example.com" for number in range(CUSTOMERS)]
    await service.schedule_many(
        [
            JobRequest(SEND_EMAIL, SendEmail("promotion", customer, promotion_for(customer)),
                       priority="low", tags=["promotion", "spring"])
            for customer in customers
        ]
    )  # fmt: skip
    # A template that nobody wrote: fails each time it is tried.
    for number in range(8):
        email = SendEmail("invoice", f"customer-{number:04}@example.com", {})
        await service.schedule(SEND_EMAIL, email, retries=1, tags=["invoice"])
    async with service.workflow("yearly weather") as flow:
        years = [
            flow.add(GENERATE_REPORT, GenerateReport(f"Seattle weather {year}", [year]))
            for year in (2012, 2013, 2014, 2015)
        ]
        whole = GenerateReport("Seattle weather 2012 to 2015", [2012, 2013, 2014, 2015])
        flow.add(GENERATE_REPORT, whole, after=years)
    await service.cron("*/5 * * * *", GENERATE_REPORT, GenerateReport("Seattle today", [2015]),
                       name="weather-report", tz="America/Los_Angeles")  # fmt: skip
    await service.every(timedelta(seconds=30), SEND_EMAIL,
                        SendEmail("welcome", "heartbeat@example.com", fields),
                        name="heartbeat")  # fmt: skip


async def run(folder: Path, host: str, port: int, *, browse: bool) -> None:
    with children() as family:
        smtp_port = await start_smtp_server(family, folder)
        os.environ.update(MAIL_DEMO_DIR=str(folder), MAIL_SMTP_PORT=str(smtp_port))
        from .jobs import service  # only now: it reads these two when it is imported

        def ready(url: str) -> None:
            print(f"the dashboard is at {url}   (Ctrl-C ends it)", flush=True)
            if browse:
                webbrowser.open(url)

        logging.basicConfig(filename=folder / "worker.log", level=logging.INFO)
        await service.open()
        await schedule(service)
        app = dashboard(service, title="Backroom demo")
        await serve(app, service, host=host, port=port, worker=True, grace=2, ready=ready)


def main() -> int:
    parser = argparse.ArgumentParser(prog="dev.py dashboard",
                                     description=__doc__.partition("\n")[0])  # fmt: skip
    parser.add_argument("--dir", type=Path, default=Path("storage/dashboard"))
    parser.add_argument("--port", type=int, default=8000, help="0: any that is free")
    parser.add_argument("--no-browser", action="store_true", help="do not open one")
    options = parser.parse_args()
    browse = not options.no_browser and os.environ.get("CI") != "true"
    try:
        with fresh_folder(options.dir) as folder:
            asyncio.run(run(folder, "127.0.0.1", options.port, browse=browse))
    except (FolderRefusedError, ValueError) as error:
        print(f"dashboard: {error}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        pass
    return 0


if __name__ == "__main__":
    sys.exit(main())
