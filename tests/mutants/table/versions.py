"""Versions of data: newer data waits for newer code, older data is led up (promises 3 and 4)."""

from __future__ import annotations

from tests.mutants.mutant import Mutant

__all__ = ["MUTANTS"]

MUTANTS = (
    Mutant(
        name="versions-newer-is-parked",
        promises=(3,),
        guard="data newer than the code of a worker is parked, and not run by it",
        file="runner.py",
        old="            if version > known.version:",
        new="            if version > 1000:",
        tests=("engine/test_versions.py",),
    ),
    Mutant(
        name="versions-older-is-upgraded",
        promises=(3,),
        guard="data of an older version is not read as though it were of the newest",
        file="runner.py",
        old="known.data.decode(claim.data) if version == known.version else None",
        new="known.data.decode(claim.data)",
        tests=("engine/test_versions.py",),
    ),
    Mutant(
        name="versions-in-a-thread",
        promises=(4,),
        guard="old data is upgraded where its handler runs, which may be a thread",
        file="runner.py",
        old="run(_call, running, handler, job)",
        new="run(handler, job)",
        tests=("engine/test_versions.py",),
    ),
    Mutant(
        name="versions-start-first",
        promises=(4,),
        guard="a start is counted before an upgrade runs",
        file="runner.py",
        old="""
        try:
            if self._note_start(running.claim):
                running.group.add(running, self._loop.time())
                if running.older is not None:
                    job.data = running.known.read(running.claim.data, running.older)
        """,
        new="""
        try:
            if running.older is not None:
                job.data = running.known.read(running.claim.data, running.older)
            if self._note_start(running.claim):
                running.group.add(running, self._loop.time())
        """,
        tests=("engine/test_versions.py",),
    ),
    Mutant(
        name="versions-in-the-child",
        promises=(3,),
        guard="a child process upgrades old data",
        file="child.py",
        old="            if version != known.version:",
        new="            if version > known.version:",
        tests=("process/test_versions.py",),
    ),
    Mutant(
        name="versions-said-with-the-job",
        promises=(3,),
        guard="a job remembers the version of its data from the moment it is scheduled",
        file="scheduling.py",
        old="known.mark, None, expires_at,",
        new="None, None, expires_at,",
        tests=("unit/test_versions.py", "engine/test_versions.py"),
    ),
    Mutant(
        name="versions-said-among-options",
        promises=(3,),
        guard="it does so whatever else is said of it",
        file="scheduling.py",
        old="    if version != FIRST:",
        new="    if version != FIRST and not kept:",
        tests=("unit/test_versions.py", "engine/test_versions.py"),
    ),
    Mutant(
        name="versions-step-by-step",
        promises=(3,),
        guard="no step of the way up is left out",
        file="versions.py",
        old="        for old in range(version, FIRST + len(self.steps)):",
        new="        for old in range(len(self.steps), FIRST + len(self.steps)):",
        tests=("unit/test_versions.py",),
    ),
    Mutant(
        name="versions-last-is-checked",
        promises=(3,),
        guard="what the last step gave is read as the type of the data",
        file="versions.py",
        old="            return top.decode(text)",
        new="            return given",
        tests=("unit/test_versions.py",),
    ),
    Mutant(
        name="versions-no-gap",
        promises=(3,),
        guard="a version without a way up is refused when the type is made",
        file="versions.py",
        old="        if old not in upgrade:",
        new="        if old not in upgrade and old > LATEST:",
        tests=("unit/test_versions.py",),
    ),
    Mutant(
        name="versions-one-a-type",
        promises=(3,),
        guard="one type has one version in a process",
        file="registry.py",
        old="    if known.version != version:",
        new="    if known.version > version:",
        tests=("unit/test_versions.py",),
    ),
    Mutant(
        name="versions-claimed-by-who-knows",
        promises=(3,),
        guard="a worker does not claim parked data that is newer than its code",
        file="storage/sqlite/claims.py",
        old="AND {VERSION} > ?3 AND {VERSION} <= ?4 ORDER BY",
        new="AND {VERSION} > ?3 AND ?4 ORDER BY",
        tests=("contract/test_versions.py",),
    ),
    Mutant(
        name="versions-each-is-a-kind",
        promises=(3, 12),
        guard="parked jobs of one type are claimed by version",
        file="storage/sqlite/claims.py",
        old='_PARKED = f"state = 6 AND queue = ?1 AND type = ?5 AND {VERSION} = ?6"',
        new='_PARKED = f"state = 6 AND queue = ?1 AND type = ?5 AND {VERSION} <= 9 + ?6"',
        tests=("contract/test_versions.py",),
    ),
    Mutant(
        name="versions-parked-with-theirs",
        promises=(3,),
        guard="PostgreSQL: a parked job waits under the version of its data",
        file="storage/postgres/outcomes.sql",
        old="(SELECT coalesce((j.options::json->>'version')::integer, 1)",
        new="(SELECT coalesce((j.options::json->>'no version')::integer, 1)",
        tests=("contract/test_versions.py",),
    ),
    Mutant(
        name="versions-moved-with-theirs",
        promises=(3,),
        guard="PostgreSQL: what comes parked from another storage waits under its version",
        file="storage/postgres/moving.sql",
        old="coalesce((options::json->>'version')::integer, 1)",
        new="coalesce((options::json->>'no version')::integer, 1)",
        tests=("contract/test_moving.py",),
    ),
    Mutant(
        name="versions-asked-for",
        promises=(3,),
        guard="PostgreSQL: a worker asks for no version that is newer than its code",
        file="storage/postgres/claiming.py",
        old="        for version in range(1, latest + 1)",
        new="        for version in range(1, 10)",
        tests=("contract/test_versions.py",),
    ),
)
