-- The numbers of limits, by name. per: of a rate, the microseconds in which it allows so many starts;
-- 0 where it is none.
CREATE TABLE limits (
    name  TEXT PRIMARY KEY,
    most  INTEGER NOT NULL,
    per   INTEGER NOT NULL,
    burst INTEGER NOT NULL
) WITHOUT ROWID;

-- What active jobs hold. No permit outlives the state 1 of its job.
CREATE TABLE permit (
    job   INTEGER NOT NULL,
    name  TEXT NOT NULL,
    key   TEXT NOT NULL,
    slots INTEGER NOT NULL,
    PRIMARY KEY (job, name, key)
) WITHOUT ROWID;
CREATE INDEX permit_place ON permit (name, key, slots);

-- For what jobs of state 5 wait, where that is room in a limit. called_at: since when room is kept for
-- one that was called, and waits to be claimed again.
CREATE TABLE blocked (
    job      INTEGER PRIMARY KEY,
    name     TEXT NOT NULL,
    key      TEXT NOT NULL,
    slots    INTEGER NOT NULL,
    queue    TEXT NOT NULL,
    priority INTEGER NOT NULL,
    run_at   INTEGER NOT NULL,
    called_at INTEGER
);
CREATE INDEX blocked_line ON blocked (name, key, priority, run_at, job) WHERE called_at IS NULL;
CREATE INDEX blocked_called ON blocked (name, key, slots) WHERE called_at IS NOT NULL;
CREATE INDEX IF NOT EXISTS job_blocked_expiry ON job (expires_at)
    WHERE state = 5 AND expires_at IS NOT NULL;

-- Of a rate, by key: when the next start would be on time if all were evenly spread.
CREATE TABLE pace (
    name    TEXT NOT NULL,
    key     TEXT NOT NULL,
    free_at INTEGER NOT NULL,
    PRIMARY KEY (name, key)
) WITHOUT ROWID;

-- Up to which moment the jobs of a key have their turns. A job that takes turns waits at a moment that is
-- behind the last one of its key, and not before the first job that waits.
CREATE TABLE turn (
    queue    TEXT NOT NULL,
    priority INTEGER NOT NULL,
    key      TEXT NOT NULL,
    stamp    INTEGER NOT NULL,
    PRIMARY KEY (queue, priority, key)
) WITHOUT ROWID;

-- Jobs that take their turn when they are due.
CREATE TABLE later (
    job INTEGER PRIMARY KEY,
    due INTEGER NOT NULL
);
CREATE INDEX later_due ON later (due);
