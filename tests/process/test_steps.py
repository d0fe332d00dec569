"""Workers that are killed in the middle of steps."""

from __future__ import annotations

import pytest

from backroom import JobService
from tests.process.parts import Family, eventually, scheduling

STEPS = 6
APP = "tests.process.steps_app:service"


def did(family: Family, job_id: str, number: int) -> bool:
    return any(e.job == job_id and e.number == number for e in family.entries("did"))


@pytest.mark.crash
@pytest.mark.parametrize("at", range(STEPS))
async def test_a_step_that_was_kept_is_not_done_again_whoever_is_killed(
    family: Family, at: int
) -> None:
    async with scheduling(family.jobs) as service:
        service.declare("ORDER")
        job_id = await service.schedule("ORDER", {"steps": STEPS})
        worker = family.ready(app=APP)
        eventually(lambda: did(family, job_id, at), "the step was begun")
        worker.kill()
        kept = await steps(service, job_id)
        family.ready(app=APP)
        assert await service.result(job_id, timeout=30) == [n * n for n in range(STEPS)]
        done = [entry.number for entry in family.entries("did")]
        assert set(done) == set(range(STEPS))
        for number in range(STEPS):
            assert done.count(number) == 1 or (number not in kept and done.count(number) == 2)
        assert await steps(service, job_id) == set(range(STEPS))


async def steps(service: JobService, job_id: str) -> set[int]:
    """Those that are kept."""
    return {step.number - 1 for step in (await service.get_job(job_id)).steps}
