"""A step is kept under its lease, a signal is not lost, and a changed order is not mixed."""

from __future__ import annotations

from tests.mutants.mutant import Mutant

__all__ = ["MUTANTS"]

CONTRACT = "contract/test_steps.py"
ENGINE = "engine/test_steps.py"
SERVER = "postgres/test_steps.py"
SQLITE = "storage/sqlite/steps.py"
STATEMENTS = "storage/postgres/steps.sql"
REPLAY = "replay.py"

MUTANTS = (
    Mutant(
        name="steps-fenced",
        promises=(2,),
        guard="a worker that lost its lease keeps no step and takes no signal, in a folder",
        file=SQLITE,
        old="    if not ledger.run(STANDS, (key, token)).fetchone():",
        new="    if False:",
        tests=(CONTRACT,),
    ),
    Mutant(
        name="steps-fenced-on-a-server",
        promises=(2,),
        guard="a worker that lost its lease keeps no step, on a server",
        file=STATEMENTS,
        old="""
            SELECT token FROM {held} WHERE token = $2 AND $1::uuid = ANY(ids) FOR KEY SHARE
        ), kept AS (
        """,
        new="""
            SELECT $2::bigint AS token
        ), kept AS (
        """,
        tests=(CONTRACT,),
    ),
    Mutant(
        name="steps-claim-held",
        promises=(2,),
        guard="the claim under which a step is kept is not taken away meanwhile",
        file=STATEMENTS,
        old="""
            SELECT token FROM {held} WHERE token = $2 AND $1::uuid = ANY(ids) FOR KEY SHARE
        ), kept AS (
        """,
        new="""
            SELECT token FROM {held} WHERE token = $2 AND $1::uuid = ANY(ids)
        ), kept AS (
        """,
        tests=(f"{SERVER}::test_a_step_waits_for_who_takes_its_claim_away",),
    ),
    Mutant(
        name="steps-signal-before-the-wait",
        promises=(1,),
        guard="the outcome that puts a job aside looks whether the signal is there, in a folder",
        file=SQLITE,
        old="        if t.step.kind == StepKind.SIGNAL:",
        new="        if False:",
        tests=(CONTRACT, ENGINE),
    ),
    Mutant(
        name="steps-signal-before-the-wait-on-a-server",
        promises=(1,),
        guard="the outcome that puts a job aside looks whether the signal is there, on a server",
        file=STATEMENTS,
        old="WHERE j.id = g.job AND g.kind = 2 AND r.queue = j.queue",
        new="WHERE false AND j.id = g.job AND g.kind = 2 AND r.queue = j.queue",
        tests=(CONTRACT,),
    ),
    Mutant(
        name="steps-signal-holds-the-job",
        promises=(1,),
        guard="a signal and the outcome that waits for it come one after the other",
        file=STATEMENTS,
        old="SELECT id FROM {jobs} WHERE id = $1 FOR NO KEY UPDATE;",
        new="SELECT id FROM {jobs} WHERE id = $1;",
        tests=(SERVER,),
    ),
    Mutant(
        name="steps-signal-wakes",
        promises=(1,),
        guard="a signal wakes the job that waits for it, in a folder",
        file=SQLITE,
        old="    ledger.run(WAKE, (key, signal.name, now))",
        new="    ledger.run('UPDATE job SET run_at = run_at WHERE false')",
        tests=(CONTRACT,),
    ),
    Mutant(
        name="steps-signal-wakes-no-retry",
        promises=(4,),
        guard="a signal does not wake a job that waits for its retry",
        file=SQLITE,
        old="AND step.ended_at IS NULL AND step.until = job.run_at)",
        new="AND step.ended_at IS NULL)",
        tests=(CONTRACT,),
    ),
    Mutant(
        name="steps-signal-wakes-no-retry-on-a-server",
        promises=(4,),
        guard="a signal does not wake a job that waits for its retry, on a server",
        file=STATEMENTS,
        old="AND s.until = j.run_at AND r.queue",
        new="AND r.queue",
        tests=(CONTRACT,),
    ),
    Mutant(
        name="steps-signal-once",
        promises=(6,),
        guard="a signal that is sent again is kept once, also after it was taken",
        file=SQLITE,
        old="UNION ALL SELECT 1 FROM step WHERE job = ?1 AND signal = ?2",
        new="",
        tests=(CONTRACT,),
    ),
    Mutant(
        name="steps-signal-taken-once",
        promises=(6,),
        guard="who asks again for the signal it has taken gets the same, and takes no other",
        file=SQLITE,
        old="        if one.number == step.number and one.ended_at is not None:",
        new="        if False:",
        tests=(CONTRACT,),
    ),
    Mutant(
        name="steps-ended-take-no-signal",
        promises=(3,),
        guard="a job that has ended takes no signal",
        file=SQLITE,
        old="    if State.COMPLETED <= state <= State.CANCELLED:",
        new="    if False:",
        tests=(CONTRACT,),
    ),
    Mutant(
        name="steps-aside-fenced",
        promises=(2,),
        guard="an outcome that was refused puts nothing aside",
        file=SQLITE,
        old="        if t.step is None or not _is_written(ledger, t):",
        new="        if t.step is None:",
        tests=(CONTRACT,),
    ),
    Mutant(
        name="steps-order",
        promises=(2,),
        guard="another step than was kept under a number ends the job",
        file=REPLAY,
        old="        if (kept.kind, kept.name) != (fresh.kind, fresh.name):",
        new="        if False:",
        tests=(ENGINE,),
    ),
    Mutant(
        name="steps-order-kind",
        promises=(2,),
        guard="a sleep in the place of a step of that name is another step",
        file=REPLAY,
        old="        if (kept.kind, kept.name) != (fresh.kind, fresh.name):",
        new="        if kept.name != fresh.name:",
        tests=(ENGINE,),
    ),
    Mutant(
        name="steps-kept-before-they-return",
        promises=(1,),
        guard="a step is kept before it returns",
        file=REPLAY,
        old="        return await self.keep(ended)",
        new="        return ended",
        tests=(ENGINE,),
    ),
    Mutant(
        name="steps-patient",
        promises=(2,),
        guard="what a step has done is not done again while the storage is away",
        file="stepper.py",
        old="            except StorageError as error:",
        new="            except ZeroDivisionError as error:",
        tests=(ENGINE,),
    ),
    Mutant(
        name="steps-aside-past-the-handler",
        promises=(4,),
        guard="a handler that catches everything is put aside all the same",
        file="runner.py",
        old="        if running.job.aside is not None:",
        new="        if False and running.job.aside is not None:",
        tests=(ENGINE,),
    ),
    Mutant(
        name="steps-go-with-their-job",
        promises=(10,),
        guard="what is kept of steps goes with the job, in a folder",
        file="storage/sqlite/retention.py",
        old='("step", "job"), ("signal", "job")',
        new='("signal", "job")',
        tests=(CONTRACT,),
    ),
    Mutant(
        name="steps-go-with-their-job-on-a-server",
        promises=(10,),
        guard="what is kept of steps goes with the job, on a server",
        file="storage/postgres/retention.sql",
        old="     s AS (DELETE FROM {steps} WHERE job = ANY($1::uuid[])),",
        new="",
        tests=(CONTRACT,),
    ),
)
