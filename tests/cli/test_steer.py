"""Jobs that people schedule, retry, cancel and delete, one by one or all that match."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from backroom import JobNotFoundError, JobService, OptionError
from backroom.job import SECOND
from backroom.limit import LimitRecord
from tests.cli.parts import Terminal, backroom
from tests.process.parts import scheduling


class Place:
    """A store, and a service of this process that schedules there."""

    def __init__(self, service: JobService, url: str) -> None:
        self.service = service
        self.on = ("--storage", url)

    async def statuses(self) -> dict[str, int]:
        counts = (await self.service.get_stats()).by_status
        return {name: count for name, count in counts.items() if count}


@pytest.fixture
async def place(tmp_path: Path) -> AsyncIterator[Place]:
    async with scheduling(tmp_path / "jobs") as service:
        await service.open()
        yield Place(service, f"file:{tmp_path / 'jobs'}")


# -- by filter -----------------------------------------------------------------------------------


async def test_all_that_match_are_cancelled_retried_and_deleted(place: Place) -> None:
    for tag in ("a", "a", "b"):
        await place.service.schedule("QUICK", tags=[tag])
    shown = backroom("jobs", "cancel", "--tag", "a", "--yes", *place.on)
    assert shown == (0, "2 jobs cancelled\n", "")
    assert await place.statuses() == {"cancelled": 2, "pending": 1}
    assert backroom("jobs", "retry", "--type", "QUICK", "--yes", *place.on).out == "no jobs match\n"
    shown = backroom(
        "jobs", "retry", "--status", "cancelled", "--tag", "a", "-y", "--json", *place.on
    )
    assert json.loads(shown.out) == {"retried": 2}
    backroom("jobs", "cancel", "--queue", "default", "--yes", *place.on)
    shown = backroom("jobs", "delete", "--type", "QUICK", "--yes", *place.on)
    assert shown.out == "3 jobs deleted\n"
    assert await place.statuses() == {}


async def test_a_bulk_of_jobs_is_deleted_only_where_that_makes_sense(place: Place) -> None:
    await place.service.schedule("QUICK")
    with pytest.raises(OptionError, match="delete_jobs needs a filter"):
        await place.service.delete_jobs()
    with pytest.raises(OptionError, match="only ended jobs are deleted in bulk, not pending ones"):
        await place.service.delete_jobs(status="pending")
    assert await place.service.delete_jobs(type="QUICK") == 0
    assert await place.statuses() == {"pending": 1}


async def test_one_job_is_deleted_by_its_id(place: Place) -> None:
    job_id = str(await place.service.schedule("QUICK"))
    shown = backroom("jobs", "delete", job_id, *place.on)
    assert shown == (0, f"{job_id}  deleted\n", "")
    with pytest.raises(JobNotFoundError):
        await place.service.get_job(job_id)


@pytest.mark.parametrize("verb", ["retry", "cancel", "delete"])
async def test_where_nobody_can_be_asked_a_filter_needs_yes(place: Place, verb: str) -> None:
    await place.service.schedule("QUICK")
    shown = backroom("jobs", verb, "--type", "QUICK", *place.on, given="y\n")
    assert shown.code == 2
    assert "add --yes" in shown.err
    assert await place.statuses() == {"pending": 1}


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (["cancel"], "by id, or by a filter"),
        (["cancel", "an-id", "--tag", "a"], "not both"),
        (["cancel", "--status", "completed"], "'completed' is not one of"),
        (["retry", "--status", "pending"], "'pending' is not one of"),
        (["delete", "--status", "active"], "'active' is not one of"),
    ],
)
async def test_what_makes_no_sense_is_refused(
    place: Place, arguments: list[str], says: str
) -> None:
    shown = backroom("jobs", *arguments, *place.on)
    assert shown.code == 2
    assert says in " ".join(shown.err.split())


async def test_on_a_terminal_it_is_shown_what_matches_and_asked(place: Place) -> None:
    ids = [str(await place.service.schedule("QUICK")) for _ in range(7)]
    for answer, code, left in (("n", 1, {"pending": 7}), ("y", 0, {"cancelled": 7})):
        terminal = Terminal("jobs", "cancel", "--type", "QUICK", *place.on)
        terminal.shows("Cancel 7 jobs? [y/N]:")
        assert ids[-1] in terminal.text
        assert "and 2 more" in terminal.text
        terminal.types(f"{answer}\n")
        assert terminal.ends() == code, terminal.text
        assert await place.statuses() == left
    assert "7 jobs cancelled" in terminal.text


async def test_nobody_is_asked_about_nothing(place: Place) -> None:
    await place.service.schedule("QUICK")
    terminal = Terminal("jobs", "delete", "--type", "QUICK", *place.on)
    assert terminal.ends() == 0
    assert terminal.text == "no jobs match\r\n"


# -- schedule ------------------------------------------------------------------------------------

APP = """
from dataclasses import dataclass
from backroom import JobService, JobType

@dataclass
class Mail:
    to: str

service = JobService("file:store")
service.declare(JobType("MAIL", Mail, queue="mails"))
"""


def test_data_is_checked_by_the_types_of_an_application(tmp_path: Path) -> None:
    (tmp_path / "my_app.py").write_text(APP)
    app = ("--app", "my_app:service")
    made = backroom("jobs", "schedule", "MAIL", "-", *app, cwd=tmp_path, given='{"to": "ada"}')
    assert made.code == 0, made.err
    shown = backroom("jobs", "show", made.out.strip(), *app, "--json", cwd=tmp_path)
    info = json.loads(shown.out)
    assert (info["type"], info["queue"], info["data"]) == ("MAIL", "mails", {"to": "ada"})
    for arguments, says in (
        (["MAIL", '{"to": 3}'], "expected str at $.to of the data, got int"),
        (["MAIL", '{"to": "a", "cc": "b"}'], "unknown key $.cc"),
        (["MAIL"], "missing required field to"),
        (["MALL", "{}"], "did you mean 'MAIL'?"),
    ):
        refused = backroom("jobs", "schedule", *arguments, *app, cwd=tmp_path)
        assert refused.code == 1
        assert says in refused.err


async def test_a_bare_storage_takes_any_type_with_all_options(place: Place) -> None:
    options = [
        "--priority", "high", "--delay", "1.5h", "--queue", "q", "--retries", "2",
        "--retry-delay", "10", "--backoff", "linear", "--timeout", "5m", "--expires-in", "2d",
        "--unique-key", "k", "--tag", "a", "--tag", "b", "--metadata", '{"by": "me"}',
    ]  # fmt: skip
    made = backroom("jobs", "schedule", "ANY", '{"n": 1}', *options, "--json", *place.on)
    assert made.code == 0, made.err
    info = await place.service.get_job(json.loads(made.out)["id"])
    assert (info.type, info.queue, info.priority, info.data) == ("ANY", "q", "high", {"n": 1})
    assert (info.run_at - info.created_at).total_seconds() == 5400
    assert (info.tags, info.metadata, info.unique_key) == (("a", "b"), {"by": "me"}, "k")
    assert info.options["timeout"] == 300
    assert info.options["retry_delay"] == 10
    again = backroom("jobs", "schedule", "ANY", "--unique-key", "k", *place.on)
    assert again.out.strip() == info.id


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (["ANY", "{"], "is no JSON"),
        (["ANY", "[1]"], "must be a JSON object, got list"),
        (["ANY", "--delay", "soon"], "'soon' is no duration"),
        (["ANY", "--run-at", "2030-01-01"], "does not say its zone"),
        (["ANY", "--run-at", "tomorrow"], "is no moment"),
        (["ANY", "--priority", "urgent"], "'urgent' is not one of"),
        (["ANY", "--metadata", "x"], "'x' is no JSON"),
        (["app.jobs:service", "ANY"], "did you mean --app app.jobs:service?"),
    ],
)
async def test_a_job_that_makes_no_sense_is_not_scheduled(
    place: Place, arguments: list[str], says: str
) -> None:
    shown = backroom("jobs", "schedule", *arguments, *place.on)
    assert shown.code == 2
    assert says in " ".join(shown.err.split())
    assert await place.statuses() == {}


# -- queues --------------------------------------------------------------------------------------


async def test_queues_are_listed_paused_and_resumed(place: Place) -> None:
    await place.service.schedule("QUICK", queue="mail")
    shown = backroom("queues", "pause", "mail", *place.on)
    assert shown == (0, "mail  paused\n", "")
    assert "mail (paused)" in backroom("queues", "list", *place.on).out
    shown = backroom("queues", "resume", "mail", "--json", *place.on)
    assert json.loads(shown.out) == {"mail": "resumed"}
    [queue] = json.loads(backroom("queues", "list", "--json", *place.on).out)
    assert (queue["name"], queue["paused"], queue["pending"]) == ("mail", False, 1)
    assert "did you mean 'mail'?" in backroom("queues", "pause", "male", *place.on).err


async def test_limits_are_listed(place: Place) -> None:
    assert "no job has had a limit yet" in backroom("limits", *place.on).out
    numbers = [LimitRecord("gpu", 16), LimitRecord("calls", 50, SECOND, 5)]
    await place.service.storage.put_limits(numbers)
    shown = backroom("limits", *place.on).out
    assert ["calls", "50", "in", "1", "s", "0"] in [line.split() for line in shown.splitlines()]
    [_, gpu] = json.loads(backroom("limits", "--json", *place.on).out)
    assert (gpu["name"], gpu["most"], gpu["used"], gpu["blocked"]) == ("gpu", 16, 0, 0)


# -- another moment, another priority, limits; and what is written down of that ------------------


async def test_jobs_are_given_another_moment_by_id_and_by_filter(place: Place) -> None:
    one = await place.service.schedule("QUICK", tags=["a"])
    await place.service.schedule("QUICK", {"to": "Ada Lovelace"})
    shown = backroom("jobs", "reschedule", one, "--delay", "1h", *place.on)
    assert shown == (0, f"{one}  rescheduled\n", "")
    assert await place.statuses() == {"scheduled": 1, "pending": 1}
    shown = backroom(
        "jobs", "reschedule", "--at", "2099-01-01T00:00:00Z", "--text", "LOVELACE", "-y", *place.on
    )
    assert shown == (0, "1 job rescheduled\n", "")
    assert await place.statuses() == {"scheduled": 2}
    shown = backroom("jobs", "reschedule", "--delay", "0", "--since", "1h", "-y", *place.on)
    assert shown.out == "2 jobs rescheduled\n"
    assert await place.statuses() == {"pending": 2}
    for wrong in (["--delay", "5m", "--at", "2099-01-01T00:00:00Z"], []):
        assert backroom("jobs", "reschedule", one, *wrong, *place.on).code == 2


async def test_jobs_are_given_another_priority(place: Place) -> None:
    one = await place.service.schedule("QUICK", priority="low")
    two = await place.service.schedule("QUICK")
    shown = backroom("jobs", "priority", "critical", "--priority", "low", "-y", *place.on)
    assert shown == (0, "1 job reprioritized\n", "")
    backroom("jobs", "priority", "high", two, *place.on)
    assert [(await place.service.get_job(job)).priority for job in (one, two)] == [
        "critical", "high",
    ]  # fmt: skip


async def test_a_queue_is_limited_until_that_is_taken_away(place: Place) -> None:
    assert backroom("queues", "limit", "mail", "3", *place.on) == (0, "mail  at most 3\n", "")
    assert [(one.name, one.own) for one in await place.service.get_limits()] == [("queue mail", 3)]
    assert backroom("queues", "limit", "mail", "none", *place.on).out == "mail  as code says\n"
    assert await place.service.get_limits() == []
    assert backroom("queues", "limit", "mail", "many", *place.on).code == 2
    assert backroom("queues", "limit", "mail", "0", *place.on).code == 1


async def test_what_commands_change_is_written_down_with_who_did_it_and_what_came_of_it(
    place: Place,
) -> None:
    one = await place.service.schedule("QUICK")
    backroom("jobs", "cancel", one, "--json", *place.on)
    backroom("jobs", "delete", "--status", "cancelled", "-y", *place.on)
    backroom("queues", "pause", "mail", *place.on)
    assert backroom("jobs", "retry", one, *place.on).code == 1

    actions = list(await place.service.get_actions())

    assert [(one.verb, one.target, one.outcome, one.changed) for one in actions] == [
        ("retry", one, "refused", None),
        ("pause", "queue mail", "done", None),
        ("delete", "jobs", "done", 1),
        ("cancel", one, "done", None),
    ]
    assert {action.actor.partition(":")[0] for action in actions} == {"cli"}
    assert actions[2].detail == {"filter": {"status": "cancelled"}}
    assert "no job has the id" in (actions[0].reason or "")
    shown = backroom("audit", "--verb", "pause", *place.on)
    assert shown.code == 0
    assert "queue mail" in shown.out
    assert "cancel" not in shown.out
    assert len(json.loads(backroom("audit", "--json", *place.on).out)["actions"]) == 4


async def test_what_is_scheduled_at_a_terminal_is_written_down_without_its_data(
    place: Place,
) -> None:
    assert backroom("jobs", "schedule", "QUICK", '{"password": "x"}', *place.on).code == 0
    assert backroom("jobs", "schedule", "QUICK", "--queue", "", *place.on).code == 1

    refused, done = await place.service.get_actions(verb="schedule")

    assert (done.target, done.outcome, done.changed, done.detail) == ("QUICK", "done", 1, None)
    assert (refused.target, refused.outcome) == ("QUICK", "refused")
