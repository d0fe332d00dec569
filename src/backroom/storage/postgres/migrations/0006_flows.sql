-- Workflows and batches. kind: 0 workflow, 1 batch. on_failure: 0 stop, 1 continue, 2 compensate.
-- open_jobs: of `jobs`, those that have not ended. open_others: callbacks and undo jobs that have not.
CREATE TABLE {flows} (
    id          uuid PRIMARY KEY,
    name        text NOT NULL,
    kind        smallint NOT NULL,
    on_failure  smallint NOT NULL,
    created_at  bigint NOT NULL,
    finished_at bigint,
    jobs        bigint NOT NULL DEFAULT 0,
    open_jobs   bigint NOT NULL DEFAULT 0,
    open_others bigint NOT NULL DEFAULT 0,
    completed   bigint NOT NULL DEFAULT 0,
    failed      bigint NOT NULL DEFAULT 0,
    cancelled   bigint NOT NULL DEFAULT 0,
    undone      boolean NOT NULL DEFAULT false
) WITH (fillfactor = 50);
CREATE INDEX {flows_finished} ON {flows} (finished_at) WHERE finished_at IS NOT NULL;

-- role: 0 a job, 1 a callback, 2 an undo job. counted: the state with which it was counted as ended;
-- 0: it was not. doomed: it was cancelled since what it waited for did not complete.
CREATE TABLE {members} (
    job     uuid PRIMARY KEY,
    flow    uuid NOT NULL,
    role    smallint NOT NULL,
    anyway  boolean NOT NULL,
    counted smallint NOT NULL DEFAULT 0,
    doomed  boolean NOT NULL DEFAULT false,
    undo    text
);
CREATE INDEX {members_flow} ON {members} (flow, job);
CREATE INDEX {members_callbacks} ON {members} (flow) WHERE role = 1;
CREATE INDEX {members_open} ON {members} (job) WHERE counted = 0;

-- done: the job that is waited for has ended, and its child waits for one less.
CREATE TABLE {edges} (
    parent uuid NOT NULL,
    child  uuid NOT NULL,
    done   boolean NOT NULL DEFAULT false,
    PRIMARY KEY (parent, child)
);
CREATE INDEX {edges_child} ON {edges} (child, parent);

-- Jobs that wait for others, a place like `ready`. waits: for how many.
CREATE TABLE {waiting} (
    id         uuid PRIMARY KEY,
    waits      integer NOT NULL,
    expires_at bigint
) WITH (fillfactor = 50);
CREATE INDEX {waiting_expiry} ON {waiting} (expires_at) WHERE expires_at IS NOT NULL;
