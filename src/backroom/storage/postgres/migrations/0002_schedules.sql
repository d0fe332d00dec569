-- Schedules, and what became of their ticks.

-- kept: how many rows of `ticks` are of it.
CREATE TABLE {schedules} (
    id         bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    name       text NOT NULL UNIQUE,
    rule       text NOT NULL,
    tz         text NOT NULL,
    type       text NOT NULL,
    queue      text NOT NULL,
    priority   smallint NOT NULL,
    data       text NOT NULL,
    options    text,
    expires_in bigint,
    missed     text NOT NULL,
    overlap    text NOT NULL,
    jitter     bigint NOT NULL,
    origin     text NOT NULL,
    paused     boolean NOT NULL,
    created_at bigint NOT NULL,
    revision   bigint NOT NULL,
    next_at    bigint,
    last_at    bigint,
    last_job   text,
    kept       integer NOT NULL DEFAULT 0
);
CREATE INDEX {schedules_due} ON {schedules} (next_at, id) WHERE NOT paused AND next_at IS NOT NULL;

-- One row a tick, or a run of ticks that were skipped for the same reason.
-- asked: the id of the job that was to be made, where the live one with its unique key is `job`.
CREATE TABLE {ticks} (
    schedule   bigint NOT NULL,
    at         bigint NOT NULL,
    until      bigint NOT NULL,
    count      integer NOT NULL,
    outcome    text NOT NULL,
    job        uuid,
    asked      uuid,
    decided_at bigint NOT NULL,
    PRIMARY KEY (schedule, at)
);
