-- What is kept of the steps of handlers, and the signals that nobody has taken yet.
-- kind: 0 a function, 1 a sleep, 2 the wait for a signal.
-- ended_at: null while it waits, and of a sleep always. result: JSON; null: no signal came in time.
CREATE TABLE {steps} (
    job      uuid NOT NULL,
    number   integer NOT NULL,
    kind     smallint NOT NULL,
    name     text NOT NULL,
    begun_at bigint NOT NULL,
    until    bigint,
    ended_at bigint,
    result   text,
    signal   text,
    PRIMARY KEY (job, number)
);

CREATE TABLE {signals} (
    seq   bigint GENERATED ALWAYS AS IDENTITY,
    job   uuid NOT NULL,
    id    text NOT NULL,
    name  text NOT NULL,
    value text NOT NULL,
    at    bigint NOT NULL,
    PRIMARY KEY (job, seq)
);
