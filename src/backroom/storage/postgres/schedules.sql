-- schedule: name -> it
SELECT {schedule_columns} FROM {schedules} WHERE name = $1;

-- schedules: -> all, by name
SELECT {schedule_columns} FROM {schedules} ORDER BY name COLLATE "C";

-- schedules_due: now, limit -> the next tick of the first one behind them, due or not; those that
--     are due, up to so many, or one row without any
SELECT f.following, d.* FROM (
    SELECT coalesce(
        (SELECT next_at FROM {schedules} WHERE NOT paused AND next_at <= $1
         ORDER BY next_at, id LIMIT 1 OFFSET $2),
        (SELECT next_at FROM {schedules} WHERE NOT paused AND next_at > $1
         ORDER BY next_at, id LIMIT 1)) AS following
) AS f LEFT JOIN LATERAL (
    SELECT {schedule_columns} FROM {schedules} WHERE NOT paused AND next_at <= $1
    ORDER BY next_at, id LIMIT $2
) AS d ON true ORDER BY d.next_at;

-- add_schedule: its columns -> a row, if its name was free
INSERT INTO {schedules} ({schedule_columns})
VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14, $15, $16, $17, $18, $19)
ON CONFLICT (name) DO NOTHING RETURNING id;

-- lock_schedule: name -> its key, and it, for this transaction to change
SELECT id, {schedule_columns} FROM {schedules} WHERE name = $1 FOR UPDATE;

-- change_schedule: its columns -> nothing
UPDATE {schedules} SET ({schedule_columns}) =
    ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14, $15, $16, $17, $18, $19)
WHERE name = $1;

-- ticks: name, before, limit -> what became of its ticks, newest first
SELECT at, until, count, outcome, job, decided_at FROM {ticks}
WHERE schedule = (SELECT id FROM {schedules} WHERE name = $1) AND at < $2
ORDER BY at DESC LIMIT $3;

-- seize_schedules: of firings the names, revisions, expected ticks -> which of them stand, and the
--     keys of their schedules, for this transaction to change. In the order of keys, so that two
--     who want the same ones wait for each other, and not each for the other.
SELECT g.n, s.id
FROM unnest($1::text[], $2::bigint[], $3::bigint[]) WITH ORDINALITY AS g (name, revision, expected, n)
JOIN {schedules} AS s ON s.name = g.name
WHERE s.revision = g.revision AND s.next_at = g.expected AND NOT s.paused
ORDER BY s.id FOR NO KEY UPDATE OF s;

-- decided: of ticks the keys of their schedules, their first and last moments, their jobs -> the
--     jobs of those that were decided before. Kept ticks do not overlap, so the last one that
--     begins before the end of this one tells.
SELECT g.job FROM unnest($1::bigint[], $2::bigint[], $3::bigint[], $4::uuid[])
    AS g (schedule, at, until, job),
LATERAL (SELECT t.until FROM {ticks} AS t WHERE t.schedule = g.schedule AND t.at <= g.until
         ORDER BY t.at DESC LIMIT 1) AS t
WHERE t.until >= g.at;

-- move_on: the columns of ticks; of their schedules the keys, next ticks, last ticks and their
--     jobs, and how many more are kept -> nothing
WITH kept AS (
    INSERT INTO {ticks} (schedule, at, until, count, outcome, job, asked, decided_at)
    SELECT * FROM unnest($1::bigint[], $2::bigint[], $3::bigint[], $4::integer[], $5::text[],
                         $6::uuid[], $7::uuid[], $8::bigint[])
    ON CONFLICT DO NOTHING
)
UPDATE {schedules} AS s
SET next_at = g.next_at, last_at = coalesce(g.last_at, s.last_at),
    last_job = coalesce(g.last_job, s.last_job), kept = s.kept + g.kept
FROM unnest($9::bigint[], $10::bigint[], $11::bigint[], $12::text[], $13::integer[])
    AS g (id, next_at, last_at, last_job, kept)
WHERE s.id = g.id;

-- fired_before: of firings the names, and of one tick of each its first and last moment, outcome,
--     job, and when it was decided -> which of them are kept
SELECT g.n
FROM unnest($1::text[], $2::bigint[], $3::bigint[], $4::text[], $5::uuid[], $6::bigint[])
    WITH ORDINALITY AS g (name, at, until, outcome, job, decided_at, n)
JOIN {schedules} AS s ON s.name = g.name
JOIN {ticks} AS t ON t.schedule = s.id AND t.at = g.at
WHERE t.until = g.until AND t.outcome = g.outcome AND t.decided_at = g.decided_at
AND coalesce(t.asked, t.job) IS NOT DISTINCT FROM g.job;

-- schedules_after: key, limit -> the last of so many schedules behind it, and how many there are
SELECT max(id), count(*) FROM (SELECT id FROM {schedules} WHERE id > $1 ORDER BY id LIMIT $2) AS s;

-- forget_ticks: after, last, cutoff, most, and so many more, limit -> keys of schedules, and how
--     many of their ticks are gone: decided before the cutoff, or more than are kept of one
WITH page AS MATERIALIZED (
    SELECT s.id, CASE WHEN s.kept > $4::integer + $5::integer THEN (
        SELECT t.at FROM {ticks} AS t WHERE t.schedule = s.id ORDER BY t.at DESC
        LIMIT 1 OFFSET $4) END AS above
    FROM {schedules} AS s WHERE s.id > $1 AND s.id <= $2
), gone AS (
    DELETE FROM {ticks} WHERE ctid = ANY(ARRAY(
        SELECT t.place FROM page AS p, LATERAL (
            SELECT ctid AS place FROM {ticks} AS t
            WHERE t.schedule = p.id AND t.at < greatest($3::bigint, p.above + 1)
            AND (t.decided_at < $3 OR t.at <= p.above)
            ORDER BY t.at LIMIT $6) AS t
        LIMIT $6))
    RETURNING schedule
)
SELECT schedule, count(*) FROM gone GROUP BY schedule ORDER BY schedule;

-- fewer_ticks: keys of schedules, how many of their ticks are gone -> nothing
WITH mine AS MATERIALIZED (
    SELECT s.id, g.gone FROM unnest($1::bigint[], $2::integer[]) AS g (id, gone)
    JOIN {schedules} AS s ON s.id = g.id ORDER BY s.id FOR NO KEY UPDATE OF s
)
UPDATE {schedules} AS s SET kept = s.kept - m.gone FROM mine AS m WHERE s.id = m.id;

-- first_schedules: limit -> the first so many schedules, their keys, and how many ticks of each are
--     kept, for this transaction to take away
SELECT id, kept, {schedule_columns} FROM {schedules} WHERE id > 0 ORDER BY id LIMIT $1 FOR UPDATE;

-- ticks_of: keys of schedules -> all that became of their ticks, the oldest first
SELECT schedule, at, until, count, outcome, job, asked, decided_at FROM {ticks}
WHERE schedule = ANY($1::bigint[]) ORDER BY schedule, at;

-- drop_schedules: keys, locked before, so that all of their ticks are seen -> nothing
WITH gone AS (DELETE FROM {ticks} WHERE schedule = ANY($1::bigint[]))
DELETE FROM {schedules} WHERE id = ANY($1::bigint[]);

-- mark_parcel: of which store, number of a parcel -> a row, if it comes for the first time
INSERT INTO {meta} AS m (name, value) VALUES ($1, $2)
ON CONFLICT (name) DO UPDATE SET value = excluded.value WHERE m.value < excluded.value
RETURNING value;
