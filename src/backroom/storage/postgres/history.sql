-- parts: a pattern -> the partitions of what ended: name, bounds (null: it hangs on no table any more), bytes
SELECT c.relname AS name, pg_get_expr(c.relpartbound, c.oid) AS bounds, pg_relation_size(c.oid) AS bytes
FROM pg_class AS p JOIN pg_class AS c ON c.relnamespace = p.relnamespace
WHERE p.oid = to_regclass('{ended}') AND c.relkind = 'r' AND c.relname ~ $1;

-- alone: what for -> whether nobody else does it
SELECT pg_try_advisory_xact_lock(hashtextextended($1, 0));

-- in_the_way: from, to, at most -> how many jobs of this range the rest holds
SELECT count(*) FROM (SELECT FROM {jobs_rest} WHERE id >= $1 AND id < $2 LIMIT $3) AS r;

-- make: -> nothing
CREATE TABLE {jobs_part} (LIKE {jobs} INCLUDING ALL);
CREATE TABLE {ended_part} (LIKE {ended} INCLUDING ALL);
LOCK TABLE {jobs_rest}, {ended_rest} IN ACCESS EXCLUSIVE MODE;

-- move: from, to -> nothing: what the rest holds of this range
WITH jobs AS (
    DELETE FROM {jobs_rest} WHERE id >= $1 AND id < $2 RETURNING *
), ended AS (
    DELETE FROM {ended_rest} WHERE id >= $1 AND id < $2 RETURNING *
), one AS (
    INSERT INTO {jobs_part} SELECT * FROM jobs
)
INSERT INTO {ended_part} SELECT * FROM ended;

-- attach: -> nothing
ALTER TABLE {jobs} ATTACH PARTITION {jobs_part} FOR VALUES FROM ('{low}') TO ('{high}');
ALTER TABLE {ended} ATTACH PARTITION {ended_part} FOR VALUES FROM ('{low}') TO ('{high}');

-- staying: cutoff, at most -> those of a partition that have not ended, or not so long ago, or whose flow
--     has not gone, or is on its way
SELECT j.id FROM {jobs_part} AS j LEFT JOIN {ended_part} AS e USING (id)
WHERE e.id IS NULL OR e.finished_at >= $1 OR EXISTS (
    SELECT FROM {members} AS m LEFT JOIN {flows} AS f ON f.id = m.flow
    LEFT JOIN {away} AS a ON a.id = m.flow
    WHERE m.job = j.id AND (f.id IS NOT NULL OR a.id IS NOT NULL)) LIMIT $2;

-- any_past: cutoff -> whether any of a partition ended before it
SELECT EXISTS (SELECT FROM {ended_part} WHERE finished_at < $1);

-- detach: -> nothing
LOCK TABLE ONLY {jobs}, ONLY {ended} IN ACCESS EXCLUSIVE MODE;
ALTER TABLE {jobs} DETACH PARTITION {jobs_part};
ALTER TABLE {ended} DETACH PARTITION {ended_part};

-- bring_back: ids -> nothing: from a partition that was taken out to the rest
WITH jobs AS (
    DELETE FROM {jobs_part} WHERE id = ANY($1::uuid[]) RETURNING *
), ended AS (
    DELETE FROM {ended_part} WHERE id = ANY($1::uuid[]) RETURNING *
), one AS (
    INSERT INTO {jobs} SELECT * FROM jobs ON CONFLICT DO NOTHING
)
INSERT INTO {ended} SELECT * FROM ended ON CONFLICT DO NOTHING;

-- place_again: ids -> nothing: those that are in no place wait
INSERT INTO {ready} (queue, priority, run_at, id)
SELECT queue, priority, run_at, id FROM {jobs} AS j
WHERE id = ANY($1::uuid[])
AND NOT EXISTS (SELECT FROM {ended} AS e WHERE e.id = j.id)
AND NOT EXISTS (SELECT FROM {held} AS h WHERE j.id = ANY(h.ids))
AND NOT EXISTS (SELECT FROM {waiting} AS w WHERE w.id = j.id)
AND NOT EXISTS (SELECT FROM {parked} AS p WHERE p.queue = j.queue AND p.type = j.type
                AND p.priority = j.priority AND p.run_at = j.run_at AND p.id = j.id)
AND NOT EXISTS (SELECT FROM {blocked} AS b WHERE b.id = j.id)
ON CONFLICT DO NOTHING;

-- drop: -> nothing
DROP TABLE {jobs_part}, {ended_part};

-- untell: -> how many ended in it, who are told of no more
WITH gone AS (
    SELECT state, count(*) AS jobs FROM {ended_part} GROUP BY state
), told AS (
    INSERT INTO {tally} SELECT state, -jobs FROM gone
)
SELECT coalesce(sum(jobs), 0)::bigint FROM gone;

-- sweep: before this id, up to so many -> how many: what was kept with jobs that are gone
WITH errors AS (
    DELETE FROM {errors} WHERE (job, seq) IN (
        SELECT job, seq FROM {errors} AS e WHERE job < $1
        AND (SELECT true FROM {jobs} AS j WHERE j.id = e.job LIMIT 1) IS NULL LIMIT $2)
    RETURNING 1
), logs AS (
    DELETE FROM {logs} WHERE (job, seq) IN (
        SELECT job, seq FROM {logs} AS l WHERE job < $1
        AND (SELECT true FROM {jobs} AS j WHERE j.id = l.job LIMIT 1) IS NULL LIMIT $2)
    RETURNING 1
), steps AS (
    DELETE FROM {steps} WHERE (job, number) IN (
        SELECT job, number FROM {steps} AS s WHERE job < $1
        AND (SELECT true FROM {jobs} AS j WHERE j.id = s.job LIMIT 1) IS NULL LIMIT $2)
    RETURNING 1
), signals AS (
    DELETE FROM {signals} WHERE (job, seq) IN (
        SELECT job, seq FROM {signals} AS s WHERE job < $1
        AND (SELECT true FROM {jobs} AS j WHERE j.id = s.job LIMIT 1) IS NULL LIMIT $2)
    RETURNING 1
), members AS (
    DELETE FROM {members} WHERE job IN (
        SELECT job FROM {members} AS m WHERE job < $1
        AND (SELECT true FROM {jobs} AS j WHERE j.id = m.job LIMIT 1) IS NULL LIMIT $2)
    RETURNING 1
), edges AS (
    DELETE FROM {edges} WHERE (parent, child) IN (
        SELECT parent, child FROM {edges} AS e WHERE parent < $1
        AND (SELECT true FROM {jobs} AS j WHERE j.id = e.parent LIMIT 1) IS NULL LIMIT $2)
    RETURNING 1
)
SELECT greatest((SELECT count(*) FROM errors), (SELECT count(*) FROM logs),
                (SELECT count(*) FROM steps), (SELECT count(*) FROM signals),
                (SELECT count(*) FROM members), (SELECT count(*) FROM edges));
