-- outlook: ids -> how they stand
SELECT j.id, j.type, j.run_at, e.state, e.result, CASE WHEN e.id IS NULL THEN j.reason ELSE e.reason END AS reason,
       e.id IS NULL AND EXISTS (SELECT FROM {held} AS h WHERE j.id = ANY(h.ids)) AS active,
       EXISTS (SELECT FROM {parked} AS p WHERE p.queue = j.queue AND p.type = j.type
               AND p.priority = j.priority AND p.run_at = j.run_at AND p.id = j.id) AS parked,
       (SELECT true FROM {waiting} AS w WHERE w.id = j.id LIMIT 1) IS NOT NULL
       OR EXISTS (SELECT FROM {blocked} AS b WHERE b.id = j.id AND b.called_at IS NULL) AS blocked
FROM {jobs} AS j LEFT JOIN {ended} AS e USING (id) WHERE j.id = ANY($1::uuid[]);

-- errors: job -> errors
SELECT attempt, at, kind, message, traceback, began FROM {errors} WHERE job = $1 ORDER BY seq;

-- log: job -> lines
SELECT at, attempt, level, message FROM {logs} WHERE job = $1 ORDER BY seq;

-- queues: -> name, paused
SELECT name, paused FROM {queues} ORDER BY name;

-- pause: queue, paused -> nothing
INSERT INTO {queues} (name, paused) VALUES ($1, $2)
ON CONFLICT (name) DO UPDATE SET paused = $2;

-- whereabouts: ids -> of each job its place, those that are there locked against a change
SELECT j.id, j.queue, j.priority, j.run_at, j.type, e.state,
       CASE WHEN j.attempt = 0 AND j.started_at IS NULL THEN j.expires_at END AS expires_at,
       EXISTS (SELECT FROM {held} AS h WHERE j.id = ANY(h.ids)) AS active
FROM {jobs} AS j LEFT JOIN {ended} AS e USING (id)
WHERE j.id = ANY($1::uuid[]) ORDER BY j.id;

-- cancel_waiting: ids, now -> those that waited, and have ended now; one that waits in the line of a
--     limit leaves that as it is loosened
WITH ready AS (
    DELETE FROM {ready} AS r USING {jobs} AS j
    WHERE j.id = ANY($1::uuid[]) AND r.queue = j.queue AND r.priority = j.priority
    AND r.run_at = j.run_at AND r.id = j.id RETURNING r.id
), parked AS (
    DELETE FROM {parked} AS r USING {jobs} AS j
    WHERE j.id = ANY($1::uuid[]) AND r.queue = j.queue AND r.type = j.type
    AND r.priority = j.priority AND r.run_at = j.run_at AND r.id = j.id RETURNING r.id
), blocked AS (
    DELETE FROM {waiting} WHERE id = ANY($1::uuid[]) RETURNING id
), in_line AS MATERIALIZED (
    SELECT id FROM {blocked} WHERE id = ANY($1::uuid[]) AND called_at IS NULL FOR UPDATE
), gone AS MATERIALIZED (
    SELECT id FROM ready UNION ALL SELECT id FROM parked UNION ALL SELECT id FROM blocked
    UNION ALL SELECT id FROM in_line
), freed AS (
    DELETE FROM {keys} WHERE id IN (SELECT id FROM gone)
), kept AS (
    INSERT INTO {ended} (id, token, state, attempt, started_at, finished_at, reason)
    SELECT id, 0, 4, attempt, started_at, $2, 'cancelled by request'
    FROM {jobs} JOIN gone USING (id)
    RETURNING id, state
), told AS (
    INSERT INTO {tally} SELECT state, count(*) FROM kept GROUP BY state
)
SELECT id FROM kept;

-- lock_active: ids -> those that somebody holds, locked
SELECT i.id FROM {held} AS h, unnest(h.ids) AS i (id)
WHERE h.ids && $1::uuid[] AND i.id = ANY($1::uuid[]) ORDER BY h.token FOR SHARE OF h;

-- ask: ids -> those that had not been asked to end
INSERT INTO {cancels} SELECT unnest($1::uuid[]) ORDER BY 1 ON CONFLICT DO NOTHING RETURNING id;

-- again: ids, now, states -> those that ended, and wait anew
WITH wanted AS MATERIALIZED (
    SELECT e.id, e.attempt, e.started_at, e.reason, e.token, j.type, j.queue, j.priority, j.unique_key
    FROM {ended} AS e JOIN {jobs} AS j USING (id)
    WHERE e.id = ANY($1::uuid[]) AND e.state = ANY($3::smallint[])
    ORDER BY e.id FOR UPDATE OF e
), keyed AS (
    INSERT INTO {keys} (type, unique_key, id)
    SELECT DISTINCT ON (type, unique_key) type, unique_key, id FROM wanted
    WHERE unique_key IS NOT NULL ORDER BY type, unique_key, id
    ON CONFLICT DO NOTHING RETURNING id
), free AS MATERIALIZED (
    SELECT * FROM wanted WHERE unique_key IS NULL OR id IN (SELECT id FROM keyed)
), gone AS (
    DELETE FROM {ended} WHERE id IN (SELECT id FROM free) RETURNING state
), told AS (
    INSERT INTO {tally} SELECT state, -count(*) FROM gone GROUP BY state
), unasked AS (
    DELETE FROM {cancels} WHERE id IN (SELECT id FROM free)
), fresh AS (
    UPDATE {jobs} AS j SET run_at = $2, attempt = f.attempt, budget = f.attempt, crashes = 0,
        started_at = f.started_at, reason = f.reason,
        token = CASE WHEN f.token = 0 THEN j.token ELSE f.token END, expires_at = NULL, progress = NULL,
        progress_message = NULL
    FROM free AS f WHERE j.id = f.id
)
INSERT INTO {ready} (queue, priority, run_at, id)
SELECT queue, priority, $2, id FROM free RETURNING id;

-- sooner: ids, now -> those that waited for later, and are due now
WITH gone AS (
    DELETE FROM {ready} AS r USING {jobs} AS j
    WHERE j.id = ANY($1::uuid[]) AND r.queue = j.queue AND r.priority = j.priority
    AND r.run_at = j.run_at AND r.id = j.id AND r.run_at > $2 RETURNING r.id
), fresh AS (
    UPDATE {jobs} AS j SET run_at = $2, budget = attempt, crashes = 0, expires_at = NULL,
        progress = NULL, progress_message = NULL
    FROM gone WHERE j.id = gone.id RETURNING j.id, j.queue, j.priority
)
INSERT INTO {ready} (queue, priority, run_at, id)
SELECT queue, priority, $2, id FROM fresh RETURNING id;

-- rearrange: ids, moment (null: as it is), priority (null: as it is), names and keys of gates that are
--     locked -> those that waited, and do so there. What somebody else has, or waits at another gate, is
--     left alone: who holds gates and rows of jobs waits for nobody. Who stands in the line of a limit, or was called there, has been given another moment by that: what
--     it waits for is where it stands. What waits for other jobs stays where it is, its flow locked
WITH wanted AS MATERIALIZED (
    SELECT g.id, j.type, j.queue, j.priority, j.run_at FROM unnest($1::uuid[]) AS g (id),
    LATERAL (SELECT * FROM {jobs} AS o WHERE o.id = g.id LIMIT 1) AS j
    WHERE NOT coalesce($2::bigint >= j.expires_at AND j.attempt = 0 AND j.started_at IS NULL, false)
    AND (SELECT true FROM {blocked} AS b WHERE b.id = j.id AND ((b.name, b.key) IN (
        SELECT * FROM unnest($4::text[], $5::text[]))) IS NOT TRUE LIMIT 1) IS NULL
), ready AS (
    DELETE FROM {ready} WHERE ctid = ANY(ARRAY(
        SELECT p.place FROM wanted AS w, LATERAL (
            SELECT ctid AS place FROM {ready} AS r WHERE r.queue = w.queue
            AND r.priority = w.priority AND r.run_at = w.run_at AND r.id = w.id
            LIMIT 1 FOR UPDATE SKIP LOCKED) AS p))
    RETURNING id, expires_at
), parked AS (
    DELETE FROM {parked} WHERE ctid = ANY(ARRAY(
        SELECT p.place FROM wanted AS w, LATERAL (
            SELECT ctid AS place FROM {parked} AS r WHERE r.queue = w.queue AND r.type = w.type
            AND r.priority = w.priority AND r.run_at = w.run_at AND r.id = w.id
            LIMIT 1 FOR UPDATE SKIP LOCKED) AS p))
    RETURNING id, expires_at
), in_line AS MATERIALIZED (
    SELECT b.id, b.expires_at FROM {blocked} AS b
    WHERE b.id = ANY(ARRAY(SELECT id FROM wanted)) AND b.called_at IS NULL FOR UPDATE SKIP LOCKED
), back AS (
    SELECT id, expires_at, false AS stays FROM ready UNION ALL SELECT id, expires_at, false FROM parked
    UNION ALL SELECT id, expires_at, false FROM in_line
    UNION ALL SELECT w.id, w.expires_at, true FROM {waiting} AS w
    WHERE w.id = ANY(ARRAY(SELECT id FROM wanted))
), fresh AS (
    UPDATE {jobs} AS j SET run_at = coalesce($2, (
            SELECT b.run_at FROM {blocked} AS b WHERE b.id = j.id LIMIT 1), j.run_at),
        priority = coalesce($3::smallint, j.priority)
    FROM back WHERE j.id = back.id
    RETURNING j.id, j.queue, j.priority, j.run_at, back.expires_at, back.stays
), placed AS (
    INSERT INTO {ready} (queue, priority, run_at, id, expires_at)
    SELECT queue, priority, run_at, id, expires_at FROM fresh WHERE NOT stays
)
SELECT id FROM fresh;

-- lock_jobs: ids -> those of them that nobody else has, locked: whoever puts them aside, moves them, or
--     sends them a signal waits
SELECT id FROM {jobs} WHERE id = ANY($1::uuid[]) ORDER BY id FOR UPDATE SKIP LOCKED;

-- wait_for_job: job -> nothing, when nobody else has its row
SELECT FROM {jobs} WHERE id = $1 FOR SHARE;

-- wait_for_place: job -> nothing, when nobody else has its place among those that wait
SELECT FROM {jobs} AS j, LATERAL (
    SELECT FROM {ready} AS r WHERE r.queue = j.queue AND r.priority = j.priority
    AND r.run_at = j.run_at AND r.id = j.id LIMIT 1 FOR SHARE) AS r
WHERE j.id = $1;

-- drop_waiting: ids -> those that waited, and are in no place now
WITH ready AS (
    DELETE FROM {ready} AS r USING {jobs} AS j
    WHERE j.id = ANY($1::uuid[]) AND r.queue = j.queue AND r.priority = j.priority
    AND r.run_at = j.run_at AND r.id = j.id RETURNING r.id
), parked AS (
    DELETE FROM {parked} AS r USING {jobs} AS j
    WHERE j.id = ANY($1::uuid[]) AND r.queue = j.queue AND r.type = j.type
    AND r.priority = j.priority AND r.run_at = j.run_at AND r.id = j.id RETURNING r.id
), blocked AS (
    DELETE FROM {waiting} WHERE id = ANY($1::uuid[]) RETURNING id
), in_line AS (
    DELETE FROM {blocked} WHERE id = ANY($1::uuid[]) RETURNING id
)
SELECT id FROM ready UNION SELECT id FROM parked UNION SELECT id FROM blocked
UNION SELECT id FROM in_line;

-- drop_ended: ids, states -> those that had ended, and are in no place now
WITH gone AS (
    DELETE FROM {ended} WHERE id = ANY($1::uuid[]) AND state = ANY($2::smallint[])
    RETURNING id, state
), told AS (
    INSERT INTO {tally} SELECT state, -count(*) FROM gone GROUP BY state
)
SELECT id FROM gone;

-- ended_with: jobs -> the other ones of their flows that have ended
SELECT o.job FROM {members} AS m, LATERAL (
    SELECT n.job FROM {members} AS n WHERE n.flow = m.flow OFFSET 0) AS o
WHERE m.job = ANY($1::uuid[]) AND o.job <> ALL($1::uuid[])
AND (SELECT true FROM {ended} AS e WHERE e.id = o.job LIMIT 1)
GROUP BY o.job;
