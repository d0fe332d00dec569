-- What became of jobs, by stretch of time, queue and job type. step: the length of the stretch in seconds;
-- 0: since the store was made. at: when it begins. The type '' stands for all of a queue, the queue '' for all.
-- waited, ran: microseconds. waits, runs: how many in each bin of a histogram; errors: attempts by kind.
CREATE TABLE {figures} (
    step      integer NOT NULL,
    at        bigint NOT NULL,
    queue     text NOT NULL,
    type      text NOT NULL,
    scheduled bigint NOT NULL,
    completed bigint NOT NULL,
    failed    bigint NOT NULL,
    retried   bigint NOT NULL,
    cancelled bigint NOT NULL,
    put_off   bigint NOT NULL,
    rescued   bigint NOT NULL,
    waited    bigint NOT NULL,
    ran       bigint NOT NULL,
    waits     jsonb NOT NULL,
    runs      jsonb NOT NULL,
    errors    jsonb NOT NULL,
    PRIMARY KEY (step, at, queue, type)
) WITH (fillfactor = 70);

-- How deep the queues were. at: when the stretch begins that the sample is of. seen_at: when it was taken.
-- queues: by name, '' for all together: pending, scheduled, blocked, active, seconds of the oldest.
CREATE TABLE {depths} (
    step    integer NOT NULL,
    at      bigint NOT NULL,
    seen_at bigint NOT NULL,
    queues  text NOT NULL,
    PRIMARY KEY (step, at)
);

-- What each worker has told of itself last. number: of that telling; before: of the one before it.
CREATE TABLE {reports} (
    worker bigint PRIMARY KEY,
    number bigint NOT NULL,
    before bigint NOT NULL DEFAULT 0,
    report text
) WITH (fillfactor = 50);

-- draining: it claims nothing, as people asked for that.
ALTER TABLE {workers} ADD COLUMN draining boolean NOT NULL DEFAULT false;
