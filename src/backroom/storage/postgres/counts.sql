-- stats: now -> all counts of one moment, by what they are of. 0: jobs of a queue that wait, how many of them
--     are due, and since when the first; 1: active ones of a queue; 2 to 4: ended ones; 5: blocked ones of a
--     queue; 6: parked ones, by queue, type and version; 7: a queue, and whether it is paused; 8: a worker,
--     what it has claimed, its number, and since when it works.
--     Of the present span those are counted that are due, or those that are not, and taken from all: one of both
--     is few, but in a stretch of 8 s in which many jobs lie on both sides. OFFSET 0: priority by priority, each
--     a range of the index
WITH fresh AS MATERIALIZED (
    SELECT place, queue, type, version, span, sum(jobs) AS jobs FROM {changed}
    WHERE place IN (0, 5, 6) GROUP BY place, queue, type, version, span
), totals AS MATERIALIZED (
    SELECT t.queue, sum(t.jobs)::bigint AS jobs FROM (
        SELECT queue, jobs FROM {counts} WHERE place = 0
        UNION ALL SELECT queue, jobs FROM fresh WHERE place = 0
    ) AS t GROUP BY t.queue HAVING sum(t.jobs) <> 0
), passed AS MATERIALIZED (
    SELECT d.queue, coalesce(sum(d.jobs) FILTER (WHERE d.span < $1::bigint >> 23), 0)::bigint AS passed,
           coalesce(sum(d.jobs) FILTER (WHERE d.span = $1::bigint >> 23), 0)::bigint AS here FROM (
        SELECT queue, span, jobs FROM {dues} WHERE span <= $1::bigint >> 23
        UNION ALL SELECT queue, span, jobs FROM fresh WHERE place = 0 AND span <= $1::bigint >> 23
    ) AS d GROUP BY d.queue
), behind AS MATERIALIZED (
    SELECT t.queue, t.jobs, coalesce(p.passed, 0) AS passed, coalesce(p.here, 0) AS here,
           CASE WHEN p.here <> 0 THEN (
               SELECT count(*) FROM generate_series(0, 3) AS s (priority), LATERAL (
                   SELECT FROM {ready} AS r WHERE r.queue = t.queue AND r.priority = s.priority
                   AND r.run_at > $1 AND r.run_at < (($1::bigint >> 23) + 1) << 23 LIMIT 10001) AS r)
           ELSE 0 END AS later
    FROM totals AS t LEFT JOIN passed AS p USING (queue)
)
SELECT 0::smallint AS what, b.queue AS name, '' AS type, 0 AS version, b.jobs, b.passed + CASE
    WHEN b.here = 0 THEN 0
    WHEN b.later <= 10000 THEN b.here - b.later
    ELSE (SELECT count(*) FROM generate_series(0, 3) AS s (priority), LATERAL (
              SELECT FROM {ready} AS r WHERE r.queue = b.queue AND r.priority = s.priority
              AND r.run_at >= ($1::bigint >> 23) << 23 AND r.run_at <= $1 OFFSET 0) AS r)
    END AS due, (
        SELECT min(f.run_at) FROM generate_series(0, 3) AS s (priority), LATERAL (
            SELECT r.run_at FROM {ready} AS r WHERE r.queue = b.queue AND r.priority = s.priority
            AND r.run_at <= $1 ORDER BY r.run_at LIMIT 1) AS f
    ) AS at
FROM behind AS b
UNION ALL
SELECT place, queue, type, version, sum(jobs)::bigint, 0, NULL FROM (
    SELECT place, queue, type, version, jobs FROM {counts} WHERE place IN (5, 6)
    UNION ALL SELECT place, queue, type, version, jobs FROM fresh WHERE place IN (5, 6)
) AS c GROUP BY place, queue, type, version HAVING sum(jobs) <> 0
UNION ALL
SELECT 1, j.queue, '', 0, count(*), 0, NULL
FROM {held} AS h, unnest(h.ids) AS i (id), LATERAL (
    SELECT queue FROM {jobs} AS o WHERE o.id = i.id LIMIT 1) AS j GROUP BY j.queue
UNION ALL
SELECT state, '', '', 0, sum(jobs)::bigint, 0, NULL FROM {tally} GROUP BY state
UNION ALL
SELECT 7, name, '', 0, paused::integer, 0, NULL FROM {queues}
UNION ALL
SELECT 8, w.name, '', 0, (SELECT coalesce(sum(cardinality(h.ids)), 0) FROM {held} AS h
                          WHERE h.worker = w.id), w.id, w.started_at
FROM {workers} AS w;

-- failures: at most -> the failed jobs by type and kind of their last errors: how many, and the newest
WITH groups AS MATERIALIZED (
    SELECT type, kind, sum(jobs)::bigint AS jobs FROM (
        SELECT type, kind, jobs FROM {counts} WHERE place = 3
        UNION ALL SELECT type, kind, jobs FROM {changed} WHERE place = 3
    ) AS c GROUP BY type, kind HAVING sum(jobs) > 0 ORDER BY 3 DESC, type, kind LIMIT $1
)
SELECT g.type, g.kind, g.jobs, f.at, f.id, coalesce((
    SELECT o.message FROM {errors} AS o WHERE o.job = f.id ORDER BY o.seq DESC LIMIT 1), (
    SELECT e.reason FROM {ended} AS e WHERE e.id = f.id LIMIT 1), '') AS message
FROM groups AS g, LATERAL (
    SELECT o.at, o.id FROM {failed} AS o WHERE o.type = g.type AND o.kind = g.kind
    ORDER BY o.type DESC, o.kind DESC, o.at DESC, o.id DESC LIMIT 1) AS f
ORDER BY g.jobs DESC, g.type, g.kind;

-- fold_changed: up to so many -> how many changes became numbers
WITH gone AS MATERIALIZED (
    DELETE FROM {changed} WHERE ctid = ANY(ARRAY(SELECT ctid FROM {changed} LIMIT $1))
    RETURNING place, queue, type, kind, version, span, jobs
), counted AS (
    INSERT INTO {counts} AS c (place, queue, type, kind, version, jobs)
    SELECT place, queue, type, kind, version, sum(jobs) FROM gone
    GROUP BY place, queue, type, kind, version HAVING sum(jobs) <> 0
    ON CONFLICT (place, queue, type, kind, version) DO UPDATE SET jobs = c.jobs + excluded.jobs
), due AS (
    INSERT INTO {dues} AS d (span, queue, jobs)
    SELECT span, queue, sum(jobs) FROM gone WHERE place = 0 GROUP BY span, queue HAVING sum(jobs) <> 0
    ON CONFLICT (span, queue) DO UPDATE SET jobs = d.jobs + excluded.jobs
)
SELECT count(*) FROM gone;

-- clear_changed: -> nothing: what was folded lies no longer in the way of those who look
VACUUM {changed};

-- fold_passed: before this span, up to so many -> nothing; how far that went is kept, as of what has been
--     folded the sum alone can be told
WITH told AS (
    INSERT INTO {counts} AS c (place, queue, type, kind, version, jobs) VALUES (-1, '', '', '', 0, $1)
    ON CONFLICT (place, queue, type, kind, version)
        DO UPDATE SET jobs = excluded.jobs WHERE c.jobs < excluded.jobs
), gone AS MATERIALIZED (
    DELETE FROM {dues} WHERE ctid = ANY(ARRAY(
        SELECT ctid FROM {dues} WHERE span < $1 AND span <> 0 ORDER BY span LIMIT $2))
    RETURNING queue, jobs
)
INSERT INTO {dues} AS d (span, queue, jobs)
SELECT 0, queue, sum(jobs) FROM gone GROUP BY queue HAVING sum(jobs) <> 0
ON CONFLICT (span, queue) DO UPDATE SET jobs = d.jobs + excluded.jobs;

-- fail_again: -> nothing: what a partition holds that has failed, where its rows came past the triggers
INSERT INTO {failed} (id, type, kind, at)
SELECT j.id, j.type, coalesce((
    SELECT o.kind FROM {errors} AS o WHERE o.job = j.id ORDER BY o.seq DESC LIMIT 1), ''), e.finished_at
FROM {ended_part} AS e JOIN {jobs_part} AS j USING (id) WHERE e.state = 3 AND e.state > 2
ON CONFLICT DO NOTHING;

-- fail_no_more: -> nothing: a partition goes past the triggers, too
DELETE FROM {failed} WHERE id IN (SELECT id FROM {ended_part} WHERE state = 3 AND state > 2);

-- folded_to: -> before which span numbers may have been folded
SELECT jobs FROM {counts} WHERE place = -1;

-- numbers: -> every number that is kept: of which place, queue, type, kind, version and span
SELECT place, queue, type, kind, version, 0 AS span, sum(jobs)::bigint AS jobs FROM (
    SELECT place, queue, type, kind, version, jobs FROM {counts} WHERE place >= 0
    UNION ALL SELECT place, queue, type, kind, version, jobs FROM {changed}) AS c
GROUP BY place, queue, type, kind, version
UNION ALL SELECT -1, queue, '', '', 0, span, sum(jobs)::bigint FROM (
    SELECT queue, span, jobs FROM {dues}
    UNION ALL SELECT queue, span, jobs FROM {changed} WHERE place = 0) AS d GROUP BY queue, span
UNION ALL SELECT -2, '', '', '', state, 0, sum(jobs)::bigint FROM {tally} GROUP BY state;

-- numbers_there: -> what they should be
SELECT 0 AS place, queue, '' AS type, '' AS kind, 0 AS version, 0 AS span, count(*) AS jobs
FROM {ready} GROUP BY queue
UNION ALL SELECT -1, queue, '', '', 0, run_at >> 23, count(*) FROM {ready} GROUP BY queue, run_at >> 23
UNION ALL SELECT 6, queue, type, '', version, 0, count(*) FROM {parked} GROUP BY queue, type, version
UNION ALL SELECT 5, b.queue, '', '', 0, 0, count(*) FROM (
    SELECT coalesce(queue, '') AS queue FROM {waiting}
    UNION ALL SELECT queue FROM {blocked} WHERE called_at IS NULL) AS b GROUP BY b.queue
UNION ALL SELECT 3, '', f.type, f.kind, 0, 0, count(*) FROM (
    SELECT j.type, coalesce((
        SELECT o.kind FROM {errors} AS o WHERE o.job = j.id ORDER BY o.seq DESC LIMIT 1), '') AS kind
    FROM {ended} AS e JOIN {jobs} AS j USING (id) WHERE e.state = 3 AND e.state > 2) AS f
GROUP BY f.type, f.kind
UNION ALL SELECT -2, '', '', '', state, 0, count(*) FROM {ended} GROUP BY state;

-- stand_still: -> nothing: nobody changes what is counted until the end of the transaction
LOCK TABLE {jobs}, {held}, {errors}, {ready}, {parked}, {waiting}, {blocked}, {ended}, {failed}, {changed},
    {counts}, {dues}, {tally} IN SHARE ROW EXCLUSIVE MODE;

-- count_nothing: -> nothing
WITH c AS (DELETE FROM {changed}), n AS (DELETE FROM {counts}), d AS (DELETE FROM {dues})
DELETE FROM {tally};

-- fail_nothing: -> nothing
DELETE FROM {failed};

-- fail_anew: -> nothing
INSERT INTO {failed} (id, type, kind, at)
SELECT j.id, j.type, coalesce((
    SELECT o.kind FROM {errors} AS o WHERE o.job = j.id ORDER BY o.seq DESC LIMIT 1), ''), e.finished_at
FROM {ended} AS e JOIN {jobs} AS j USING (id) WHERE e.state = 3 AND e.state > 2;

-- count_anew: -> nothing
WITH ready AS (
    INSERT INTO {changed} (place, queue, span, jobs)
    SELECT 0, queue, run_at >> 23, count(*) FROM {ready} GROUP BY queue, run_at >> 23
), parked AS (
    INSERT INTO {changed} (place, queue, type, version, jobs)
    SELECT 6, queue, type, version, count(*) FROM {parked} GROUP BY queue, type, version
), waiting AS (
    INSERT INTO {changed} (place, queue, jobs)
    SELECT 5, coalesce(queue, ''), count(*) FROM {waiting} GROUP BY queue
), blocked AS (
    INSERT INTO {changed} (place, queue, jobs)
    SELECT 5, queue, count(*) FROM {blocked} WHERE called_at IS NULL GROUP BY queue
), failed AS (
    INSERT INTO {changed} (place, type, kind, jobs)
    SELECT 3, type, kind, count(*) FROM {failed} GROUP BY type, kind
)
INSERT INTO {tally} SELECT state, count(*) FROM {ended} GROUP BY state;
