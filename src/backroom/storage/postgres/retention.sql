-- old: after this id, before that one, up to so many -> jobs that ended, in the order in which they were made
SELECT e.id, e.finished_at, j.created_at FROM {ended} AS e JOIN {jobs} AS j USING (id)
WHERE e.id > $1 AND e.id < $2 ORDER BY e.id LIMIT $3;

-- forget: ids -> nothing
WITH e AS (DELETE FROM {ended} WHERE id = ANY($1::uuid[]) RETURNING state),
     t AS (INSERT INTO {tally} SELECT state, -count(*) FROM e GROUP BY state),
     m AS (DELETE FROM {errors} WHERE job = ANY($1::uuid[])),
     l AS (DELETE FROM {logs} WHERE job = ANY($1::uuid[])),
     s AS (DELETE FROM {steps} WHERE job = ANY($1::uuid[])),
     n AS (DELETE FROM {signals} WHERE job = ANY($1::uuid[])),
     w AS (DELETE FROM {members} WHERE job = ANY($1::uuid[])),
     p AS (DELETE FROM {edges} WHERE parent = ANY($1::uuid[])),
     c AS (DELETE FROM {edges} WHERE child = ANY($1::uuid[]) AND NOT parent = ANY($1::uuid[])),
     k AS (DELETE FROM {keys} WHERE id = ANY($1::uuid[])),
     h AS (DELETE FROM {keys} WHERE holder = ANY($1::uuid[]))
DELETE FROM {jobs} WHERE id = ANY($1::uuid[]);

-- forget_ended: ids, cutoff -> those that ended before it, whose flows have gone and are not on their way,
--     and are gone now
WITH staying AS MATERIALIZED (
    SELECT m.job FROM {members} AS m LEFT JOIN {flows} AS f ON f.id = m.flow
    LEFT JOIN {away} AS a ON a.id = m.flow
    WHERE m.job = ANY($1::uuid[]) AND (f.id IS NOT NULL OR a.id IS NOT NULL)
), gone AS (
    DELETE FROM {ended} WHERE id = ANY($1::uuid[]) AND finished_at < $2
    AND id NOT IN (SELECT job FROM staying) RETURNING id, state
), t AS (INSERT INTO {tally} SELECT state, -count(*) FROM gone GROUP BY state),
   m AS (DELETE FROM {errors} WHERE job IN (SELECT id FROM gone)),
   l AS (DELETE FROM {logs} WHERE job IN (SELECT id FROM gone)),
   s AS (DELETE FROM {steps} WHERE job IN (SELECT id FROM gone)),
   n AS (DELETE FROM {signals} WHERE job IN (SELECT id FROM gone)),
   w AS (DELETE FROM {members} WHERE job = ANY(ARRAY(SELECT id FROM gone))),
   p AS (DELETE FROM {edges} WHERE parent = ANY(ARRAY(SELECT id FROM gone))),
   c AS (DELETE FROM {edges} WHERE child = ANY(ARRAY(SELECT id FROM gone))
         AND NOT parent = ANY(ARRAY(SELECT id FROM gone))),
   j AS (DELETE FROM {jobs} WHERE id IN (SELECT id FROM gone))
SELECT id FROM gone;

-- expiring: now, limit -> those that wait, and whose time has passed
(SELECT id FROM {ready} WHERE expires_at <= $1 LIMIT $2)
UNION ALL (SELECT id FROM {parked} WHERE expires_at <= $1 LIMIT $2)
UNION ALL (SELECT id FROM {waiting} AS w WHERE expires_at <= $1
           AND (SELECT true FROM {members} AS m, {flows} AS f
                WHERE m.job = w.id AND f.id = m.flow LIMIT 1) LIMIT $2)  -- It is not on its way.
UNION ALL (SELECT id FROM {blocked} WHERE expires_at <= $1 AND called_at IS NULL LIMIT $2);

-- expire: now, ids -> those of them that have ended now. Each is looked for where it is: among all that
--     have expired, every page of them would go through all the others
WITH ready AS (
    DELETE FROM {ready} WHERE ctid = ANY(ARRAY(
        SELECT r.place FROM unnest($2::uuid[]) AS g (id),
        LATERAL (SELECT * FROM {jobs} AS o WHERE o.id = g.id LIMIT 1) AS j, LATERAL (
            SELECT ctid AS place FROM {ready} AS o WHERE o.queue = j.queue
            AND o.priority = j.priority AND o.run_at = j.run_at AND o.id = j.id
            AND o.expires_at <= $1 LIMIT 1 FOR UPDATE SKIP LOCKED) AS r))
    RETURNING id
), parked AS (
    DELETE FROM {parked} WHERE ctid = ANY(ARRAY(
        SELECT p.place FROM unnest($2::uuid[]) AS g (id),
        LATERAL (SELECT * FROM {jobs} AS o WHERE o.id = g.id LIMIT 1) AS j, LATERAL (
            SELECT ctid AS place FROM {parked} AS o WHERE o.queue = j.queue AND o.type = j.type
            AND o.priority = j.priority AND o.run_at = j.run_at AND o.id = j.id
            AND o.expires_at <= $1 LIMIT 1 FOR UPDATE SKIP LOCKED) AS p))
    RETURNING id
), blocked AS (
    DELETE FROM {waiting} WHERE ctid = ANY(ARRAY(
        SELECT w.place FROM unnest($2::uuid[]) AS g (id), LATERAL (
            SELECT ctid AS place FROM {waiting} AS o WHERE o.id = g.id AND o.expires_at <= $1
            LIMIT 1 FOR UPDATE SKIP LOCKED) AS w))
    RETURNING id
), in_line AS MATERIALIZED (  -- They leave their lines as they are loosened.
    SELECT b.id FROM unnest($2::uuid[]) AS g (id), LATERAL (
        SELECT id FROM {blocked} AS o WHERE o.id = g.id AND o.expires_at <= $1
        AND o.called_at IS NULL LIMIT 1 FOR UPDATE SKIP LOCKED) AS b
), expired AS MATERIALIZED (
    SELECT id FROM ready UNION ALL SELECT id FROM parked UNION ALL SELECT id FROM blocked
    UNION ALL SELECT id FROM in_line
), freed AS (
    DELETE FROM {keys} WHERE id IN (SELECT id FROM expired)
), kept AS (
    INSERT INTO {ended} (id, token, state, attempt, started_at, finished_at, reason)
    SELECT j.id, 0, 4, j.attempt, j.started_at, $1, 'expired before it started'
    FROM expired AS e, LATERAL (SELECT * FROM {jobs} AS o WHERE o.id = e.id LIMIT 1) AS j
    RETURNING state
), told AS (
    INSERT INTO {tally} SELECT state, count(*) FROM kept GROUP BY state
)
SELECT id FROM expired;

-- fold: up to so many -> how many changes of the tally became one for each state
WITH gone AS (
    DELETE FROM {tally} WHERE ctid = ANY(ARRAY(
        SELECT ctid FROM {tally} LIMIT $1 FOR UPDATE SKIP LOCKED))
    RETURNING state, jobs
), folded AS (
    INSERT INTO {tally} SELECT state, sum(jobs) FROM gone GROUP BY state
)
SELECT count(*) FROM gone;
