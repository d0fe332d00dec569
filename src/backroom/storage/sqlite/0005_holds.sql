-- Unique keys that are not held until their job ends: those stand in `job.unique_key`.
-- until: 0 until the job starts, else until that moment, whatever becomes of the job.
-- last: the job whose data and time the one that holds the key got last.
CREATE TABLE hold (
    type       TEXT NOT NULL,
    unique_key TEXT NOT NULL,
    job        TEXT NOT NULL,
    until      INTEGER NOT NULL,
    last       TEXT,
    PRIMARY KEY (type, unique_key)
) WITHOUT ROWID;

CREATE INDEX hold_job ON hold (job);
CREATE INDEX hold_until ON hold (until) WHERE until > 0;
CREATE INDEX hold_start ON hold (job) WHERE until = 0;
