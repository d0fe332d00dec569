-- complete: ids, tokens, attempts, started, finished, results, what is said to those who listen
--     (null: nothing), where -> id, token of those that did not stand, or one row of nulls
WITH given AS MATERIALIZED (
    SELECT * FROM unnest($1::uuid[], $2::bigint[], $3::integer[], $4::bigint[], $5::bigint[],
                         $6::text[]) AS g (id, token, attempt, started_at, finished_at, result)
), claims AS MATERIALIZED (
    SELECT token, ids FROM {held}
    WHERE token = ANY(ARRAY(SELECT DISTINCT token FROM given))
    ORDER BY token FOR UPDATE
), mine AS MATERIALIZED (
    SELECT * FROM given  -- IS TRUE: looked up in a hash, never in a loop over all.
    WHERE ((token, id) IN (SELECT c.token, i FROM claims AS c, unnest(c.ids) AS i)) IS TRUE
), gone AS (
    DELETE FROM {held} AS h USING claims AS c WHERE h.token = c.token
    AND NOT EXISTS (SELECT FROM unnest(c.ids) AS i WHERE i NOT IN (SELECT id FROM mine))
), less AS (
    UPDATE {held} AS h
    SET ids = ARRAY(SELECT i FROM unnest(c.ids) AS i WHERE i NOT IN (SELECT id FROM mine))
    FROM claims AS c WHERE h.token = c.token
    AND EXISTS (SELECT FROM unnest(c.ids) AS i WHERE i NOT IN (SELECT id FROM mine))
), freed AS (
    DELETE FROM {keys} WHERE id IN (SELECT id FROM mine)
), unasked AS (
    DELETE FROM {cancels} WHERE id IN (SELECT id FROM mine)
), kept AS (
    INSERT INTO {ended} (id, token, state, attempt, started_at, finished_at, result)
    SELECT id, token, 2, attempt, started_at, finished_at, result FROM mine
), told AS (
    INSERT INTO {tally} SELECT 2, count(*) FROM mine HAVING count(*) > 0
), said AS MATERIALIZED (
    SELECT pg_notify($8, $7) AS said WHERE $7::text IS NOT NULL AND EXISTS (SELECT FROM mine)
)
SELECT r.id, r.token, s.said FROM (SELECT 1) AS one LEFT JOIN said AS s ON true LEFT JOIN (
    SELECT id, token FROM given WHERE (SELECT count(*) FROM mine) < cardinality($1::uuid[])
    AND ((token, id) IN (SELECT token, id FROM mine)) IS NOT TRUE
) AS r ON true;

-- take_out: ids, tokens -> id, token of those that stood
WITH given AS MATERIALIZED (
    SELECT * FROM unnest($1::uuid[], $2::bigint[]) AS g (id, token)
), claims AS MATERIALIZED (
    SELECT token, ids FROM {held}
    WHERE token = ANY(ARRAY(SELECT DISTINCT token FROM given))
    ORDER BY token FOR UPDATE
), mine AS MATERIALIZED (
    SELECT * FROM given  -- IS TRUE: looked up in a hash, never in a loop over all.
    WHERE ((token, id) IN (SELECT c.token, i FROM claims AS c, unnest(c.ids) AS i)) IS TRUE
), gone AS (
    DELETE FROM {held} AS h USING claims AS c WHERE h.token = c.token
    AND NOT EXISTS (SELECT FROM unnest(c.ids) AS i WHERE i NOT IN (SELECT id FROM mine))
), less AS (
    UPDATE {held} AS h
    SET ids = ARRAY(SELECT i FROM unnest(c.ids) AS i WHERE i NOT IN (SELECT id FROM mine))
    FROM claims AS c WHERE h.token = c.token
    AND EXISTS (SELECT FROM unnest(c.ids) AS i WHERE i NOT IN (SELECT id FROM mine))
)
SELECT id, token FROM mine;

-- settle: ids, tokens, states, run_ats, attempts, started, finished, results, reasons,
--     progress, progress messages, crashes, now, options -> nothing; what was taken out goes where it
--     belongs
WITH given AS MATERIALIZED (
    SELECT * FROM unnest($1::uuid[], $2::bigint[], $3::smallint[], $4::bigint[], $5::integer[],
                         $6::bigint[], $7::bigint[], $8::text[], $9::text[],
                         $10::double precision[], $11::text[], $12::integer[], $14::text[])
        AS g (id, token, state, run_at, attempt, started_at, finished_at, result, reason,
              progress, progress_message, crashes, options)
), asked AS (
    DELETE FROM {cancels} WHERE id IN (SELECT id FROM given) RETURNING id
), decided AS MATERIALIZED (
    SELECT g.*, a.id IS NOT NULL AND g.state IN (0, 6) AS stopped
    FROM given AS g LEFT JOIN asked AS a USING (id)
), placed AS (
    UPDATE {jobs} AS j SET
        token = d.token, run_at = coalesce(d.run_at, j.run_at), attempt = d.attempt,
        crashes = j.crashes + d.crashes, started_at = coalesce(d.started_at, j.started_at),
        reason = d.reason, progress = coalesce(d.progress, j.progress),
        progress_message = coalesce(d.progress_message, j.progress_message),
        options = coalesce(d.options, j.options)
    FROM decided AS d WHERE j.id = d.id
    RETURNING j.id, j.type, j.queue, j.priority, j.run_at, j.started_at, d.state, d.stopped,
        CASE WHEN j.attempt = 0 AND j.started_at IS NULL THEN j.expires_at END AS expires_at
), waiting AS (
    INSERT INTO {ready} (queue, priority, run_at, id, expires_at)
    SELECT queue, priority, run_at, id, expires_at FROM placed WHERE state = 0 AND NOT stopped
), parked AS (
    INSERT INTO {parked} (queue, type, version, priority, run_at, id, expires_at)
    SELECT queue, type, (SELECT coalesce((j.options::json->>'version')::integer, 1)
                         FROM {jobs} AS j WHERE j.id = placed.id LIMIT 1),
           priority, run_at, id, expires_at FROM placed
    WHERE state = 6 AND NOT stopped
), kept AS (
    INSERT INTO {ended} (id, token, state, attempt, started_at, finished_at, result, reason)
    SELECT d.id, d.token, CASE WHEN d.stopped THEN 4 ELSE d.state END, d.attempt, p.started_at,
           CASE WHEN d.stopped THEN $13 ELSE d.finished_at END, d.result,
           CASE WHEN d.stopped THEN 'cancelled by request' ELSE d.reason END
    FROM decided AS d JOIN placed AS p USING (id) WHERE d.stopped OR d.state BETWEEN 2 AND 4
    RETURNING state
), told AS (
    INSERT INTO {tally} SELECT state, count(*) FROM kept GROUP BY state
)
DELETE FROM {keys} WHERE id IN (
    SELECT id FROM decided WHERE stopped OR state BETWEEN 2 AND 4);

-- stood: ids, tokens -> id, token of those whose outcome was written under that token before
SELECT g.id, g.token FROM unnest($1::uuid[], $2::bigint[]) AS g (id, token)
CROSS JOIN LATERAL (SELECT token FROM {jobs} AS o WHERE o.id = g.id LIMIT 1) AS j
LEFT JOIN LATERAL (SELECT token FROM {ended} AS o WHERE o.id = g.id LIMIT 1) AS e ON true
WHERE e.token = g.token OR j.token = g.token AND coalesce(e.token, 0) = 0
AND NOT EXISTS (SELECT FROM {held} AS h WHERE g.id = ANY(h.ids));

-- wait_for: tokens -> nothing, when nobody is writing an outcome of these claims
SELECT FROM {held} WHERE token = ANY($1::bigint[]) FOR UPDATE;

-- hurry: how long -> nothing: this transaction is ended soon, or it is rolled back
SELECT set_config('idle_in_transaction_session_timeout', $1::text, true);

-- held_now: ids, tokens -> ids of claims that stand
SELECT g.id FROM unnest($1::uuid[], $2::bigint[]) AS g (id, token)
JOIN {held} AS h USING (token) WHERE g.id = ANY(h.ids);

-- add_errors: jobs, attempts, moments, kinds, messages, tracebacks, begins -> nothing
INSERT INTO {errors} (job, attempt, at, kind, message, traceback, began)
SELECT * FROM unnest($1::uuid[], $2::integer[], $3::bigint[], $4::text[], $5::text[], $6::text[],
                     $7::bigint[]);

-- trim_errors: jobs, how many are kept -> nothing
DELETE FROM {errors} AS e USING unnest($1::uuid[]) AS g (job)
WHERE e.job = g.job AND e.seq <= (
    SELECT o.seq FROM {errors} AS o WHERE o.job = g.job ORDER BY o.seq DESC OFFSET $2 LIMIT 1);

-- add_logs: jobs, attempts, moments, levels, messages -> nothing
INSERT INTO {logs} (job, attempt, at, level, message)
SELECT * FROM unnest($1::uuid[], $2::integer[], $3::bigint[], $4::text[], $5::text[]);

-- trim_logs: jobs, how many are kept -> nothing
DELETE FROM {logs} AS e USING unnest($1::uuid[]) AS g (job)
WHERE e.job = g.job AND e.seq <= (
    SELECT o.seq FROM {logs} AS o WHERE o.job = g.job ORDER BY o.seq DESC OFFSET $2 LIMIT 1);

-- progress: ids, progress, messages -> nothing
UPDATE {jobs} AS j SET progress = coalesce(g.progress, j.progress),
                       progress_message = coalesce(g.message, j.progress_message)
FROM unnest($1::uuid[], $2::double precision[], $3::text[]) AS g (id, progress, message)
WHERE j.id = g.id;
