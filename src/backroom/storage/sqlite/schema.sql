-- The tables of an embedded job store. Moments are microseconds since 1970 (UTC).
-- Readable with any SQLite shell: select * from job where state = 3;

CREATE TABLE meta (
    name  TEXT PRIMARY KEY,
    value INTEGER NOT NULL
) WITHOUT ROWID;

-- state: 0 waiting, 1 active, 2 completed, 3 failed, 4 cancelled, 5 blocked, 6 parked.
-- priority: 0 critical, 1 high, 2 normal, 3 low.
CREATE TABLE job (
    key              INTEGER PRIMARY KEY,
    id               TEXT NOT NULL UNIQUE,
    type             TEXT NOT NULL,
    queue            TEXT NOT NULL,
    priority         INTEGER NOT NULL,
    state            INTEGER NOT NULL,
    run_at           INTEGER NOT NULL,
    created_at       INTEGER NOT NULL,
    data             TEXT NOT NULL,
    options          TEXT,
    unique_key       TEXT,
    expires_at       INTEGER,
    token            INTEGER NOT NULL,
    worker           INTEGER,
    attempt          INTEGER NOT NULL DEFAULT 0,
    crashes          INTEGER NOT NULL DEFAULT 0,
    budget           INTEGER NOT NULL DEFAULT 0,
    cancel_requested INTEGER NOT NULL DEFAULT 0,
    started_at       INTEGER,
    finished_at      INTEGER,
    result           TEXT,
    reason           TEXT,
    progress         REAL,
    progress_message TEXT
);

CREATE INDEX job_ready ON job (queue, priority, run_at) WHERE state = 0;
CREATE INDEX job_active ON job (worker) WHERE state = 1;
CREATE INDEX job_ended ON job (state) WHERE state BETWEEN 2 AND 4;
CREATE INDEX job_parked ON job (queue, type, priority, run_at) WHERE state = 6;
CREATE INDEX job_blocked ON job (state) WHERE state = 5;
CREATE INDEX job_parked_expiry ON job (expires_at) WHERE state = 6 AND expires_at IS NOT NULL;
CREATE INDEX job_expiry ON job (expires_at) WHERE state = 0 AND expires_at IS NOT NULL;
CREATE UNIQUE INDEX job_unique ON job (type, unique_key)
    WHERE unique_key IS NOT NULL AND state NOT BETWEEN 2 AND 4;

CREATE TABLE job_error (
    job       INTEGER NOT NULL,
    attempt   INTEGER NOT NULL,
    at        INTEGER NOT NULL,
    kind      TEXT NOT NULL,
    message   TEXT NOT NULL,
    traceback TEXT
);
CREATE INDEX job_error_job ON job_error (job);

CREATE TABLE job_log (
    job     INTEGER NOT NULL,
    attempt INTEGER NOT NULL,
    at      INTEGER NOT NULL,
    level   TEXT NOT NULL,
    message TEXT NOT NULL
);
CREATE INDEX job_log_job ON job_log (job);

CREATE TABLE queue (
    name   TEXT PRIMARY KEY,
    paused INTEGER NOT NULL DEFAULT 0
) WITHOUT ROWID;

-- started: the keys of the claims whose user code may have begun, as a JSON array.
CREATE TABLE worker (
    id          INTEGER PRIMARY KEY AUTOINCREMENT,
    name        TEXT NOT NULL,
    boot        TEXT NOT NULL,
    lease       REAL NOT NULL,
    lease_until REAL NOT NULL,
    started_at  INTEGER NOT NULL,
    started     TEXT NOT NULL DEFAULT '[]'
);
