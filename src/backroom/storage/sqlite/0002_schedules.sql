-- kept: how many rows of `tick` are of it.
CREATE TABLE schedule (
    key        INTEGER PRIMARY KEY AUTOINCREMENT,
    name       TEXT NOT NULL UNIQUE,
    rule       TEXT NOT NULL,
    tz         TEXT NOT NULL,
    type       TEXT NOT NULL,
    queue      TEXT NOT NULL,
    priority   INTEGER NOT NULL,
    data       TEXT NOT NULL,
    options    TEXT,
    expires_in INTEGER,
    missed     TEXT NOT NULL,
    overlap    TEXT NOT NULL,
    jitter     INTEGER NOT NULL,
    origin     TEXT NOT NULL,
    paused     INTEGER NOT NULL,
    created_at INTEGER NOT NULL,
    revision   INTEGER NOT NULL,
    next_at    INTEGER,
    last_at    INTEGER,
    last_job   TEXT,
    kept       INTEGER NOT NULL DEFAULT 0
);

CREATE INDEX schedule_due ON schedule (next_at) WHERE NOT paused AND next_at IS NOT NULL;

-- One row a tick, or a run of ticks that were skipped for the same reason.
-- asked: the id of the job that was to be made, where the live one with its unique key is `job`.
CREATE TABLE tick (
    schedule   INTEGER NOT NULL,
    at         INTEGER NOT NULL,
    until      INTEGER NOT NULL,
    count      INTEGER NOT NULL,
    outcome    TEXT NOT NULL,
    job        TEXT,
    asked      TEXT,
    decided_at INTEGER NOT NULL,
    PRIMARY KEY (schedule, at)
) WITHOUT ROWID;
