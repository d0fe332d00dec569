-- new_queues: names -> nothing
INSERT INTO {queues} (name) SELECT unnest($1::text[]) ON CONFLICT DO NOTHING;

-- add: jobs without a unique key, for whoever comes -> how many are new; the others, if any
WITH added AS (
    INSERT INTO {jobs} (id, type, queue, priority, run_at, created_at, data, options, expires_at)
    SELECT * FROM unnest($1::uuid[], $2::text[], $3::text[], $4::smallint[], $5::bigint[],
                         $6::bigint[], $7::text[], $8::text[], $9::bigint[])
    ON CONFLICT (id) DO NOTHING
    RETURNING id, queue, priority, run_at, expires_at
), waiting AS (
    INSERT INTO {ready} (queue, priority, run_at, id, expires_at)
    SELECT queue, priority, run_at, id, expires_at FROM added
)
SELECT count(*), CASE WHEN count(*) < cardinality($1)
                      THEN ARRAY(SELECT unnest($1) EXCEPT SELECT id FROM added)::text[] END,
       CASE WHEN $10::text IS NOT NULL AND count(*) > 0 THEN pg_notify($11, $10) END
FROM added;

-- add_one: the same of one job alone, plain values -> a row, where it is new
WITH added AS (
    INSERT INTO {jobs} (id, type, queue, priority, run_at, created_at, data, options, expires_at)
    VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9)
    ON CONFLICT (id) DO NOTHING
    RETURNING id
), waiting AS (
    INSERT INTO {ready} (queue, priority, run_at, id, expires_at)
    SELECT $3, $4, $5, id, $9 FROM added
)
SELECT CASE WHEN $10::text IS NOT NULL THEN pg_notify($11, $10) END FROM added;

-- admit: any jobs, those of a worker straight to it where nothing waits in front; at the end, by
--     queue and priority from where to look ->
--     of each new job its id, and the token of its claim
WITH given AS MATERIALIZED (
    SELECT * FROM unnest($1::uuid[], $2::text[], $3::text[], $4::smallint[], $5::bigint[],
                         $6::bigint[], $7::text[], $8::text[], $9::bigint[], $10::text[],
                         $11::bigint[], $12::boolean[])
        WITH ORDINALITY AS g (id, type, queue, priority, run_at, created_at, data, options,
                              expires_at, unique_key, worker, start, n)
    WHERE NOT EXISTS (SELECT FROM {jobs} AS j WHERE j.id = g.id)
), keyed AS (
    INSERT INTO {keys} (type, unique_key, id)
    SELECT DISTINCT ON (type, unique_key) type, unique_key, id FROM given
    WHERE unique_key IS NOT NULL ORDER BY type, unique_key, n
    ON CONFLICT DO NOTHING RETURNING id
), added AS (
    INSERT INTO {jobs} (id, type, queue, priority, run_at, created_at, data, options, expires_at,
                        unique_key)
    SELECT DISTINCT ON (id) id, type, queue, priority, run_at, created_at, data, options,
           expires_at, unique_key FROM given
    WHERE unique_key IS NULL OR id IN (SELECT id FROM keyed) ORDER BY id, n
    ON CONFLICT (id) DO NOTHING RETURNING id
), living AS MATERIALIZED (
    SELECT id FROM {workers} WHERE id IN (SELECT worker FROM given) FOR KEY SHARE
), marks AS MATERIALIZED (
    SELECT * FROM unnest($16::text[], $17::smallint[], $18::bigint[], $19::uuid[])
        AS m (queue, priority, run_at, id)
), doors AS MATERIALIZED (
    SELECT q.queue, ARRAY(
        SELECT (SELECT w.run_at FROM {ready} AS w
                WHERE w.queue = q.queue AND w.priority = p.priority AND {behind_mark}
                ORDER BY w.run_at, w.id LIMIT 1)
        FROM generate_series(0, 3) AS p (priority)
        LEFT JOIN marks AS m ON m.queue = q.queue AND m.priority = p.priority ORDER BY p.priority
    ) AS first
    FROM (SELECT DISTINCT queue FROM given WHERE worker IS NOT NULL) AS q
    WHERE NOT (SELECT paused FROM {queues} WHERE name = q.queue)
), placed AS MATERIALIZED (
    SELECT DISTINCT ON (g.id) g.id, g.queue, g.priority, g.run_at, g.expires_at, g.n, g.start,
        CASE WHEN g.run_at <= $13 AND EXISTS (
            SELECT FROM doors AS d WHERE d.queue = g.queue AND NOT EXISTS (
                SELECT FROM unnest(d.first[: g.priority + 1]) AS w (at) WHERE w.at <= $13)
        ) THEN living.id END AS worker
    FROM given AS g JOIN added USING (id) LEFT JOIN living ON living.id = g.worker
    ORDER BY g.id, g.n
), waiting AS (
    INSERT INTO {ready} (queue, priority, run_at, id, expires_at)
    SELECT queue, priority, run_at, id, expires_at FROM placed WHERE worker IS NULL
), claimed AS (
    INSERT INTO {held} (token, worker, ids, started)
    SELECT nextval('{tokens}'), worker, array_agg(id ORDER BY n),
           coalesce(array_agg(id ORDER BY n) FILTER (WHERE start), '{}')
    FROM placed WHERE worker IS NOT NULL GROUP BY worker
    RETURNING token, worker
)
SELECT p.id, c.token, CASE WHEN $14::text IS NOT NULL AND p.worker IS NULL
                      THEN pg_notify($15, $14) END  -- The same words twice are one notification.
FROM placed AS p LEFT JOIN claimed AS c USING (worker);

-- twins: types, keys -> the jobs that have them, and until when (null: until they end)
SELECT k.type, k.unique_key, k.id, k.held_until FROM {keys} AS k
JOIN unnest($1::text[], $2::text[]) AS g (type, unique_key) USING (type, unique_key);

-- present: ids -> those that are there
SELECT id FROM {jobs} WHERE id = ANY($1::uuid[]);

-- here: the quoted name of the first table -> which server, database and table that is; its name
SELECT concat_ws(' ', (extract(epoch FROM pg_postmaster_start_time()) * 1000000)::bigint,
                 (SELECT oid FROM pg_database WHERE datname = current_database()),
                 to_regclass($1::text)::oid),
       to_regclass($1::text) IS NOT NULL, current_database();
