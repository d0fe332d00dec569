-- take_turns: queues, priorities, keys, how many of each, now, how long ago the first turn is where
--     nobody waits -> queue, priority, key, and the moment of the last of them: they wait one microsecond
--     behind each other
INSERT INTO {turns} AS t (queue, priority, key, stamp, taken)
SELECT g.queue, g.priority, g.key, h.first + g.jobs - 1, g.jobs
FROM unnest($1::text[], $2::smallint[], $3::text[], $4::bigint[]) AS g (queue, priority, key, jobs),
LATERAL (SELECT coalesce((
    SELECT least(w.run_at, $5::bigint) FROM {ready} AS w
    WHERE w.queue = g.queue AND w.priority = g.priority
    ORDER BY w.run_at, w.id LIMIT 1), $5::bigint - $6::bigint) AS first) AS h
ORDER BY g.queue, g.priority, g.key
ON CONFLICT (queue, priority, key) DO UPDATE
SET stamp = greatest(t.stamp + excluded.taken, excluded.stamp), taken = excluded.taken
RETURNING queue, priority, key, stamp;

-- see_turns: the same -> the same, of who takes them within a transaction that may take long, and lets
--     nobody wait for that: what another one takes meanwhile may be the same
SELECT g.queue, g.priority, g.key, greatest(
    coalesce((SELECT t.stamp FROM {turns} AS t WHERE t.queue = g.queue AND t.priority = g.priority
              AND t.key = g.key), 0) + g.jobs,
    coalesce((
        SELECT least(w.run_at, $5::bigint) FROM {ready} AS w
        WHERE w.queue = g.queue AND w.priority = g.priority
        ORDER BY w.run_at, w.id LIMIT 1), $5::bigint - $6::bigint) + g.jobs - 1) AS stamp
FROM unnest($1::text[], $2::smallint[], $3::text[], $4::bigint[]) AS g (queue, priority, key, jobs);

-- wait_turn: ids, moments -> nothing: they take their turn then
INSERT INTO {later} (id, due)
SELECT DISTINCT ON (id) id, due FROM unnest($1::uuid[], $2::bigint[]) AS g (id, due) ORDER BY id
ON CONFLICT (id) DO UPDATE SET due = excluded.due;

-- again_turns: ids, since, before -> those of them that take turns, and wait for later or since just now
INSERT INTO {later} (id, due)
SELECT j.id, j.run_at FROM unnest($1::uuid[]) AS g (id),
LATERAL (SELECT * FROM {jobs} AS o WHERE o.id = g.id LIMIT 1) AS j
WHERE j.run_at > $2 AND j.run_at < $3 AND position('"fair":' IN j.options) > 0
AND NOT EXISTS (SELECT FROM {ended} AS e WHERE e.id = j.id)
ON CONFLICT (id) DO UPDATE SET due = excluded.due;

-- due_turns: now, how many -> queue, priority, options of those that are due, and whether they still
--     wait
WITH gone AS (
    DELETE FROM {later} WHERE ctid = ANY(ARRAY(
        SELECT ctid FROM {later} WHERE due <= $1 ORDER BY due LIMIT $2 FOR UPDATE SKIP LOCKED))
    RETURNING id
)
SELECT j.id, j.queue, j.priority, j.options,
       EXISTS (SELECT FROM {ready} AS r WHERE r.queue = j.queue AND r.priority = j.priority
               AND r.run_at = j.run_at AND r.id = j.id AND r.run_at <= $1) AS waits
FROM gone AS g LEFT JOIN LATERAL (SELECT * FROM {jobs} AS o WHERE o.id = g.id LIMIT 1) AS j ON true
ORDER BY j.run_at, j.id;

-- move_turns: ids, moments -> nothing: those of them that still wait do so there; their rows are locked
WITH gone AS (
    DELETE FROM {ready} WHERE ctid = ANY(ARRAY(
        SELECT r.place FROM unnest($1::uuid[]) AS g (id),
        LATERAL (SELECT * FROM {jobs} AS o WHERE o.id = g.id LIMIT 1) AS j, LATERAL (
            SELECT ctid AS place FROM {ready} AS o WHERE o.queue = j.queue
            AND o.priority = j.priority AND o.run_at = j.run_at AND o.id = j.id
            LIMIT 1 FOR UPDATE SKIP LOCKED) AS r))
    RETURNING id, expires_at
), fresh AS (
    UPDATE {jobs} AS j SET run_at = g.stamp
    FROM gone JOIN unnest($1::uuid[], $2::bigint[]) AS g (id, stamp) ON g.id = gone.id
    WHERE j.id = gone.id
    RETURNING j.id, j.queue, j.priority, g.stamp, gone.expires_at
)
INSERT INTO {ready} (queue, priority, run_at, id, expires_at)
SELECT queue, priority, stamp, id, expires_at FROM fresh;

-- over_turns: now, how many -> nothing: turns that are over say nothing, the next one begins anew
DELETE FROM {turns} WHERE ctid = ANY(ARRAY(
    SELECT t.ctid FROM {turns} AS t WHERE t.stamp < least($1::bigint, (
        SELECT w.run_at FROM {ready} AS w WHERE w.queue = t.queue AND w.priority = t.priority
        ORDER BY w.run_at, w.id LIMIT 1))
    LIMIT $2 FOR UPDATE SKIP LOCKED));
