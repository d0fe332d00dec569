-- The numbers of limits, by name. per: of a rate, the microseconds in which it allows so many starts;
-- 0 where it is none.
CREATE TABLE {limits} (
    name  text NOT NULL,
    most  bigint NOT NULL,
    per   bigint NOT NULL,
    burst bigint NOT NULL,
    PRIMARY KEY (name)
);

-- One row for each limit and key: who counts there, or lets others in, holds it until the end of the
-- transaction. free_at: of a rate, when the next start would be on time if all were evenly spread.
CREATE TABLE {gates} (
    name    text NOT NULL,
    key     text NOT NULL,
    free_at bigint NOT NULL DEFAULT 0,
    PRIMARY KEY (name, key)
) WITH (fillfactor = 70);

-- What the jobs that somebody holds have of their limits. No permit outlives the holding.
CREATE TABLE {permits} (
    job   uuid NOT NULL,
    name  text NOT NULL,
    key   text NOT NULL,
    slots bigint NOT NULL,
    PRIMARY KEY (job, name, key)
);
CREATE INDEX {permits_gate} ON {permits} (name, key);

-- Jobs that wait for room in a limit, in the order in which they are called. called_at: since when room
-- is kept for one that was called, and waits in `ready` again.
CREATE TABLE {blocked} (
    name       text NOT NULL,
    key        text NOT NULL,
    priority   smallint NOT NULL,
    run_at     bigint NOT NULL,
    id         uuid NOT NULL,
    slots      bigint NOT NULL,
    queue      text NOT NULL,
    expires_at bigint,
    called_at  bigint,
    PRIMARY KEY (id)
) WITH (fillfactor = 70);
CREATE INDEX {blocked_line} ON {blocked} (name, key, priority, run_at, id) WHERE called_at IS NULL;
CREATE INDEX {blocked_called} ON {blocked} (name, key) WHERE called_at IS NOT NULL;
CREATE INDEX {blocked_expiry} ON {blocked} (expires_at) WHERE expires_at IS NOT NULL;

-- Up to which moment the jobs of a key have their turns. A job that takes turns waits at a moment that is
-- behind the last one of its key, and not before the first job that waits. taken: by the last who did.
CREATE TABLE {turns} (
    queue    text NOT NULL,
    priority smallint NOT NULL,
    key      text NOT NULL,
    stamp    bigint NOT NULL,
    taken    bigint NOT NULL,
    PRIMARY KEY (queue, priority, key)
) WITH (fillfactor = 50);

-- Jobs that take their turn when they are due.
CREATE TABLE {later} (
    id  uuid PRIMARY KEY,
    due bigint NOT NULL
);
CREATE INDEX {later_due} ON {later} (due);
