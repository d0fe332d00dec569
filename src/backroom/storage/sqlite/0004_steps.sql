-- kind: 0 a function, 1 a sleep, 2 the wait for a signal.
-- ended_at: null while it waits, and of a sleep always. result: JSON; null: no signal came in time.
CREATE TABLE step (
    job      INTEGER NOT NULL,
    number   INTEGER NOT NULL,
    kind     INTEGER NOT NULL,
    name     TEXT NOT NULL,
    begun_at INTEGER NOT NULL,
    until    INTEGER,
    ended_at INTEGER,
    result   TEXT,
    signal   TEXT,
    PRIMARY KEY (job, number)
);

-- Signals that nobody has taken yet, in the order in which they came.
CREATE TABLE signal (
    number INTEGER PRIMARY KEY AUTOINCREMENT,
    job    INTEGER NOT NULL,
    id     TEXT NOT NULL,
    name   TEXT NOT NULL,
    value  TEXT NOT NULL,
    at     INTEGER NOT NULL
);
CREATE INDEX signal_job ON signal (job, name);
