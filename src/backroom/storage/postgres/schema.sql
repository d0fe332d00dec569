-- The tables of a job store in PostgreSQL. Moments are microseconds since 1970 (UTC).
--
-- A job that has not ended is in exactly one of four places: it waits in `ready` (or in `parked`,
-- until a worker knows its type), or a worker holds it, or it is `ended`. What it is was
-- written once, into the first table, and never moves: the places hold its id. So a claim and an
-- outcome write little, only small tables have dead rows, and what has ended goes with its
-- partition.

CREATE TABLE {jobs} (
    id               uuid NOT NULL,
    type             text NOT NULL,
    queue            text NOT NULL,
    priority         smallint NOT NULL,     -- 0 critical, 1 high, 2 normal, 3 low
    run_at           bigint NOT NULL,
    created_at       bigint NOT NULL,
    data             text NOT NULL,
    options          text,
    unique_key       text,
    expires_at       bigint,
    token            bigint NOT NULL DEFAULT 0,  -- of the last claim whose outcome was to wait again
    attempt          integer NOT NULL DEFAULT 0,
    crashes          integer NOT NULL DEFAULT 0,
    budget           integer NOT NULL DEFAULT 0,
    started_at       bigint,
    reason           text,
    progress         double precision,
    progress_message text,
    PRIMARY KEY (id)
) PARTITION BY RANGE (id);

CREATE TABLE {jobs_rest} PARTITION OF {jobs} DEFAULT;

-- state: 2 completed, 3 failed, 4 cancelled.
CREATE TABLE {ended} (
    id          uuid NOT NULL,
    token       bigint NOT NULL,
    state       smallint NOT NULL,
    attempt     integer NOT NULL,
    started_at  bigint,
    finished_at bigint NOT NULL,
    result      text,
    reason      text,
    PRIMARY KEY (id)
) PARTITION BY RANGE (id);

CREATE TABLE {ended_rest} PARTITION OF {ended} DEFAULT;
CREATE INDEX {ended_badly} ON {ended} (state, id) WHERE state > 2;

-- How many jobs ended, by state: what each statement changed, folded now and then. Their sum is what
-- `ended` holds.
CREATE TABLE {tally} (
    state smallint NOT NULL,
    jobs  bigint NOT NULL
);

CREATE TABLE {ready} (
    queue      text NOT NULL,
    priority   smallint NOT NULL,
    run_at     bigint NOT NULL,
    id         uuid NOT NULL,
    expires_at bigint,
    PRIMARY KEY (queue, priority, run_at, id)
);
CREATE INDEX {ready_expiry} ON {ready} (expires_at) WHERE expires_at IS NOT NULL;

CREATE TABLE {parked} (
    queue      text NOT NULL,
    type       text NOT NULL,
    priority   smallint NOT NULL,
    run_at     bigint NOT NULL,
    id         uuid NOT NULL,
    expires_at bigint,
    PRIMARY KEY (queue, type, priority, run_at, id)
);
CREATE INDEX {parked_expiry} ON {parked} (expires_at) WHERE expires_at IS NOT NULL;

-- One row a claim: the jobs of it that have not come back, and those that were counted as started
-- with the claim.
CREATE TABLE {held} (
    token   bigint PRIMARY KEY,
    worker  bigint NOT NULL,
    ids     uuid[] NOT NULL,
    started uuid[] NOT NULL
) WITH (fillfactor = 50);
ALTER TABLE {held} ALTER ids SET STORAGE PLAIN, ALTER started SET STORAGE PLAIN;
CREATE INDEX {held_worker} ON {held} (worker);

CREATE TABLE {cancels} (
    id uuid PRIMARY KEY
);

CREATE TABLE {keys} (
    type       text NOT NULL,
    unique_key text NOT NULL,
    id         uuid NOT NULL,
    PRIMARY KEY (type, unique_key)
);
CREATE INDEX {keys_id} ON {keys} (id);

CREATE TABLE {errors} (
    seq       bigint GENERATED ALWAYS AS IDENTITY,
    job       uuid NOT NULL,
    attempt   integer NOT NULL,
    at        bigint NOT NULL,
    kind      text NOT NULL,
    message   text NOT NULL,
    traceback text,
    PRIMARY KEY (job, seq)
);

CREATE TABLE {logs} (
    seq     bigint GENERATED ALWAYS AS IDENTITY,
    job     uuid NOT NULL,
    attempt integer NOT NULL,
    at      bigint NOT NULL,
    level   text NOT NULL,
    message text NOT NULL,
    PRIMARY KEY (job, seq)
);

CREATE TABLE {queues} (
    name   text PRIMARY KEY,
    paused boolean NOT NULL DEFAULT false
);

-- beat: one more each time the lease is extended. lease_until: only where a test tells lease time.
-- presence: the key that all sessions of its process hold; served: in which life of the server.
CREATE TABLE {workers} (
    id          bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    name        text NOT NULL,
    lease       double precision NOT NULL,
    started_at  bigint NOT NULL,
    beat        bigint NOT NULL DEFAULT 0,
    lease_until double precision,
    presence    bigint,
    served      timestamptz[] NOT NULL
) WITH (fillfactor = 50);

-- Of each worker a few lists: the jobs whose code may have begun, and the claim under which.
CREATE TABLE {begun} (
    worker bigint NOT NULL,
    number bigint NOT NULL,
    ids    uuid[] NOT NULL,
    tokens bigint[] NOT NULL,
    PRIMARY KEY (worker, number)
);

CREATE SEQUENCE {tokens};

-- schema: the version of these tables. compatible: the oldest version whose code may use them.
CREATE TABLE {meta} (
    name  text PRIMARY KEY,
    value bigint NOT NULL
);
