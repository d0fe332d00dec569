-- How many jobs there are, so that nobody has to go through them to tell. Triggers keep these numbers:
-- they are right whichever statement changes a job, also one of an earlier version.
-- By queue and state; 0 to 6, but not 1: active jobs are few, and are counted where they stand.
CREATE TABLE tally (
    queue TEXT NOT NULL,
    state INTEGER NOT NULL,
    jobs  INTEGER NOT NULL,
    PRIMARY KEY (queue, state)
) WITHOUT ROWID;

-- Of those that wait: when they are due, in spans of 2^23 microseconds. Of spans that have passed, the
-- numbers are folded into that of span 0.
CREATE TABLE tally_due (
    span  INTEGER NOT NULL,
    queue TEXT NOT NULL,
    jobs  INTEGER NOT NULL,
    PRIMARY KEY (span, queue)
) WITHOUT ROWID;

CREATE TABLE tally_parked (
    queue   TEXT NOT NULL,
    type    TEXT NOT NULL,
    version INTEGER NOT NULL,
    jobs    INTEGER NOT NULL,
    PRIMARY KEY (queue, type, version)
) WITHOUT ROWID;

CREATE TABLE tally_failed (
    type TEXT NOT NULL,
    kind TEXT NOT NULL,
    jobs INTEGER NOT NULL,
    PRIMARY KEY (type, kind)
) WITHOUT ROWID;

-- The kind of the last error of a job; empty: it has had none.
ALTER TABLE job ADD COLUMN error_kind TEXT NOT NULL DEFAULT '';
UPDATE job SET error_kind =
    (SELECT kind FROM job_error WHERE job_error.job = job.key ORDER BY job_error.rowid DESC LIMIT 1)
WHERE key IN (SELECT job FROM job_error);
CREATE INDEX job_failed ON job (type, error_kind, finished_at) WHERE state = 3;

INSERT INTO tally SELECT queue, state, count(*) FROM job WHERE state <> 1 GROUP BY queue, state;
INSERT INTO tally_due SELECT run_at >> 23, queue, count(*) FROM job WHERE state = 0 GROUP BY 1, 2;
INSERT INTO tally_parked
    SELECT queue, type,
        CAST(ifnull(CASE WHEN json_valid(options) THEN json_extract(options, '$.version') END, 1) AS INTEGER),
        count(*)
    FROM job WHERE state = 6 GROUP BY 1, 2, 3;
INSERT INTO tally_failed SELECT type, error_kind, count(*) FROM job WHERE state = 3 GROUP BY 1, 2;

CREATE TRIGGER job_error_told AFTER INSERT ON job_error BEGIN
    UPDATE job SET error_kind = NEW.kind WHERE key = NEW.job AND error_kind <> NEW.kind;
END;

CREATE TRIGGER job_counted_new AFTER INSERT ON job WHEN NEW.state <> 1 BEGIN
    INSERT INTO tally VALUES (NEW.queue, NEW.state, 1)
        ON CONFLICT DO UPDATE SET jobs = jobs + 1;
    INSERT INTO tally_due SELECT NEW.run_at >> 23, NEW.queue, 1 WHERE NEW.state = 0
        ON CONFLICT DO UPDATE SET jobs = jobs + 1;
    INSERT INTO tally_parked
        SELECT NEW.queue, NEW.type,
            CAST(ifnull(CASE WHEN json_valid(NEW.options) THEN json_extract(NEW.options, '$.version') END, 1)
                 AS INTEGER), 1
        WHERE NEW.state = 6
        ON CONFLICT DO UPDATE SET jobs = jobs + 1;
    INSERT INTO tally_failed SELECT NEW.type, NEW.error_kind, 1 WHERE NEW.state = 3
        ON CONFLICT DO UPDATE SET jobs = jobs + 1;
END;

CREATE TRIGGER job_counted_to AFTER UPDATE OF state, queue, run_at, type, options, error_kind ON job
WHEN NEW.state <> 1 BEGIN
    INSERT INTO tally VALUES (NEW.queue, NEW.state, 1)
        ON CONFLICT DO UPDATE SET jobs = jobs + 1;
    INSERT INTO tally_due SELECT NEW.run_at >> 23, NEW.queue, 1 WHERE NEW.state = 0
        ON CONFLICT DO UPDATE SET jobs = jobs + 1;
    INSERT INTO tally_parked
        SELECT NEW.queue, NEW.type,
            CAST(ifnull(CASE WHEN json_valid(NEW.options) THEN json_extract(NEW.options, '$.version') END, 1)
                 AS INTEGER), 1
        WHERE NEW.state = 6
        ON CONFLICT DO UPDATE SET jobs = jobs + 1;
    INSERT INTO tally_failed SELECT NEW.type, NEW.error_kind, 1 WHERE NEW.state = 3
        ON CONFLICT DO UPDATE SET jobs = jobs + 1;
END;

CREATE TRIGGER job_counted_from AFTER UPDATE OF state, queue, run_at, type, options, error_kind ON job
WHEN OLD.state <> 1 BEGIN
    UPDATE tally SET jobs = jobs - 1 WHERE queue = OLD.queue AND state = OLD.state;
    INSERT INTO tally_due SELECT OLD.run_at >> 23, OLD.queue, -1 WHERE OLD.state = 0
        ON CONFLICT DO UPDATE SET jobs = jobs - 1;
    UPDATE tally_parked SET jobs = jobs - 1
        WHERE OLD.state = 6 AND queue = OLD.queue AND type = OLD.type AND version =
            CAST(ifnull(CASE WHEN json_valid(OLD.options) THEN json_extract(OLD.options, '$.version') END, 1)
                 AS INTEGER);
    UPDATE tally_failed SET jobs = jobs - 1
        WHERE OLD.state = 3 AND type = OLD.type AND kind = OLD.error_kind;
END;

CREATE TRIGGER job_counted_gone AFTER DELETE ON job WHEN OLD.state <> 1 BEGIN
    UPDATE tally SET jobs = jobs - 1 WHERE queue = OLD.queue AND state = OLD.state;
    INSERT INTO tally_due SELECT OLD.run_at >> 23, OLD.queue, -1 WHERE OLD.state = 0
        ON CONFLICT DO UPDATE SET jobs = jobs - 1;
    UPDATE tally_parked SET jobs = jobs - 1
        WHERE OLD.state = 6 AND queue = OLD.queue AND type = OLD.type AND version =
            CAST(ifnull(CASE WHEN json_valid(OLD.options) THEN json_extract(OLD.options, '$.version') END, 1)
                 AS INTEGER);
    UPDATE tally_failed SET jobs = jobs - 1
        WHERE OLD.state = 3 AND type = OLD.type AND kind = OLD.error_kind;
END;
