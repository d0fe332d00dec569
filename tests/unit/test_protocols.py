"""The contract of a service says what a service does; that a service keeps it, mypy says."""

from __future__ import annotations

import inspect

from backroom import JobService, JobServiceProtocol

OF_THE_PROCESS = {"probe"}
"""What asks how the process fares, not what becomes of jobs."""


def test_every_verb_of_a_service_is_part_of_its_contract() -> None:
    verbs = inspect.getmembers(JobService, inspect.iscoroutinefunction)
    done = {name for name, _ in verbs if not name.startswith("_")}
    assert done - OF_THE_PROCESS - set(dir(JobServiceProtocol)) == set()
