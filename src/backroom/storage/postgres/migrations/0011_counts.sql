-- How many jobs there are, so that nobody has to go through them to tell. Triggers write down what each
-- statement changed: it is right whichever statement changes a job, also one of an earlier version. Who
-- keeps house folds that into `counts` and `dues`. How many have ended is kept in `tally`.

-- place: 0 in `ready`, 3 failed, 5 in `waiting` or in a line of `blocked`, 6 in `parked`. span: of those in
-- `ready`, when they are due, in spans of 2^23 microseconds.
CREATE TABLE {changed} (
    place   smallint NOT NULL,
    queue   text NOT NULL DEFAULT '',
    type    text NOT NULL DEFAULT '',
    kind    text NOT NULL DEFAULT '',
    version integer NOT NULL DEFAULT 0,
    span    bigint NOT NULL DEFAULT 0,
    jobs    bigint NOT NULL
) WITH (autovacuum_vacuum_scale_factor = 0, autovacuum_vacuum_threshold = 10000,
        autovacuum_vacuum_insert_threshold = -1);

-- Under place -1: before which span the numbers of `dues` may have been folded.
CREATE TABLE {counts} (
    place   smallint NOT NULL,
    queue   text NOT NULL,
    type    text NOT NULL,
    kind    text NOT NULL,
    version integer NOT NULL,
    jobs    bigint NOT NULL,
    PRIMARY KEY (place, queue, type, kind, version)
) WITH (fillfactor = 50);

-- Of spans that have passed, the numbers are folded into that of span 0.
CREATE TABLE {dues} (
    span  bigint NOT NULL,
    queue text NOT NULL,
    jobs  bigint NOT NULL,
    PRIMARY KEY (span, queue)
) WITH (fillfactor = 50);

-- Failed jobs with the kind of their last error. type: of the job.
CREATE TABLE {failed} (
    id   uuid PRIMARY KEY,
    type text NOT NULL,
    kind text NOT NULL,
    at   bigint NOT NULL
);
CREATE INDEX {failed_kind} ON {failed} (type, kind, at, id);

-- Of its job; null where one of the version before has written it, whose jobs count as of no queue.
ALTER TABLE {waiting} ADD COLUMN queue text;

CREATE OR REPLACE FUNCTION {count_ready}() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    IF TG_OP <> 'INSERT' THEN
        INSERT INTO {changed} (place, queue, span, jobs)
        SELECT 0, queue, run_at >> 23, -count(*) FROM gone GROUP BY queue, run_at >> 23;
    END IF;
    IF TG_OP <> 'DELETE' THEN
        INSERT INTO {changed} (place, queue, span, jobs)
        SELECT 0, queue, run_at >> 23, count(*) FROM come GROUP BY queue, run_at >> 23;
    END IF;
    RETURN NULL;
END $$;
CREATE TRIGGER counted_come AFTER INSERT ON {ready} REFERENCING NEW TABLE AS come
    FOR EACH STATEMENT EXECUTE FUNCTION {count_ready}();
CREATE TRIGGER counted_gone AFTER DELETE ON {ready} REFERENCING OLD TABLE AS gone
    FOR EACH STATEMENT EXECUTE FUNCTION {count_ready}();
CREATE TRIGGER counted_moved AFTER UPDATE ON {ready} REFERENCING OLD TABLE AS gone NEW TABLE AS come
    FOR EACH STATEMENT EXECUTE FUNCTION {count_ready}();

CREATE OR REPLACE FUNCTION {count_parked}() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    IF TG_OP <> 'INSERT' THEN
        INSERT INTO {changed} (place, queue, type, version, jobs)
        SELECT 6, queue, type, version, -count(*) FROM gone GROUP BY queue, type, version;
    END IF;
    IF TG_OP <> 'DELETE' THEN
        INSERT INTO {changed} (place, queue, type, version, jobs)
        SELECT 6, queue, type, version, count(*) FROM come GROUP BY queue, type, version;
    END IF;
    RETURN NULL;
END $$;
CREATE TRIGGER counted_come AFTER INSERT ON {parked} REFERENCING NEW TABLE AS come
    FOR EACH STATEMENT EXECUTE FUNCTION {count_parked}();
CREATE TRIGGER counted_gone AFTER DELETE ON {parked} REFERENCING OLD TABLE AS gone
    FOR EACH STATEMENT EXECUTE FUNCTION {count_parked}();
CREATE TRIGGER counted_moved AFTER UPDATE ON {parked} REFERENCING OLD TABLE AS gone NEW TABLE AS come
    FOR EACH STATEMENT EXECUTE FUNCTION {count_parked}();

CREATE OR REPLACE FUNCTION {count_waiting}() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    IF TG_OP = 'DELETE' THEN
        INSERT INTO {changed} (place, queue, jobs)
        SELECT 5, coalesce(queue, ''), -count(*) FROM gone GROUP BY queue;
    ELSE
        INSERT INTO {changed} (place, queue, jobs)
        SELECT 5, coalesce(queue, ''), count(*) FROM come GROUP BY queue;
    END IF;
    RETURN NULL;
END $$;
CREATE TRIGGER counted_come AFTER INSERT ON {waiting} REFERENCING NEW TABLE AS come
    FOR EACH STATEMENT EXECUTE FUNCTION {count_waiting}();
CREATE TRIGGER counted_gone AFTER DELETE ON {waiting} REFERENCING OLD TABLE AS gone
    FOR EACH STATEMENT EXECUTE FUNCTION {count_waiting}();

CREATE OR REPLACE FUNCTION {count_blocked}() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    IF TG_OP <> 'INSERT' THEN
        INSERT INTO {changed} (place, queue, jobs)
        SELECT 5, queue, -count(*) FROM gone WHERE called_at IS NULL GROUP BY queue;
    END IF;
    IF TG_OP <> 'DELETE' THEN
        INSERT INTO {changed} (place, queue, jobs)
        SELECT 5, queue, count(*) FROM come WHERE called_at IS NULL GROUP BY queue;
    END IF;
    RETURN NULL;
END $$;
CREATE TRIGGER counted_come AFTER INSERT ON {blocked} REFERENCING NEW TABLE AS come
    FOR EACH STATEMENT EXECUTE FUNCTION {count_blocked}();
CREATE TRIGGER counted_gone AFTER DELETE ON {blocked} REFERENCING OLD TABLE AS gone
    FOR EACH STATEMENT EXECUTE FUNCTION {count_blocked}();
CREATE TRIGGER counted_moved AFTER UPDATE ON {blocked} REFERENCING OLD TABLE AS gone NEW TABLE AS come
    FOR EACH STATEMENT EXECUTE FUNCTION {count_blocked}();

CREATE OR REPLACE FUNCTION {count_failed}() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    IF TG_OP <> 'INSERT' THEN
        INSERT INTO {changed} (place, type, kind, jobs)
        SELECT 3, type, kind, -count(*) FROM gone GROUP BY type, kind;
    END IF;
    IF TG_OP <> 'DELETE' THEN
        INSERT INTO {changed} (place, type, kind, jobs)
        SELECT 3, type, kind, count(*) FROM come GROUP BY type, kind;
    END IF;
    RETURN NULL;
END $$;
CREATE TRIGGER counted_come AFTER INSERT ON {failed} REFERENCING NEW TABLE AS come
    FOR EACH STATEMENT EXECUTE FUNCTION {count_failed}();
CREATE TRIGGER counted_gone AFTER DELETE ON {failed} REFERENCING OLD TABLE AS gone
    FOR EACH STATEMENT EXECUTE FUNCTION {count_failed}();
CREATE TRIGGER counted_moved AFTER UPDATE ON {failed} REFERENCING OLD TABLE AS gone NEW TABLE AS come
    FOR EACH STATEMENT EXECUTE FUNCTION {count_failed}();

-- Row by row, but only of those that fail: of what goes well nothing is gathered. The error may be written
-- before the end or after it.
CREATE OR REPLACE FUNCTION {note_failed}() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    IF TG_OP = 'DELETE' THEN
        DELETE FROM {failed} WHERE id = OLD.id;
    ELSE
        INSERT INTO {failed} (id, type, kind, at)
        SELECT j.id, j.type, coalesce((
            SELECT o.kind FROM {errors} AS o WHERE o.job = j.id ORDER BY o.seq DESC LIMIT 1), ''),
            NEW.finished_at
        FROM {jobs} AS j WHERE j.id = NEW.id
        ON CONFLICT DO NOTHING;
    END IF;
    RETURN NULL;
END $$;
CREATE TRIGGER failed_come AFTER INSERT ON {ended}
    FOR EACH ROW WHEN (NEW.state = 3) EXECUTE FUNCTION {note_failed}();
CREATE TRIGGER failed_gone AFTER DELETE ON {ended}
    FOR EACH ROW WHEN (OLD.state = 3) EXECUTE FUNCTION {note_failed}();

CREATE OR REPLACE FUNCTION {note_error}() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    UPDATE {failed} AS f SET kind = n.kind FROM (
        SELECT DISTINCT ON (job) job, kind FROM come ORDER BY job, seq DESC) AS n
    WHERE f.id = n.job AND f.kind <> n.kind;
    RETURN NULL;
END $$;
CREATE TRIGGER error_told AFTER INSERT ON {errors} REFERENCING NEW TABLE AS come
    FOR EACH STATEMENT EXECUTE FUNCTION {note_error}();

UPDATE {waiting} AS w SET queue = j.queue FROM {jobs} AS j WHERE j.id = w.id;
INSERT INTO {failed} (id, type, kind, at)
SELECT j.id, j.type, coalesce((
    SELECT o.kind FROM {errors} AS o WHERE o.job = j.id ORDER BY o.seq DESC LIMIT 1), ''), e.finished_at
FROM {ended} AS e JOIN {jobs} AS j USING (id) WHERE e.state = 3 AND e.state > 2;
INSERT INTO {changed} (place, queue, span, jobs)
SELECT 0, queue, run_at >> 23, count(*) FROM {ready} GROUP BY queue, run_at >> 23;
INSERT INTO {changed} (place, queue, type, version, jobs)
SELECT 6, queue, type, version, count(*) FROM {parked} GROUP BY queue, type, version;
INSERT INTO {changed} (place, queue, jobs)
SELECT 5, coalesce(queue, ''), count(*) FROM {waiting} GROUP BY queue;
INSERT INTO {changed} (place, queue, jobs)
SELECT 5, queue, count(*) FROM {blocked} WHERE called_at IS NULL GROUP BY queue;
