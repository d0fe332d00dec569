-- asked_to_end: worker -> ids of its claims that people cancelled
SELECT c.id FROM {cancels} AS c
WHERE EXISTS (SELECT FROM {held} AS h WHERE h.worker = $1 AND c.id = ANY(h.ids));

-- claim: queues (null: all), rooms, now, worker, starts, starving, since, most bytes, but, and by
--     queue and priority from where to look[, types] -> claims, the columns of `Claim` in a fixed
--     order; behind them whether it lives, how many were due, whether any is parked, how long it took
WITH open AS MATERIALIZED (
    {open}
), marks AS MATERIALIZED (
    SELECT * FROM unnest($10::text[], $11::smallint[], $12::bigint[], $13::uuid[])
        AS m (queue, priority, run_at, id)
), living AS MATERIALIZED (
    SELECT id FROM {workers} WHERE id = $4 FOR KEY SHARE
), starving AS MATERIALIZED (
    {starving}
), critical AS MATERIALIZED (
    {critical}
), high AS MATERIALIZED (
    {high}
), normal AS MATERIALIZED (
    {normal}
), low AS MATERIALIZED (
    {low}
), due AS MATERIALIZED (
    SELECT f.*, row_number() OVER (ORDER BY f.stage, f.run_at, f.id) AS n FROM (
        SELECT *, 0 AS stage FROM starving UNION ALL SELECT *, 1 FROM critical
        UNION ALL SELECT *, 2 FROM high UNION ALL SELECT *, 3 FROM normal
        UNION ALL SELECT *, 4 FROM low
    ) AS f WHERE EXISTS (SELECT FROM living)
), weighed AS MATERIALIZED (
    SELECT d.source, d.place, d.n, d.run_at, j.id, j.type, j.queue, j.priority, j.created_at,
           j.data, j.options, j.attempt, j.crashes, j.budget,
           CASE WHEN j.attempt = 0 AND j.started_at IS NULL THEN j.expires_at END AS expires_at,
           sum(octet_length(j.data) + coalesce(octet_length(j.options), 0))
               OVER (ORDER BY d.n) AS bytes
    FROM due AS d JOIN {jobs} AS j ON j.id = d.id
), taken AS MATERIALIZED (
    SELECT *, (n - 1) / 240 AS part FROM weighed WHERE n = 1 OR bytes <= $8
), unready AS (
    DELETE FROM {ready} WHERE ctid = ANY(ARRAY(SELECT place FROM taken WHERE source = 0))
), unparked AS (
    DELETE FROM {parked} WHERE ctid = ANY(ARRAY(SELECT place FROM taken WHERE source = 1))
), tokens AS MATERIALIZED (
    SELECT part, nextval('{tokens}') AS token FROM (SELECT DISTINCT part FROM taken) AS p
), claimed AS (
    INSERT INTO {held} (token, worker, ids, started)
    SELECT token, $4, array_agg(id ORDER BY n),
           coalesce(array_agg(id ORDER BY n) FILTER (WHERE n <= $5), '{}')
    FROM taken JOIN tokens USING (part) GROUP BY token
)
SELECT t.id, k.token, t.type, t.queue, t.priority, t.run_at, t.created_at, t.data, t.options,
       t.expires_at, t.attempt, t.crashes, t.budget,
       EXISTS (SELECT FROM living) AS living, (SELECT count(*) FROM due) AS due,
       EXISTS (SELECT FROM {parked}) AS parked,
       extract(epoch FROM clock_timestamp() - statement_timestamp())::float8 AS took
FROM (SELECT 1) AS one LEFT JOIN taken AS t ON true LEFT JOIN tokens AS k USING (part)
ORDER BY t.n;

-- claim_few: queues (null: all), how many, now, worker, most bytes, but, starts -> as `claim`; and
--     the moment of the first job that it left. For a worker that had all there was the last time,
--     and has as much room for each priority: two thirds of the time
WITH due AS MATERIALIZED (
    {due_few}
), living AS MATERIALIZED (
    SELECT id FROM {workers} WHERE id = $4 AND EXISTS (SELECT FROM due) FOR KEY SHARE
), weighed AS MATERIALIZED (
    SELECT d.place, d.run_at, j.id, j.type, j.queue, j.priority, j.created_at,
           j.data, j.options, j.attempt, j.crashes, j.budget,
           CASE WHEN j.attempt = 0 AND j.started_at IS NULL THEN j.expires_at END AS expires_at,
           row_number() OVER so_far AS n,
           sum(octet_length(j.data) + coalesce(octet_length(j.options), 0)) OVER so_far AS bytes
    FROM due AS d JOIN {jobs} AS j ON j.id = d.id WHERE EXISTS (SELECT FROM living)
    WINDOW so_far AS (ORDER BY j.priority, d.run_at, j.id)
), taken AS MATERIALIZED (
    SELECT * FROM weighed WHERE n = 1 OR bytes <= $5
), unready AS (
    DELETE FROM {ready} WHERE ctid = ANY(ARRAY(SELECT place FROM taken))
), claimed AS (
    INSERT INTO {held} (token, worker, ids, started)
    SELECT nextval('{tokens}'), $4, t.ids, t.ids[: $7]
    FROM (SELECT array_agg(id ORDER BY n) AS ids FROM taken HAVING count(*) > 0) AS t
    RETURNING token
)
SELECT t.id, k.token, t.type, t.queue, t.priority, t.run_at, t.created_at, t.data, t.options,
       t.expires_at, t.attempt, t.crashes, t.budget,
       EXISTS (SELECT FROM living) OR NOT EXISTS (SELECT FROM due)
           AND EXISTS (SELECT FROM {workers} WHERE id = $4) AS living,
       (SELECT count(*) FROM due) AS due,
       EXISTS (SELECT FROM {parked}) AS parked,
       extract(epoch FROM clock_timestamp() - statement_timestamp())::float8 AS took, (
           SELECT min(f.run_at) FROM ({open_few}) AS q
           CROSS JOIN generate_series(0, 3) AS p (priority), LATERAL (
               SELECT w.run_at FROM {ready} AS w WHERE w.queue = q.name
               AND w.priority = p.priority AND w.id NOT IN (SELECT id FROM taken)
               ORDER BY w.run_at, w.id LIMIT 1) AS f
       ) AS following
FROM (SELECT 1) AS one LEFT JOIN taken AS t ON true LEFT JOIN claimed AS k ON true
ORDER BY t.n;

-- claim_one: queues (null: all), now, worker, but, starts -> as `claim_few`, of the first job alone; no
--     row where nothing is due, or the worker does not live. For a worker that had nothing the last
--     time: a third of the steps
WITH due AS MATERIALIZED (
    {due_one}
), living AS MATERIALIZED (
    SELECT id FROM {workers} WHERE id = $3 AND EXISTS (SELECT FROM due) FOR KEY SHARE
), unready AS (
    DELETE FROM {ready} WHERE ctid = (SELECT place FROM due) AND EXISTS (SELECT FROM living)
), claimed AS (
    INSERT INTO {held} (token, worker, ids, started)
    SELECT nextval('{tokens}'), l.id, ARRAY[d.id], (ARRAY[d.id])[: $5] FROM due AS d, living AS l
    RETURNING token
)
SELECT j.id, k.token, j.type, j.queue, j.priority, j.run_at, j.created_at, j.data, j.options,
       CASE WHEN j.attempt = 0 AND j.started_at IS NULL THEN j.expires_at END AS expires_at,
       j.attempt, j.crashes, j.budget,
       extract(epoch FROM clock_timestamp() - statement_timestamp())::float8 AS took
FROM claimed AS k, {jobs} AS j WHERE j.id = (SELECT id FROM due);

-- next: queues (null: all), but, by queue and priority from where to look, and from which moment on
--     where that is not said -> the moment of the first job
WITH marks AS MATERIALIZED (
    SELECT * FROM unnest($3::text[], $4::smallint[], $5::bigint[], $6::uuid[])
        AS m (queue, priority, run_at, id)
)
SELECT min(first) FROM (
    {open_next}
) AS q CROSS JOIN generate_series(0, 3) AS p (priority)
LEFT JOIN marks AS m ON m.queue = q.name AND m.priority = p.priority, LATERAL (
    SELECT w.run_at AS first FROM {ready} AS w
    WHERE w.queue = q.name AND w.priority = p.priority
    AND (w.run_at, w.id) >= (coalesce(m.run_at, $7::bigint),
        coalesce(m.id, '00000000-0000-0000-0000-000000000000'))
    ORDER BY w.run_at, w.id LIMIT 1
) AS f;

-- start: worker, ids whose code may begin, their tokens, the number of this list, those of lists that
--     it makes needless -> the worker, if it lives. They go and come: a row that was written again and
--     again would leave all its versions in the way of who looks it up, as long as somebody holds a
--     snapshot
WITH living AS MATERIALIZED (
    SELECT id FROM {workers} WHERE id = $1 FOR KEY SHARE
), before AS (
    DELETE FROM {begun} WHERE worker = $1 AND number = ANY($5::bigint[])
), noted AS (
    INSERT INTO {begun} (worker, number, ids, tokens) SELECT id, $4, $2, $3 FROM living
    ON CONFLICT (worker, number) DO NOTHING  -- It was written; that answer was lost.
)
SELECT id FROM living;

-- tokens_of: worker, ids -> id, token of its claims
SELECT i.id, h.token FROM {held} AS h, unnest(h.ids) AS i (id)
WHERE h.worker = $1 AND i.id = ANY($2::uuid[]);

-- lock_worker: worker -> nothing: what it claims now waits, and then finds it gone
SELECT FROM {workers} WHERE id = $1 FOR UPDATE;

-- holds: worker -> its claims, locked
SELECT token, ids FROM {held} WHERE worker = $1 ORDER BY token FOR UPDATE;

-- keep: tokens, ids by token -> nothing
UPDATE {held} SET ids = ARRAY(SELECT i FROM unnest(ids) AS i WHERE NOT i = ANY($2::uuid[]))
WHERE token = ANY($1::bigint[]);

-- drop_empty: worker -> nothing
DELETE FROM {held} WHERE worker = $1 AND cardinality(ids) = 0;

-- release: ids, now -> since when the first of them waits again; they end if that was asked
WITH asked AS (
    DELETE FROM {cancels} WHERE id = ANY($1::uuid[]) RETURNING id
), ended AS (
    INSERT INTO {ended} (id, token, state, attempt, started_at, finished_at, reason)
    SELECT id, 0, 4, attempt, started_at, $2, 'cancelled by request'
    FROM {jobs} JOIN asked USING (id)
    RETURNING state
), told AS (
    INSERT INTO {tally} SELECT state, count(*) FROM ended GROUP BY state
), freed AS (
    DELETE FROM {keys} WHERE id IN (SELECT id FROM asked)
), renewed AS (  -- An outcome before this claim stands no more.
    UPDATE {jobs} SET token = 0 WHERE id = ANY($1::uuid[]) AND token <> 0
), back AS (
    INSERT INTO {ready} (queue, priority, run_at, id, expires_at)
    SELECT queue, priority, run_at, id,
           CASE WHEN attempt = 0 AND started_at IS NULL THEN expires_at END
    FROM {jobs} WHERE id = ANY($1::uuid[]) AND id NOT IN (SELECT id FROM asked)
    RETURNING run_at
)
SELECT min(run_at) FROM back;

-- disown: worker, ids, now -> nothing
WITH begun AS (
    UPDATE {held} SET started = ARRAY(SELECT i FROM unnest(started) AS i WHERE NOT i = ANY($2::uuid[]))
    WHERE worker = $1 AND ids && $2::uuid[] RETURNING ids
)
UPDATE {jobs} SET started_at = coalesce(started_at, $3)
WHERE id = ANY($2::uuid[]) AND id IN (SELECT unnest(ids) FROM begun);

-- seize: workers -> their claims, and which of them may have started
WITH locked AS MATERIALIZED (
    SELECT token FROM {held} WHERE worker = ANY($1::bigint[]) ORDER BY token FOR UPDATE
), seized AS (
    DELETE FROM {held} WHERE token = ANY(ARRAY(SELECT token FROM locked))
    RETURNING worker, token, ids, started
)
SELECT s.worker, s.ids, ARRAY(
    SELECT i FROM unnest(s.ids) AS i WHERE i = ANY(s.started)
    UNION SELECT b.id FROM {begun} AS l, unnest(l.ids, l.tokens) AS b (id, token)
    WHERE l.worker = s.worker AND b.token = s.token AND b.id = ANY(s.ids)) AS started
FROM seized AS s;

-- told_by: worker -> its last report
SELECT report FROM {reports} WHERE worker = $1;

-- charge: ids, now, reason, and of attempts that were told of: ids, attempts, begins -> nothing
WITH charged AS (
    UPDATE {jobs} SET attempt = attempt + 1, crashes = crashes + 1, reason = $3
    WHERE id = ANY($1::uuid[]) RETURNING id, attempt, started_at
)
INSERT INTO {errors} (job, attempt, at, kind, message, began)
SELECT c.id, c.attempt, $2, 'crash', $3, t.began
FROM charged AS c LEFT JOIN unnest($4::text[], $5::integer[], $6::bigint[]) AS t (id, attempt, began)
    ON t.id = c.id::text AND t.attempt = c.attempt AND t.began > coalesce(c.started_at, 0);

-- kinds_of: ids, some of these -> queue, type, how many, and how many of the second
SELECT j.queue, j.type, count(*), count(*) FILTER (WHERE j.id = ANY($2::uuid[]))
FROM unnest($1::uuid[]) AS g (id), LATERAL (SELECT * FROM {jobs} AS o WHERE o.id = g.id LIMIT 1) AS j
GROUP BY j.queue, j.type;

-- dismiss: workers -> nothing
WITH begun AS (DELETE FROM {begun} WHERE worker = ANY($1::bigint[])),
     told AS (DELETE FROM {reports} WHERE worker = ANY($1::bigint[]))
DELETE FROM {workers} WHERE id = ANY($1::bigint[]);
