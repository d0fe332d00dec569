-- Workflows and batches. kind: 0 workflow, 1 batch. on_failure: 0 stop, 1 continue, 2 compensate.
-- open_jobs: of `jobs`, those that have not ended. open_others: callbacks and undo jobs that have not.
CREATE TABLE flow (
    key         INTEGER PRIMARY KEY AUTOINCREMENT,
    id          TEXT NOT NULL UNIQUE,
    name        TEXT NOT NULL,
    kind        INTEGER NOT NULL,
    on_failure  INTEGER NOT NULL,
    created_at  INTEGER NOT NULL,
    finished_at INTEGER,
    jobs        INTEGER NOT NULL DEFAULT 0,
    open_jobs   INTEGER NOT NULL DEFAULT 0,
    open_others INTEGER NOT NULL DEFAULT 0,
    completed   INTEGER NOT NULL DEFAULT 0,
    failed      INTEGER NOT NULL DEFAULT 0,
    cancelled   INTEGER NOT NULL DEFAULT 0,
    undone      INTEGER NOT NULL DEFAULT 0
);
CREATE INDEX flow_finished ON flow (finished_at) WHERE finished_at IS NOT NULL;

-- role: 0 a job, 1 a callback, 2 an undo job. waits: for how many jobs it still waits.
-- counted: the state with which it was counted as ended; 0: it was not.
-- doomed: it was cancelled since what it waited for did not complete.
CREATE TABLE member (
    job     INTEGER PRIMARY KEY,
    flow    INTEGER NOT NULL,
    role    INTEGER NOT NULL,
    anyway  INTEGER NOT NULL,
    waits   INTEGER NOT NULL,
    counted INTEGER NOT NULL DEFAULT 0,
    doomed  INTEGER NOT NULL DEFAULT 0,
    undo    TEXT
);
CREATE INDEX member_flow ON member (flow, job);
CREATE INDEX member_callback ON member (flow) WHERE role = 1;
CREATE INDEX member_open ON member (job) WHERE counted = 0;

-- done: the job that is waited for has ended, and its child waits for one less.
CREATE TABLE edge (
    parent INTEGER NOT NULL,
    child  INTEGER NOT NULL,
    done   INTEGER NOT NULL DEFAULT 0,
    PRIMARY KEY (parent, child)
) WITHOUT ROWID;
CREATE INDEX edge_child ON edge (child, parent);

CREATE INDEX job_blocked_expiry ON job (expires_at) WHERE state = 5 AND expires_at IS NOT NULL;
