-- What became of jobs, by stretch of time, queue and job type. step: the length of the stretch in seconds;
-- 0: since the store was made. at: when it begins. The type '' stands for all of a queue, the queue '' for all.
-- waited, ran: microseconds. waits, runs: how many in each bin of a histogram; errors: attempts by kind.
CREATE TABLE figure (
    step      INTEGER NOT NULL,
    at        INTEGER NOT NULL,
    queue     TEXT NOT NULL,
    type      TEXT NOT NULL,
    scheduled INTEGER NOT NULL,
    completed INTEGER NOT NULL,
    failed    INTEGER NOT NULL,
    retried   INTEGER NOT NULL,
    cancelled INTEGER NOT NULL,
    put_off   INTEGER NOT NULL,
    rescued   INTEGER NOT NULL,
    waited    INTEGER NOT NULL,
    ran       INTEGER NOT NULL,
    waits     TEXT NOT NULL,
    runs      TEXT NOT NULL,
    errors    TEXT NOT NULL,
    PRIMARY KEY (step, at, queue, type)
) WITHOUT ROWID;

-- How deep the queues were. at: when the stretch begins that the sample is of. seen_at: when it was taken.
-- queues: by name, '' for all together: pending, scheduled, blocked, active, seconds of the oldest.
CREATE TABLE depth (
    step    INTEGER NOT NULL,
    at      INTEGER NOT NULL,
    seen_at INTEGER NOT NULL,
    queues  TEXT NOT NULL,
    PRIMARY KEY (step, at)
) WITHOUT ROWID;

-- What each worker has told of itself last. number: of that telling.
CREATE TABLE worker_report (
    worker INTEGER PRIMARY KEY,
    number INTEGER NOT NULL,
    report TEXT
);

-- draining: it claims nothing, as people asked for that.
ALTER TABLE worker ADD COLUMN draining INTEGER NOT NULL DEFAULT 0;
