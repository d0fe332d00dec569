-- contended: types, keys -> who has them, until when, and who was the last to change it; keys that are
--     not held until the end of a job are locked
WITH given AS MATERIALIZED (
    SELECT DISTINCT type, unique_key FROM unnest($1::text[], $2::text[]) AS g (type, unique_key)
), locked AS MATERIALIZED (
    SELECT k.type, k.unique_key, k.holder, k.held_until, k.last
    FROM {keys} AS k JOIN given USING (type, unique_key)
    WHERE k.held_until IS NOT NULL ORDER BY type, unique_key FOR UPDATE OF k
)
SELECT * FROM locked UNION ALL
SELECT type, unique_key, k.id, NULL, NULL FROM {keys} AS k JOIN given USING (type, unique_key)
WHERE k.held_until IS NULL;

-- standing: ids -> which of them have not started, wait, are held, have ended or wait for what is not a
--     worker; which may have begun, and which belong to flows; those that wait are locked: no claim
--     takes one until this transaction has ended
WITH asked AS MATERIALIZED (
    SELECT id, type, queue, priority, run_at, attempt = 0 AND started_at IS NULL AS unstarted
    FROM {jobs} WHERE id = ANY($1::uuid[])
), ready AS MATERIALIZED (
    SELECT r.id FROM asked AS j JOIN {ready} AS r ON r.queue = j.queue
    AND r.priority = j.priority AND r.run_at = j.run_at AND r.id = j.id
    ORDER BY r.id FOR UPDATE OF r
), parked AS MATERIALIZED (
    SELECT r.id FROM asked AS j JOIN {parked} AS r ON r.queue = j.queue AND r.type = j.type
    AND r.priority = j.priority AND r.run_at = j.run_at AND r.id = j.id
    ORDER BY r.id FOR UPDATE OF r
)
SELECT id, unstarted, id IN (SELECT id FROM ready UNION ALL SELECT id FROM parked) AS waits,
       EXISTS (SELECT FROM {held} AS h WHERE o.id = ANY(h.ids)) AS held,
       EXISTS (SELECT FROM {ended} AS e WHERE e.id = o.id) AS ended,
       EXISTS (SELECT FROM {waiting} AS w WHERE w.id = o.id)
           OR EXISTS (SELECT FROM {blocked} AS b WHERE b.id = o.id) AS blocked,
       {counted} AS begun, EXISTS (SELECT FROM {members} AS m WHERE m.job = o.id) AS woven
FROM asked AS o;

-- let_go: types, keys, holders -> nothing: these keys are nobody's
DELETE FROM {keys} AS k USING unnest($1::text[], $2::text[], $3::uuid[]) AS g (type, unique_key, holder)
WHERE k.type = g.type AND k.unique_key = g.unique_key AND k.holder = g.holder;

-- replace: ids of jobs that wait, locked, their new queues, priorities, moments, data, options and
--     expiries, the types and keys that they hold, whose data it is, what is said to those who
--     listen (null: nothing), where -> nothing
WITH given AS MATERIALIZED (
    SELECT * FROM unnest($1::uuid[], $2::text[], $3::smallint[], $4::bigint[], $5::text[],
                         $6::text[], $7::bigint[], $8::text[], $9::text[], $10::uuid[])
        AS g (id, queue, priority, run_at, data, options, expires_at, type, unique_key, last)
), before AS MATERIALIZED (
    SELECT j.id, j.type, j.queue, j.priority, j.run_at FROM {jobs} AS j
    WHERE j.id = ANY($1::uuid[])
), unready AS (
    DELETE FROM {ready} AS r USING before AS j WHERE r.queue = j.queue
    AND r.priority = j.priority AND r.run_at = j.run_at AND r.id = j.id RETURNING r.id
), unparked AS (
    DELETE FROM {parked} AS r USING before AS j WHERE r.queue = j.queue AND r.type = j.type
    AND r.priority = j.priority AND r.run_at = j.run_at AND r.id = j.id RETURNING r.id
), gone AS MATERIALIZED (
    SELECT id FROM unready UNION ALL SELECT id FROM unparked
), changed AS (
    UPDATE {jobs} AS j SET queue = g.queue, priority = g.priority, run_at = g.run_at,
        data = g.data, options = g.options, expires_at = g.expires_at
    FROM given AS g JOIN gone USING (id) WHERE j.id = g.id
    RETURNING j.id, j.queue, j.priority, j.run_at, j.expires_at
), waiting AS (
    INSERT INTO {ready} (queue, priority, run_at, id, expires_at)
    SELECT queue, priority, run_at, id, expires_at FROM changed
), noted AS (
    UPDATE {keys} AS k SET last = g.last FROM given AS g
    WHERE k.type = g.type AND k.unique_key = g.unique_key AND k.holder = g.id
)
SELECT CASE WHEN $11::text IS NOT NULL THEN pg_notify($12, $11) END FROM changed LIMIT 1;

-- holders: types, keys, now -> those of these that are held, and by whom
SELECT k.type, k.unique_key, coalesce(k.holder, k.id)
FROM {keys} AS k JOIN unnest($1::text[], $2::text[]) AS g (type, unique_key) USING (type, unique_key)
WHERE k.held_until IS NULL OR {holding};

-- let_go_of: types, keys, now -> nothing: those of these that nobody holds any more are nobody's
DELETE FROM {keys} AS k USING unnest($1::text[], $2::text[]) AS g (type, unique_key)
WHERE k.type = g.type AND k.unique_key = g.unique_key AND k.held_until IS NOT NULL AND NOT {holding};

-- let_go_for: ids, their states, now -> nothing: the same of the keys that these jobs need again
DELETE FROM {keys} AS k USING {jobs} AS j
WHERE j.id = ANY($1::uuid[]) AND k.type = j.type AND k.unique_key = j.unique_key
AND EXISTS (SELECT FROM {ended} AS e WHERE e.id = j.id AND e.state = ANY($2::smallint[]))
AND k.held_until IS NOT NULL AND NOT {holding};

-- hold: types, keys, ids, until when (null: until they end) -> those that hold theirs now; in order, so
--     that of two who hold several none waits for the other one that waits for it
INSERT INTO {keys} (type, unique_key, id, holder, held_until)
SELECT type, unique_key,
       CASE WHEN held_until IS NULL THEN id ELSE '00000000-0000-0000-0000-000000000000' END,
       CASE WHEN held_until IS NOT NULL THEN id END, held_until
FROM unnest($1::text[], $2::text[], $3::uuid[], $4::bigint[]) AS g (type, unique_key, id, held_until)
ORDER BY type, unique_key ON CONFLICT DO NOTHING RETURNING coalesce(holder, id);

-- let_go_in_time: now, after, limit -> how many keys were let go, how many of those that are held until a
--     job starts were looked at, and the last of these. A job that ended before it started may be
--     retried, so it keeps its key for as long as it is there
WITH passed AS (
    DELETE FROM {keys} WHERE ctid = ANY(ARRAY(
        SELECT ctid FROM {keys} WHERE held_until > 0 AND held_until <= $1 LIMIT $3
        FOR UPDATE SKIP LOCKED))
    RETURNING holder
), page AS MATERIALIZED (
    SELECT ctid AS place, holder FROM {keys} WHERE held_until = 0 AND holder > $2
    ORDER BY holder LIMIT $3 FOR UPDATE SKIP LOCKED
), started AS (
    DELETE FROM {keys} WHERE ctid = ANY(ARRAY(
        SELECT place FROM page
        LEFT JOIN LATERAL (SELECT true AS is_there, attempt, started_at FROM {jobs} AS o
                           WHERE o.id = page.holder LIMIT 1) AS j ON true
        LEFT JOIN LATERAL (SELECT attempt, started_at FROM {ended} AS o
                           WHERE o.id = page.holder LIMIT 1) AS e ON true
        WHERE j.is_there IS NULL OR j.attempt > 0 OR j.started_at IS NOT NULL
        OR e.attempt > 0 OR e.started_at IS NOT NULL))
    RETURNING holder
)
SELECT (SELECT count(*) FROM passed) AS passed, (SELECT count(*) FROM page) AS looked,
       (SELECT holder FROM page ORDER BY holder DESC LIMIT 1) AS last;
