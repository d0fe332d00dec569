-- store: a number for it if it has none -> nothing
INSERT INTO {meta} (name, value) VALUES ('store', $1) ON CONFLICT DO NOTHING;

-- store_number: -> what tells this store from every other one
SELECT value FROM {meta} WHERE name = 'store';

-- what_is_next: after, limit, whether also those that ended -> jobs of no flow that nobody holds, in
--     order, and their bytes. Each is looked up by itself, however many there are: nothing is gathered first.
SELECT id, bytes FROM (
    SELECT j.id, {bytes} AS bytes
    FROM {jobs} AS j
    WHERE j.id > $1 AND coalesce(
        (SELECT $3::boolean OR EXISTS (  -- What still holds a key is not history yet.
             SELECT FROM {keys} AS k WHERE k.holder = e.id AND k.held_until > 0)
         FROM {ended} AS e WHERE e.id = j.id LIMIT 1),
        (SELECT true FROM {ready} AS r WHERE r.queue = j.queue AND r.priority = j.priority
         AND r.run_at = j.run_at AND r.id = j.id LIMIT 1),
        (SELECT true FROM {parked} AS p WHERE p.queue = j.queue AND p.type = j.type
         AND p.priority = j.priority AND p.run_at = j.run_at AND p.id = j.id LIMIT 1),
        (SELECT true FROM {blocked} AS b WHERE b.id = j.id LIMIT 1))
    AND (SELECT true FROM {members} AS m WHERE m.job = j.id LIMIT 1) IS NULL
    ORDER BY j.id LIMIT $2
) AS f ORDER BY id;

-- take_place: ids, whether also those that ended -> those that still are nobody's, locked
WITH ready AS (
    SELECT r.id FROM {jobs} AS j JOIN {ready} AS r ON r.queue = j.queue
    AND r.priority = j.priority AND r.run_at = j.run_at AND r.id = j.id
    WHERE j.id = ANY($1::uuid[]) FOR UPDATE OF r
), parked AS (
    SELECT r.id FROM {jobs} AS j JOIN {parked} AS r ON r.queue = j.queue AND r.type = j.type
    AND r.priority = j.priority AND r.run_at = j.run_at AND r.id = j.id
    WHERE j.id = ANY($1::uuid[]) FOR UPDATE OF r
), blocked AS (
    SELECT b.id FROM {blocked} AS b WHERE b.id = ANY($1::uuid[]) AND b.called_at IS NULL
    FOR UPDATE
), ended AS (
    SELECT e.id FROM {ended} AS e WHERE e.id = ANY($1::uuid[]) AND ($2 OR EXISTS (
        SELECT FROM {keys} AS k WHERE k.holder = e.id AND k.held_until > 0)) FOR UPDATE OF e
)
SELECT id FROM (
    SELECT id FROM ready UNION ALL SELECT id FROM parked UNION ALL SELECT id FROM blocked
    UNION ALL SELECT id FROM ended
) AS j WHERE (SELECT true FROM {members} AS m WHERE m.job = j.id LIMIT 1) IS NULL;

-- whole: ids -> all that the first table and their places know of them
SELECT j.id, j.type, j.queue, j.priority, j.run_at, j.created_at, j.data, j.options, j.unique_key,
       j.expires_at,
       CASE WHEN e.id IS NOT NULL THEN e.state WHEN p.id IS NOT NULL THEN 6 ELSE 0 END AS state,
       coalesce(e.attempt, j.attempt), j.crashes, j.budget,
       CASE WHEN e.id IS NULL THEN j.started_at ELSE e.started_at END, e.finished_at, e.result,
       CASE WHEN e.id IS NULL THEN j.reason ELSE e.reason END, j.progress, j.progress_message,
       k.unique_key, k.held_until
FROM {jobs} AS j LEFT JOIN {ended} AS e ON e.id = j.id
LEFT JOIN {keys} AS k ON k.holder = j.id
LEFT JOIN {parked} AS p ON p.queue = j.queue AND p.type = j.type AND p.priority = j.priority
    AND p.run_at = j.run_at AND p.id = j.id
WHERE j.id = ANY($1::uuid[]) ORDER BY j.id;

-- errors_of: ids -> errors
SELECT job, attempt, at, kind, message, traceback, began FROM {errors}
WHERE job = ANY($1::uuid[]) ORDER BY job, seq;

-- log_of: ids -> lines
SELECT job, at, attempt, level, message FROM {logs} WHERE job = ANY($1::uuid[]) ORDER BY job, seq;

-- steps_of_all: ids -> steps
SELECT job, number, kind, name, begun_at, until, ended_at, result, signal FROM {steps}
WHERE job = ANY($1::uuid[]) ORDER BY job, number;

-- signals_of_all: ids -> those that wait
SELECT job, id, name, value, at FROM {signals} WHERE job = ANY($1::uuid[]) ORDER BY job, seq;

-- add_steps: jobs, and steps by column -> nothing
INSERT INTO {steps} (job, number, kind, name, begun_at, until, ended_at, result, signal)
SELECT * FROM unnest($1::uuid[], $2::integer[], $3::smallint[], $4::text[], $5::bigint[],
                     $6::bigint[], $7::bigint[], $8::text[], $9::text[]);

-- add_signals: jobs, and signals by column, in order -> nothing
INSERT INTO {signals} (job, id, name, value, at)
SELECT job, id, name, value, at
FROM unnest($1::uuid[], $2::text[], $3::text[], $4::text[], $5::bigint[])
    WITH ORDINALITY AS g (job, id, name, value, at, n) ORDER BY n;

-- make_parcels: -> nothing; made by the first who packs something
CREATE TABLE IF NOT EXISTS {parcels} (
    number bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    target bigint NOT NULL,
    label  text NOT NULL,
    jobs   text NOT NULL
);

-- add_parcel: target, label, jobs -> its number
INSERT INTO {parcels} (target, label, jobs) VALUES ($1, $2, $3) RETURNING number;

-- oldest_parcel: number -> the parcel that was packed first behind it
SELECT number, target, label, jobs FROM {parcels} WHERE number > $1 ORDER BY number LIMIT 1;

-- drop_parcel: number -> it, if it was there
DELETE FROM {parcels} WHERE number = $1 RETURNING number;

-- keys_after: after, limit, now -> types, keys and the jobs that hold them
SELECT * FROM (
    (SELECT type, unique_key, id FROM {keys} WHERE id > $1 ORDER BY id LIMIT $2)
    UNION ALL
    (SELECT type, unique_key, holder FROM {keys} AS k WHERE holder > $1 AND {holding}
     ORDER BY holder LIMIT $2)
) AS f ORDER BY id LIMIT $2;

-- there: ids -> those that are there; each looked up by itself, so that a plan made while the
--     table was small is a good one later
SELECT g.id FROM unnest($1::uuid[]) AS g (id),
LATERAL (SELECT FROM {jobs} AS j WHERE j.id = g.id LIMIT 1) AS j;

-- take_keys: types, keys, ids -> those that hold theirs now
INSERT INTO {keys} (type, unique_key, id)
SELECT * FROM unnest($1::text[], $2::text[], $3::uuid[]) ON CONFLICT DO NOTHING RETURNING id;

-- free_keys: ids -> nothing
WITH held AS (DELETE FROM {keys} WHERE holder = ANY($1::uuid[]))
DELETE FROM {keys} WHERE id = ANY($1::uuid[]);

-- bring: the columns of the first table, their states, when they expire, and how they ended ->
--     ids of those that are new
WITH given AS MATERIALIZED (
    SELECT * FROM unnest($1::uuid[], $2::text[], $3::text[], $4::smallint[], $5::bigint[],
                         $6::bigint[], $7::text[], $8::text[], $9::text[], $10::bigint[],
                         $11::smallint[], $12::integer[], $13::integer[], $14::integer[],
                         $15::bigint[], $16::bigint[], $17::text[], $18::text[],
                         $19::double precision[], $20::text[], $21::bigint[])
        AS g (id, type, queue, priority, run_at, created_at, data, options, unique_key, expires_at,
              state, attempt, crashes, budget, started_at, finished_at, result, reason, progress,
              progress_message, due_until)
), added AS (
    INSERT INTO {jobs} (id, type, queue, priority, run_at, created_at, data, options, unique_key,
                        expires_at, attempt, crashes, budget, started_at, reason, progress,
                        progress_message)
    SELECT id, type, queue, priority, run_at, created_at, data, options, unique_key, expires_at,
           attempt, crashes, budget, started_at, reason, progress, progress_message FROM given
    ON CONFLICT (id) DO NOTHING RETURNING id
), waiting AS (
    INSERT INTO {ready} (queue, priority, run_at, id, expires_at)
    SELECT queue, priority, run_at, id, due_until FROM given
    WHERE state = 0 AND id IN (SELECT id FROM added)
), parked AS (
    INSERT INTO {parked} (queue, type, version, priority, run_at, id, expires_at)
    SELECT queue, type, coalesce((options::json->>'version')::integer, 1), priority, run_at, id,
           due_until FROM given
    WHERE state = 6 AND id IN (SELECT id FROM added)
), ended AS (
    INSERT INTO {ended} (id, token, state, attempt, started_at, finished_at, result, reason)
    SELECT id, 0, state, attempt, started_at, finished_at, result, reason FROM given
    WHERE state BETWEEN 2 AND 4 AND id IN (SELECT id FROM added)
    RETURNING state
), told AS (
    INSERT INTO {tally} SELECT state, count(*) FROM ended GROUP BY state
)
SELECT id FROM added;
