-- tell_report: worker, the number of the telling, report (null: as it was) -> whether that number is a new one
INSERT INTO {reports} AS r (worker, number, report) VALUES ($1, $2, $3)
ON CONFLICT (worker) DO UPDATE SET before = r.number, number = greatest(r.number, $2),
    report = coalesce($3, r.report)
RETURNING before < $2 AS fresh;

-- series: -> queues and job types that have figures
SELECT queue, type FROM {figures} WHERE step = 0;

-- add_figures: columns of figures, their maps as JSON, in the order of keys -> nothing
INSERT INTO {figures} AS f (step, at, queue, type, scheduled, completed, failed, retried, cancelled,
    put_off, rescued, waited, ran, waits, runs, errors)
SELECT step, at, queue, type, scheduled, completed, failed, retried, cancelled, put_off, rescued,
    waited, ran, waits::jsonb, runs::jsonb, errors::jsonb
FROM unnest($1::integer[], $2::bigint[], $3::text[], $4::text[], $5::bigint[], $6::bigint[],
    $7::bigint[], $8::bigint[], $9::bigint[], $10::bigint[], $11::bigint[], $12::bigint[],
    $13::bigint[], $14::text[], $15::text[], $16::text[])
    AS g (step, at, queue, type, scheduled, completed, failed, retried, cancelled, put_off, rescued,
    waited, ran, waits, runs, errors)
ON CONFLICT (step, at, queue, type) DO UPDATE SET
    scheduled = f.scheduled + excluded.scheduled, completed = f.completed + excluded.completed,
    failed = f.failed + excluded.failed, retried = f.retried + excluded.retried,
    cancelled = f.cancelled + excluded.cancelled, put_off = f.put_off + excluded.put_off,
    rescued = f.rescued + excluded.rescued, waited = f.waited + excluded.waited,
    ran = f.ran + excluded.ran, waits = {merged_waits}, runs = {merged_runs},
    errors = {merged_errors};

-- past: step, since, until, queue, type (either empty: all together) -> figures
SELECT queue, type, at, scheduled, completed, failed, retried, cancelled, put_off, rescued, waited, ran,
    waits, runs, errors
FROM {figures} WHERE step = $1 AND at >= $2 AND at < $3 AND queue = $4 AND type = $5;

-- past_of_type: step, since, until, type -> figures of it in each queue
SELECT queue, type, at, scheduled, completed, failed, retried, cancelled, put_off, rescued, waited, ran,
    waits, runs, errors
FROM {figures} WHERE step = $1 AND at >= $2 AND at < $3 AND type = $4;

-- past_errors: step, since, until, queue, type (null: any) -> kind, type, attempts
SELECT e.key, f.type, sum(e.value::bigint)::bigint
FROM {figures} AS f, jsonb_each_text(f.errors) AS e
WHERE f.step = $1 AND f.at >= $2 AND f.at < $3 AND f.errors <> '{}'
AND ($4::text IS NULL OR f.queue = $4) AND ($5::text IS NULL OR f.type = $5)
GROUP BY e.key, f.type;

-- past_samples: step, since, until -> depths; the last one before `since` is the first
SELECT seen_at, queues FROM {depths} WHERE step = $1 AND at < $3
AND at >= coalesce((SELECT max(at) FROM {depths} WHERE step = $1 AND at < $2), $2) ORDER BY at;

-- totals: -> figures since the store was made
SELECT queue, type, at, scheduled, completed, failed, retried, cancelled, put_off, rescued, waited, ran,
    waits, runs, errors
FROM {figures} WHERE step = 0;

-- last_samples: steps -> the last sample of each
SELECT d.step, d.at, d.seen_at, d.queues FROM unnest($1::integer[]) AS s (step), LATERAL (
    SELECT * FROM {depths} AS o WHERE o.step = s.step ORDER BY o.at DESC LIMIT 1) AS d;

-- add_samples: steps, their beginnings, when it was taken, depths -> those that there was none of
INSERT INTO {depths} (step, at, seen_at, queues)
SELECT step, at, $3, $4 FROM unnest($1::integer[], $2::bigint[]) AS g (step, at)
ON CONFLICT (step, at) DO NOTHING RETURNING step;

-- forget_figures: steps, the moments before which they go, limit -> how many went
WITH samples AS (
    DELETE FROM {depths} WHERE ctid = ANY(ARRAY(
        SELECT d.place FROM unnest($1::integer[], $2::bigint[]) AS g (step, before), LATERAL (
            SELECT ctid AS place FROM {depths} AS o WHERE o.step = g.step AND o.at < g.before
            ORDER BY o.step, o.at LIMIT $3 FOR UPDATE SKIP LOCKED) AS d))
), told AS (
    DELETE FROM {reports} AS r WHERE NOT EXISTS (SELECT FROM {workers} AS w WHERE w.id = r.worker)
), gone AS (
    DELETE FROM {figures} WHERE ctid = ANY(ARRAY(
        SELECT f.place FROM unnest($1::integer[], $2::bigint[]) AS g (step, before), LATERAL (
            SELECT ctid AS place FROM {figures} AS o WHERE o.step = g.step AND o.at < g.before
            ORDER BY o.step, o.at LIMIT $3 FOR UPDATE SKIP LOCKED) AS f))
    RETURNING step
)
SELECT count(*) FROM gone;

-- kinds: jobs -> how many of them there are of each queue and type
SELECT j.queue, j.type, count(*) FROM unnest($1::uuid[]) AS g (id),
LATERAL (SELECT queue, type FROM {jobs} AS o WHERE o.id = g.id LIMIT 1) AS j GROUP BY j.queue, j.type;

-- let_go_series: the name of others, a step, a moment -> figures since the store was made of those that
--     have none of that step from then on, and nobody is at: they have gone
DELETE FROM {figures} WHERE ctid = ANY(ARRAY(
    SELECT f.ctid FROM {figures} AS f WHERE f.step = 0 AND f.queue <> $1
    AND (f.queue, f.type) NOT IN (
        SELECT u.queue, u.type FROM {figures} AS u WHERE u.step = $2 AND u.at >= $3)
    FOR UPDATE SKIP LOCKED))
RETURNING queue, type, at, scheduled, completed, failed, retried, cancelled, put_off, rescued, waited, ran,
    waits, runs, errors;

-- crew: our own key (null: no session tells), lease time (null: told by beats) -> every worker, how many
--     claims it has, and whether it is gone
SELECT w.id, w.name, w.started_at, w.draining, r.report,
       (SELECT coalesce(sum(cardinality(h.ids)), 0) FROM {held} AS h WHERE h.worker = w.id) AS claimed,
       {gone} AS gone
FROM {workers} AS w LEFT JOIN {reports} AS r ON r.worker = w.id ORDER BY w.id;

-- drain: our own key, lease time, worker, whether it is to claim nothing -> it, if it lives
UPDATE {workers} AS w SET draining = $4 WHERE w.id = $3 AND NOT {gone} RETURNING w.id;
